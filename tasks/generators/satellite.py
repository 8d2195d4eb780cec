"""Synthetic vegetation curves in the layout of NAS-Bench-360's satellite files.

Imitates a vegetation index at 46 dates of a year: a class fixes level, seasonal amplitude, peak date and a second crop;
a pixel adds its own shift, noise and a few cloud dips.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.files.generated import opened
from tasks.generators.seeds import sample_rng

DATES, CLASSES = 46, 24
BLOCK = 1000
"""Series that share one generator: one per series would take a minute for the published number."""


def curve(label: int) -> np.ndarray:
    """The noiseless curve (46,) of class 0..23; the same in both files."""
    rng = sample_rng("satellite/class", label)
    t = np.arange(DATES) / DATES
    level, amplitude, peak = rng.uniform(0.1, 0.4), rng.uniform(0.1, 0.5), rng.random()
    second, later = rng.uniform(0, 0.3), rng.random()
    return (
        level
        + amplitude * np.exp(2.5 * (np.cos(2 * np.pi * (t - peak)) - 1))
        + second * np.exp(8 * (np.cos(2 * np.pi * (t - later)) - 1))
    )


def block(name: str, number: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` series of block `number`: (count, 46) float32 and labels 1..24."""
    rng = sample_rng(name, number)
    labels = rng.integers(0, CLASSES, BLOCK)
    shift = rng.integers(-1, 2, BLOCK)
    clean = np.stack([curve(k) for k in range(CLASSES)])[labels]
    x = clean[np.arange(BLOCK)[:, None], (np.arange(DATES) - shift[:, None]) % DATES]
    x = x * rng.uniform(0.85, 1.15, (BLOCK, 1)) + 0.03 * rng.standard_normal((BLOCK, DATES))
    x[rng.random((BLOCK, DATES)) < 0.03] = 0.0
    return x[:count].astype(np.float32), labels[:count] + 1


def series(name: str, count: int) -> dict[str, np.ndarray]:
    """`count` series in blocks, as the official dict."""
    parts = [block(name, b, min(BLOCK, count - start)) for b, start in enumerate(range(0, count, BLOCK))]
    return {"data": np.concatenate([p[0] for p in parts]), "label": np.concatenate([p[1] for p in parts])}


def write(*paths: Path, samples: int) -> None:
    """`samples` training series, a ninth as many test series, each file a pickled dict in a 0-d object array."""
    names = ("satellite", "satellite/test")
    for path, name, count in zip(paths, names, (samples, max(1, samples // 9)), strict=True):
        table = np.array(series(name, count), object)
        with opened(path, task="satellite", samples=samples, size={}) as f:
            np.save(f, table, allow_pickle=True)
