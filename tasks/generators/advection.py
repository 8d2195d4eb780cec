"""Advection by its exact solution, u(x, t) = u0(x - beta t), in the layout of PDEBench's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.generators.layout import centres, saved_times, write_flat
from tasks.generators.seeds import sample_rng
from tasks.generators.sines import random_sines

BETA, END = 0.4, 2.0


def solve(rng: np.random.Generator, x: np.ndarray, t: np.ndarray, beta: float = BETA) -> np.ndarray:
    """One trajectory (len(t), len(x)) on the unit circle: exact."""
    return random_sines(rng)(x[None, :] - beta * t[:, None])


def write(path: Path, *, samples: int, nx: int, nt: int) -> None:
    """`tensor` (samples, nt, nx) over (0, 1) x [0, 2]."""
    x, t = centres(nx), saved_times(nt, END)
    u = np.stack([solve(sample_rng("advection", i), x, t).astype(np.float32) for i in range(samples)])
    write_flat(path, "advection", {"tensor": u}, {"x": x, "t": t}, {"beta": BETA})
