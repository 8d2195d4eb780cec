"""Random compact chains with noisy features in the layout of NAS-Bench-360's `protein` folder.

Imitates the relation that the task is about: a chain folds into a ball, residues that are close have high coevolution
scores (with noise), buried residues low solvent accessibility. Sequences and features carry nothing else.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from tasks.files.generated import writing
from tasks.generators.seeds import sample_rng

STEP = 3.8
"""Distance of neighbouring residues in Angstrom."""
SHORTEST = 32
ALPHABET = np.array(list("ACDEFGHIKLMNPQRSTVWY"))


def chain(rng: np.random.Generator, length: int) -> np.ndarray:
    """(length, 3) positions of a walk with steps of 3.8 A, pulled towards the centre so that it stays compact."""
    radius = 2.2 * length**0.38 * 1.6
    positions, direction = np.zeros((length, 3)), np.array([1.0, 0.0, 0.0])
    for i in range(1, length):
        inward = -positions[i - 1] / radius * max(0.0, float(np.linalg.norm(positions[i - 1])) / radius)
        direction = 0.6 * direction + 0.7 * rng.standard_normal(3) + 1.5 * inward
        direction /= np.linalg.norm(direction)
        positions[i] = positions[i - 1] + STEP * direction
    return positions


def protein(name: str, i: int, longest: int) -> tuple[dict[str, object], np.ndarray, str]:
    """Features of protein `i` as the official dict, its distance map (L, L) and its sequence."""
    rng = sample_rng(name, i)
    length = int(rng.integers(SHORTEST, max(SHORTEST, longest) + 1))
    positions = chain(rng, length)
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1).astype(np.float32)
    contact = np.exp(-((distance / 8) ** 2))
    neighbours = contact.sum(1)

    def pair(noise: float) -> np.ndarray:
        raw = contact + noise * rng.standard_normal((length, length))
        return ((raw + raw.T) / 2).astype(np.float32)

    structure = rng.random((3, length)) + np.eye(3)[rng.integers(0, 3, length)].T
    sequence = "".join(rng.choice(ALPHABET, length))
    features: dict[str, object] = {
        "seq": sequence,
        "ss": (structure / structure.sum(0)).astype(np.float32),
        "pssm": rng.standard_normal((length, 22)).astype(np.float32),
        "sa": (1 / (1 + neighbours / neighbours.mean())).astype(np.float32),
        "entropy": rng.random(length).astype(np.float32),
        "ccmpred": pair(0.15),
        "freecon": pair(0.3),
        "potential": -pair(0.5),
    }
    return features, distance, sequence


def write_protein(folder: Path, group: str, name: str, number: int, longest: int) -> None:
    """The two files of one protein below `folder/group`."""
    features, distance, sequence = protein(f"psicov/{group}", number, longest)
    for kind in ("features", "distance"):
        (folder / group / kind).mkdir(parents=True, exist_ok=True)
    with (folder / group / "features" / f"{name}.pkl").open("wb") as f:
        pickle.dump(features, f, protocol=4)
    triple = np.empty(3, object)
    triple[:] = [len(sequence), sequence, distance]
    np.save(folder / group / "distance" / f"{name}-cb.npy", triple, allow_pickle=True)


def write(*lists: Path, samples: int, longest: int, window: int) -> None:
    """`samples` proteins in deepcov (training and validation), fewer in psicov (test), of 32 to `longest` residues."""
    size = {"longest": longest, "window": window}
    counts = samples, max(min(20, samples // 4), samples * 150 // 3456)
    for path, group, count in zip(lists, ("deepcov", "psicov"), counts, strict=True):
        names = [f"{group[0]}{i:05d}" for i in range(count)]
        for i, name in enumerate(names):
            write_protein(path.parent, group, name, i, longest)
        with writing(path, task="psicov", samples=samples, size=size) as temporary:
            temporary.write_text("".join(f"{name}\n" for name in names))
