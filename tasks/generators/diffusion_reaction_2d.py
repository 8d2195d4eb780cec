"""2D FitzHugh-Nagumo diffusion-reaction with no-flux walls, in the layout of PDEBench's grouped files.

Finite volumes on a square, integrated by the same explicit Runge-Kutta pair as the reference, which is adequate here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

from tasks.generators.layout import centres, saved_times, write_groups
from tasks.generators.seeds import sample_rng

DU, DV, K, END = 1e-3, 5e-3, 5e-3, 5.0


def laplacian(a: np.ndarray, dx: float) -> np.ndarray:
    """The five-point Laplacian of (..., n, n) with no flux through the walls."""
    out = np.zeros_like(a)
    down, across = np.diff(a, axis=-2), np.diff(a, axis=-1)
    out[..., :-1, :] += down
    out[..., 1:, :] -= down
    out[..., :-1] += across
    out[..., 1:] -= across
    return out / dx**2


def rate(t: float, state: np.ndarray, n: int) -> np.ndarray:
    """d/dt of (u, v) flattened: u_t = Du lap u + u - u^3 - k - v, v_t = Dv lap v + u - v, on (-1, 1)^2."""
    u, v = state.reshape(2, n, n)
    spread = laplacian(np.stack([u, v]), 2.0 / n)
    return np.concatenate([(DU * spread[0] + u - u**3 - K - v).ravel(), (DV * spread[1] + u - v).ravel()])


def solve(start: np.ndarray, t: np.ndarray, rtol: float = 1e-4, atol: float = 1e-6) -> np.ndarray:
    """One trajectory (len(t), n, n, 2) float64 from (2, n, n)."""
    n = start.shape[-1]
    solution = solve_ivp(rate, (t[0], t[-1]), start.ravel(), method="RK45", t_eval=t, args=(n,), rtol=rtol, atol=atol)
    if not solution.success:
        raise ArithmeticError(f"diffusion-reaction on {n} x {n} cells: {solution.message}")
    return solution.y.reshape(2, n, n, len(t)).transpose(3, 1, 2, 0)


def write(path: Path, *, samples: int, nx: int, nt: int) -> None:
    """Groups with `data` (nt, y, x, 2) = (u, v) over (-1, 1)^2 x [0, 5], from standard normal noise in every cell."""
    x, t = centres(nx, -1, 1), saved_times(nt, END)
    rngs = (sample_rng("diffusion_reaction_2d", i) for i in range(samples))
    fields = (solve(rng.standard_normal((2, nx, nx)), t) for rng in rngs)
    config = {"Du": DU, "Dv": DV, "k": K, "xdim": nx, "ydim": nx, "tdim": nt}
    write_groups(path, "diffusion_reaction_2d", fields, {"x": x, "y": x, "t": t}, config, samples)  # fmt: skip
