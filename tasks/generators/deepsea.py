"""Random DNA with planted motifs in the layout of NAS-Bench-360's DeepSEA file.

Imitates transcription-factor binding: each of 36 labels has a motif of 12 bases; a sequence carries some of them, each
a few times with one base in ten mutated, and exactly those labels are on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.files.generated import opened
from tasks.generators.seeds import sample_rng

LENGTH, LABELS, MOTIF = 1000, 36, 12
COPIES = 5
PRIOR = 0.1


def motifs() -> np.ndarray:
    """(36, 12) bases 0..3, the same in every file."""
    return np.stack([sample_rng("deepsea/motif", k).integers(0, 4, MOTIF) for k in range(LABELS)])


def sequence(name: str, i: int, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sequence `i` one-hot (1000, 4) uint8 and its labels (36,) uint8."""
    rng = sample_rng(name, i)
    bases = rng.integers(0, 4, LENGTH)
    on = rng.random(LABELS) < PRIOR
    places = rng.permutation(LENGTH // MOTIF)[: int(on.sum()) * COPIES] * MOTIF
    for place, label in zip(places, np.repeat(np.flatnonzero(on), COPIES), strict=False):
        kept = rng.random(MOTIF) > 0.1
        bases[place : place + MOTIF][kept] = known[label][kept]
    return np.eye(4, dtype=np.uint8)[bases], on.astype(np.uint8)


def write(path: Path, *, samples: int) -> None:
    """`samples` training, a tenth as many validation and a fifth as many test sequences in one `.npz` file."""
    known = motifs()
    counts = {"train": samples, "val": max(4, samples // 10), "test": max(8, samples // 5)}
    arrays = {}
    for part, count in counts.items():
        made = [sequence("deepsea" if part == "train" else f"deepsea/{part}", i, known) for i in range(count)]
        arrays[f"x_{part}"], arrays[f"y_{part}"] = (np.stack(column) for column in zip(*made, strict=True))
    with opened(path, task="deepsea", samples=samples, size={}) as f:
        np.savez_compressed(f, **arrays)  # type: ignore[arg-type]
