"""1D compressible flow with viscosity, periodic on (-1, 1), in the layout of PDEBench's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.generators import compressible
from tasks.generators.layout import centres, saved_times, write_flat
from tasks.generators.seeds import in_blocks
from tasks.generators.sines import random_sines

ETA, ZETA, END = 0.1, 0.1, 1.0
BLOCK = 32


def initial(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """(density, velocity, pressure) on the grid, (3, nx).

    Velocity: random sines of three slots. Density and pressure: such sines scaled to [b, b + m], m and b log-uniform in
    [1, 10] and [10, 100]. Unlike the reference, all draws are independent.
    """

    def sines() -> np.ndarray:
        return random_sines(rng, slots=3, window=0.5)((x + 1) / 2)

    def positive(low: float) -> np.ndarray:
        u = sines()
        m, b = low * 10 ** rng.uniform(0, 1, 2)
        return m * (u - u.min()) / (u.max() - u.min()) + b

    return np.stack([positive(1.0), sines(), positive(10.0)])


def write(path: Path, *, samples: int, nx: int, nt: int) -> None:
    """`density`, `pressure`, `Vx` (samples, nt, nx) over (-1, 1) x [0, 1]."""
    x, t = centres(nx, -1, 1), saved_times(nt, END)

    def solve(rngs: list[np.random.Generator]) -> np.ndarray:
        start = np.stack([initial(r, x) for r in rngs], axis=1)
        return compressible.solve(start, t, 2.0 / nx, ETA, ZETA)

    w = np.stack([*in_blocks("cfd_1d", samples, BLOCK, solve)])
    arrays = {"density": w[:, :, 0], "pressure": w[:, :, 2], "Vx": w[:, :, 1]}
    write_flat(path, "cfd_1d", arrays, {"x": x, "t": t}, {"eta": ETA, "zeta": ZETA})
