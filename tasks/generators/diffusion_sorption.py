"""Diffusion with Freundlich sorption, u_t = D / R(u) u_xx, in the layout of PDEBench's grouped files.

Method of lines on cell centres, integrated by LSODA with a banded Jacobian: the problem is stiff, and the reference's
explicit integrator at its default tolerance is 0.5 % to 1.7 % off.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.integrate import solve_ivp

from tasks.generators.layout import centres, saved_times, write_groups
from tasks.generators.seeds import sample_rng

D, POROSITY, RHO_S, K_F, N_F, LEFT, END = 5e-4, 0.29, 2880.0, 3.5e-4, 0.874, 1.0, 500.0


def retardation(u: np.ndarray) -> np.ndarray:
    """R(u) = 1 + (1 - phi)/phi rho_s k n (u + 1e-6)^(n - 1)."""
    return 1 + (1 - POROSITY) / POROSITY * RHO_S * K_F * N_F * (np.maximum(u, 0) + 1e-6) ** (N_F - 1)


def rate(t: float, u: np.ndarray, dx: float) -> np.ndarray:
    """du/dt on n cells; the left ghost cell holds 1, the right one D (u[n-2] - u[n-1]) / dx, which is nearly 0."""
    padded = np.concatenate([[LEFT], u, [D * (u[-2] - u[-1]) / dx]])
    return D / retardation(u) * (padded[2:] - 2 * u + padded[:-2]) / dx**2


def solve(start: float, nx: int, t: np.ndarray, rtol: float = 1e-6, atol: float = 1e-8) -> np.ndarray:
    """One trajectory (len(t), nx) float64 from the constant state `start` in [0, 0.2]."""
    solution = solve_ivp(
        rate, (t[0], t[-1]), np.full(nx, start), method="LSODA", t_eval=t, args=(1.0 / nx,),
        lband=1, uband=1, rtol=rtol, atol=atol,
    )  # fmt: skip
    if not solution.success:
        raise ArithmeticError(f"diffusion-sorption from u = {start:g} on {nx} cells: {solution.message}")
    return solution.y.T


def write(path: Path, *, samples: int, nx: int, nt: int) -> None:
    """Groups with `data` (nt, nx, 1) over (0, 1) x [0, 500]."""
    x, t = centres(nx), saved_times(nt, END)
    starts = [sample_rng("diffusion_sorption", i).uniform(0, 0.2) for i in range(samples)]
    config = {"D": D, "por": POROSITY, "rho_s": RHO_S, "k_f": K_F, "n_f": N_F, "sol": LEFT, "xdim": nx, "tdim": nt}
    write_groups(path, "diffusion_sorption", (solve(s, nx, t)[..., None] for s in starts), {"x": x, "t": t},
                 config, samples)  # fmt: skip
