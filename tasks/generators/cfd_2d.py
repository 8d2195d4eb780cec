"""2D compressible flow with viscosity, periodic on the unit square, Mach 1, in the layout of PDEBench's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.generators import compressible
from tasks.generators.layout import centres, saved_times, write_flat
from tasks.generators.seeds import in_blocks

MACH, ETA, ZETA, END = 1.0, 0.1, 0.1, 1.0
MODES = 4
BLOCK = 8


def random_field(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Sines of wavenumbers -4..4 in x and y with random phases and amplitudes weighted |k|^(-1/2), (n, n), |.| <= 1."""
    k = np.arange(-MODES, MODES + 1)
    size = np.hypot(k[:, None], k[None, :])
    amplitude = rng.standard_normal(size.shape) / np.sqrt(np.where(size > 0, size, np.inf))
    phase = np.exp(2j * np.pi * rng.random(size.shape))
    wave = np.exp(2j * np.pi * np.outer(x, k))
    field = (wave @ (amplitude * phase) @ wave.T).imag
    return field / np.abs(field).max()


def window(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """A soft rectangle (1 inside), (n, n)."""
    sides = []
    for _ in range(2):
        left, right = rng.uniform(0.1, 0.45), rng.uniform(0.55, 0.9)
        sides.append(0.5 * (np.tanh((x - left) / 0.01) - np.tanh((x - right) / 0.01)))
    return np.outer(*sides)


def initial(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """(density, Vx, Vy, pressure), (4, n, n): background d0, T0 ~ U(0.1, 10), perturbed by 1 % to 20 %.

    The root mean square speed before the window is MACH sqrt(gamma T0); the window (half of the samples) multiplies all
    deviations from the background.
    """
    density, temperature = rng.uniform(0.1, 10, 2)
    velocity = np.stack([random_field(rng, x), random_field(rng, x)])
    speed = np.sqrt((velocity**2).sum(axis=0).mean())
    velocity *= MACH * np.sqrt(compressible.GAMMA * temperature) / speed
    bumps = [rng.uniform(0.01, 0.2) * random_field(rng, x) for _ in range(2)]
    mask = window(rng, x) if rng.random() < 0.5 else np.ones((len(x), len(x)))
    rho, p = density * (1 + mask * bumps[0]), density * temperature * (1 + mask * bumps[1])
    return np.stack([rho, *(mask * velocity), p])


def write(path: Path, *, samples: int, nx: int, nt: int) -> None:
    """`density`, `pressure`, `Vx`, `Vy` (samples, nt, nx, nx) over (0, 1)^2 x [0, 1]."""
    x, t = centres(nx), saved_times(nt, END)

    def solve(rngs: list[np.random.Generator]) -> np.ndarray:
        return compressible.solve(np.stack([initial(r, x) for r in rngs], axis=1), t, 1.0 / nx, ETA, ZETA)

    w = np.stack([*in_blocks("cfd_2d", samples, BLOCK, solve)])
    arrays = {"density": w[:, :, 0], "pressure": w[:, :, 3], "Vx": w[:, :, 1], "Vy": w[:, :, 2]}
    constants = {"M": MACH, "eta": ETA, "zeta": ZETA}
    write_flat(path, "cfd_2d", arrays, {"x": x, "y": x, "t": t}, constants)
