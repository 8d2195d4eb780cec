"""Steady Darcy flow -div(a grad u) = beta by a direct solve, in the layout of PDEBench's files.

Unlike the official files, whose frames are not steady, this is the solution of the discrete equation itself.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import spsolve

from tasks.generators.layout import centres, five_point, write_flat
from tasks.generators.seeds import sample_rng

BETA = 0.1
BUMPS = 5


def bumps(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    """Sum of five bumps exp(-r^2 / s), s ~ U(0, 0.5), centres ~ U(0, 1)^2, on the grid x (x) x: (n, n)."""
    width, centre = rng.uniform(0, 0.5, BUMPS), rng.uniform(0, 1, (2, BUMPS))
    gauss = np.exp(-((x - centre[..., None]) ** 2) / width[:, None])
    return np.einsum("bi,bj->ij", gauss[0], gauss[1])


@functools.cache
def threshold() -> float:
    """Mean of the bumps over a fixed draw of 512 fields.

    The reference cuts each batch of 200 at that batch's own mean; the mean of a fixed draw keeps the samples
    independent of each other.
    """
    x = centres(32)
    return float(np.mean([bumps(sample_rng("darcy_pdebench threshold", i), x) for i in range(512)]))


def operator(a: np.ndarray) -> sp.csc_matrix:
    """The five-point finite-volume matrix of -div(a grad .) on cell centres of the unit square, (n^2, n^2).

    `a` (n, n) per cell; a face takes the arithmetic mean; ghost cells hold u = 0 and the neighbour's a.
    """
    n = len(a)
    padded = np.pad(a, 1, mode="edge")
    west, south = 0.5 * (padded[:-1, 1:-1] + padded[1:, 1:-1]), 0.5 * (padded[1:-1, :-1] + padded[1:-1, 1:])
    return five_point(west, south) * n**2


def solve(rng: np.random.Generator, n: int, beta: float = BETA) -> tuple[np.ndarray, np.ndarray]:
    """One pair (a, u), both (n, n): a is 1 where the bumps exceed the threshold, else 0.1."""
    a = np.where(bumps(rng, centres(n)) > threshold(), 1.0, 0.1)
    return a, spsolve(operator(a), np.full(n * n, beta), permc_spec="MMD_AT_PLUS_A").reshape(n, n)


def write(path: Path, *, samples: int, nx: int) -> None:
    """`nu` (samples, nx, nx) and `tensor` (samples, 1, nx, nx) on the unit square."""
    pairs = [solve(sample_rng("darcy_pdebench", i), nx) for i in range(samples)]
    a, u = (np.stack([p[k] for p in pairs]) for k in (0, 1))
    x = centres(nx)
    write_flat(path, "darcy_pdebench", {"nu": a, "tensor": u[:, None]}, {"x": x, "y": x}, {"beta": BETA})
