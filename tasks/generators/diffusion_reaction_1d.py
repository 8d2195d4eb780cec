"""Fisher-KPP, u_t = nu u_xx + rho u (1 - u) on the unit circle, in the layout of PDEBench's files.

Strang splitting: half a step of the exact logistic curve, a whole step of exact heat flow in Fourier space, half a step
of the logistic curve; float64 throughout. The official files lose most of the reaction to float32 steps; this does not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.generators.layout import centres, saved_times, write_flat
from tasks.generators.seeds import in_blocks
from tasks.generators.sines import random_sines

NU, RHO, END = 0.5, 1.0, 1.0
STEP = 0.0025
"""Largest time step of the splitting."""
BLOCK = 16


def initial(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Random sines scaled to [0, 1] on the grid."""
    u = random_sines(rng)(x)
    return (u - u.min()) / (u.max() - u.min())


def logistic(u: np.ndarray, growth: float) -> np.ndarray:
    """The exact solution of u' = rho u (1 - u) after a time in which e^(rho t) = `growth`."""
    return growth * u / (1 + (growth - 1) * u)


def solve(u0: np.ndarray, t: np.ndarray, nu: float = NU, rho: float = RHO) -> np.ndarray:
    """Trajectories (B, len(t), nx) float64 from initial states (B, nx); `t` evenly spaced from 0."""
    n = u0.shape[-1]
    steps = int(np.ceil((t[1] - t[0]) / STEP))
    h = (t[1] - t[0]) / steps
    decay = np.exp(-nu * (2 * np.pi * np.arange(n // 2 + 1)) ** 2 * h)
    u, out = u0, [u0]
    for _ in t[1:]:
        for _ in range(steps):
            u = logistic(u, np.exp(rho * h / 2))
            u = np.fft.irfft(decay * np.fft.rfft(u), n)
            u = logistic(u, np.exp(rho * h / 2))
        out.append(u)
    return np.stack(out, axis=1)


def write(path: Path, *, samples: int, nx: int, nt: int) -> None:
    """`tensor` (samples, nt, nx) over (0, 1) x [0, 1]."""
    x, t = centres(nx), saved_times(nt, END)
    made = in_blocks(
        "diffusion_reaction_1d", samples, BLOCK, lambda rngs: solve(np.stack([initial(r, x) for r in rngs]), t)
    )
    u = np.stack([*made])
    constants = {"Nu": NU, "rho": RHO}
    write_flat(path, "diffusion_reaction_1d", {"tensor": u}, {"x": x, "t": t}, constants)
