"""Burgers' equation u_t + (u^2/2)_x = (nu/pi) u_xx on the unit circle, in the layout of PDEBench's files.

Fourier in space with 2/3 dealiasing, exponential time differencing of fourth order in time (Cox & Matthews 2002, with
the contour integrals of Kassam & Trefethen 2005).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.generators.layout import centres, saved_times, write_flat
from tasks.generators.seeds import in_blocks
from tasks.generators.sines import random_sines

NU, END = 1.0, 2.0
STEP = 0.01
"""Largest time step: relative error about 1e-6 at nu >= 0.1."""
BLOCK = 16


def etdrk4(linear: np.ndarray, h: float) -> tuple[np.ndarray, ...]:
    """The scheme's coefficients (E, E2, Q, f1, f2, f3) for u' = linear u + N(u) with step `h`; `linear` is real."""
    circle = np.exp(1j * np.pi * (np.arange(1, 33) - 0.5) / 32)
    z = h * linear[:, None] + circle
    e = np.exp(z)

    def mean(values: np.ndarray) -> np.ndarray:
        return h * values.mean(axis=1).real

    f1 = mean((-4 - z + e * (4 - 3 * z + z**2)) / z**3)
    f2 = mean((2 + z + e * (z - 2)) / z**3)
    f3 = mean((-4 - 3 * z - z**2 + e * (4 - z)) / z**3)
    return np.exp(h * linear), np.exp(h * linear / 2), mean((np.exp(z / 2) - 1) / z), f1, f2, f3


def solve(u0: np.ndarray, t: np.ndarray, nu: float = NU) -> np.ndarray:
    """Trajectories (B, len(t), nx) float64 from initial states (B, nx) on cell centres; `t` evenly spaced from 0."""
    n = u0.shape[-1]
    k = np.arange(n // 2 + 1)
    steps = int(np.ceil((t[1] - t[0]) / STEP))
    E, E2, Q, f1, f2, f3 = etdrk4(-(nu / np.pi) * (2 * np.pi * k) ** 2, (t[1] - t[0]) / steps)
    g = np.where(k <= n // 3, -1j * np.pi * k, 0)

    def nonlinear(v: np.ndarray) -> np.ndarray:
        return g * np.fft.rfft(np.fft.irfft(v, n) ** 2)

    v, out = np.fft.rfft(u0), [u0]
    for _ in t[1:]:
        for _ in range(steps):
            nv = nonlinear(v)
            a = E2 * v + Q * nv
            na = nonlinear(a)
            b = E2 * v + Q * na
            nb = nonlinear(b)
            nc = nonlinear(E2 * a + Q * (2 * nb - nv))
            v = E * v + f1 * nv + 2 * f2 * (na + nb) + f3 * nc
        out.append(np.fft.irfft(v, n))
    return np.stack(out, axis=1)


def write(path: Path, *, samples: int, nx: int, nt: int) -> None:
    """`tensor` (samples, nt, nx) over (0, 1) x [0, 2]."""
    x, t = centres(nx), saved_times(nt, END)
    made = in_blocks("burgers", samples, BLOCK, lambda rngs: solve(np.stack([random_sines(r)(x) for r in rngs]), t))
    u = np.stack([*made])
    write_flat(path, "burgers", {"tensor": u}, {"x": x, "t": t}, {"Nu": NU})
