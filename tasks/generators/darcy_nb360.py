"""Darcy flow as the FNO paper made it: two-valued random permeability, unit force, zero border (Li et al. 2021).

a = 12 where a Gaussian random field is >= 0, else 4; the field is N(0, (-laplace + 9)^-2) with zero normal derivative,
by its cosine series. -div(a grad u) = 1 on the unit square, u = 0 on the border, is solved by the 5-point scheme with
arithmetic means of a at the faces. The official grid has 421 points a side, border included; a coarser one is solved
directly, which differs from decimating the fine one by some tenths of a percent.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.fft import idctn
from scipy.io import savemat
from scipy.sparse.linalg import spsolve

from tasks.files.generated import opened
from tasks.generators.layout import five_point
from tasks.generators.seeds import sample_rng

HEADER = b"MATLAB 5.0 MAT-file, written by this project"
HIGH, LOW = 12.0, 4.0
TAU, ALPHA = 3.0, 2.0


def random_field(rng: np.random.Generator, points: int, modes: int = 64) -> np.ndarray:
    """Sample of N(0, (-laplace + tau^2)^-alpha) on points x points by its cosine series, constant mode left out.

    `modes` coefficients per axis are drawn whatever the grid, so that a finer grid shows the same field.
    """
    k = np.pi * np.arange(modes)
    spectrum = TAU ** (ALPHA - 1) * (k[:, None] ** 2 + k**2 + TAU**2) ** (-ALPHA / 2)
    spectrum[0, 0] = 0.0
    drawn = rng.standard_normal((modes, modes)) * spectrum
    coefficients = np.zeros((points, points))
    kept = min(modes, points)
    coefficients[:kept, :kept] = drawn[:kept, :kept]
    return points * idctn(coefficients, norm="ortho")


def permeability(rng: np.random.Generator, points: int) -> np.ndarray:
    """(points, points) of 12 and 4."""
    return np.where(random_field(rng, points) >= 0, HIGH, LOW)


def solve(a: np.ndarray) -> np.ndarray:
    """u (s, s) of -div(a grad u) = 1 with u = 0 on the border, both on the nodes of the unit square's grid."""
    inner = a.shape[0] - 2
    h = 1.0 / (a.shape[0] - 1)
    across = (a[1:, 1:-1] + a[:-1, 1:-1]) / 2  # faces between rows, (inner + 1, inner)
    along = (a[1:-1, 1:] + a[1:-1, :-1]) / 2  # faces between columns, (inner, inner + 1)
    u = np.zeros_like(a)
    force = np.full(inner * inner, h * h)
    u[1:-1, 1:-1] = spsolve(five_point(across, along), force, permc_spec="MMD_AT_PLUS_A").reshape(inner, inner)
    return u


def pairs(name: str, count: int, grid: int) -> dict[str, np.ndarray]:
    """`count` coefficients and solutions (count, grid, grid) float32 under the official names."""
    a = np.stack([permeability(sample_rng(name, i), grid) for i in range(count)])
    return {"coeff": a.astype(np.float32), "sol": np.stack([solve(one) for one in a]).astype(np.float32)}


def write(*paths: Path, samples: int, grid: int = 421) -> None:
    """`samples` pairs in the training file and a tenth as many in the test file (MATLAB version 5)."""
    for path, part, count in zip(paths, ("train", "test"), (samples, max(4, samples // 10)), strict=True):
        table = pairs(f"darcy_nb360/{part}", count, grid)
        with opened(path, task="darcy_nb360", samples=samples, size={"grid": grid}) as f:
            savemat(f, table)
            # scipy writes the time into the file's first 116 bytes of text, and equal content must be equal bytes.
            f.seek(0)
            f.write(HEADER.ljust(116))
