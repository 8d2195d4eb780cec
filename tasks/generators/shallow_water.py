"""A radial dam break in shallow water, in the layout of PDEBench's grouped files.

The flow is radially symmetric until it meets the edge, after t = 1; so the equations are solved in the radius (finite
volumes: MUSCL, HLL flux, Heun) on a fine grid and averaged over the cells of the square.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.generators.compressible import limited
from tasks.generators.layout import centres, saved_times, write_groups
from tasks.generators.seeds import in_blocks

G, HALF_WIDTH, END = 1.0, 2.5, 1.0
INSIDE, OUTSIDE = 2.0, 1.0
RADIAL = 8
"""Cells in the radius, up to the corner of the square, per cell of the square's side."""
BLOCK = 16
COURANT = 0.4


def _hll(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """HLL flux between states (2, ..., faces) of depth and velocity."""
    c = np.sqrt(G * left[0]), np.sqrt(G * right[0])
    slow = np.minimum(np.minimum(left[1] - c[0], right[1] - c[1]), 0)
    fast = np.maximum(np.maximum(left[1] + c[0], right[1] + c[1]), 0)
    q = [np.stack([w[0], w[0] * w[1]]) for w in (left, right)]
    f = [np.stack([w[0] * w[1], w[0] * w[1] ** 2 + 0.5 * G * w[0] ** 2]) for w in (left, right)]
    return (fast * f[0] - slow * f[1] + slow * fast * (q[1] - q[0])) / (fast - slow)


def rate(q: np.ndarray, r: np.ndarray) -> np.ndarray:
    """d/dt of depth and momentum (2, B, n) on radii `r`: inner end reflecting, outer end open, geometry as a source."""
    w = np.stack([q[0], q[1] / q[0]])
    mirror = np.stack([w[0, :, 1::-1], -w[1, :, 1::-1]])
    padded = np.concatenate([mirror, w, w[..., -1:], w[..., -1:]], axis=-1)
    half, inner = limited(padded), padded[..., 1:-1]
    flux = _hll((inner + half)[..., :-1], (inner - half)[..., 1:])
    dr = r[1] - r[0]
    edges = np.append(r - dr / 2, r[-1] + dr / 2)
    out = -np.diff(edges * flux, axis=-1) / (r * dr)
    out[1] += 0.5 * G * q[0] ** 2 / r
    return out


def solve(h0: np.ndarray, r: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Depths (B, len(t), n) from depths (B, n) at rest, on evenly spaced radii `r`."""
    q, now, out = np.stack([h0, np.zeros_like(h0)]), t[0], [h0]
    for target in t[1:]:
        while now < target:
            fastest = (np.abs(q[1] / q[0]) + np.sqrt(G * q[0])).max()
            h = min(COURANT * (r[1] - r[0]) / fastest, target - now)
            first = q + h * rate(q, r)
            q = 0.5 * (q + first + h * rate(first, r))
            now = target if h == target - now else now + h
        out.append(q[0])
    return np.stack(out, axis=1)


def onto_square(h: np.ndarray, r: np.ndarray, nx: int) -> np.ndarray:
    """(B, T, n) over the radius as means over 4 x 4 points per cell of the square, (B, T, nx, nx)."""
    fine = centres(4 * nx, -HALF_WIDTH, HALF_WIDTH)[: 2 * nx]  # one quadrant; the others mirror it
    radius = np.hypot(fine[:, None], fine[None, :])
    below = np.clip(np.searchsorted(r, radius) - 1, 0, len(r) - 2)
    weight = np.clip((radius - r[below]) / (r[1] - r[0]), 0, 1)
    values = h[..., below] * (1 - weight) + h[..., below + 1] * weight
    half = nx // 2
    quadrant = values.reshape(*h.shape[:2], half, 4, half, 4).mean(axis=(3, 5))
    top = np.concatenate([quadrant, quadrant[..., ::-1]], axis=-1)
    return np.concatenate([top, top[..., ::-1, :]], axis=-2)


def write(path: Path, *, samples: int, nx: int, nt: int) -> None:
    """Groups with `data` (nt, nx, nx, 1), the depth, over (-2.5, 2.5)^2 x [0, 1]; `nx` even."""
    if nx % 2:
        raise ValueError(f"shallow water on {nx} cells per axis: an even number is needed")
    x, t, r = centres(nx, -HALF_WIDTH, HALF_WIDTH), saved_times(nt, END), centres(RADIAL * nx, 0, HALF_WIDTH * 2**0.5)

    def make(rngs: list[np.random.Generator]) -> np.ndarray:
        dam = np.array([rng.uniform(0.3, 0.7) for rng in rngs])
        inside = np.clip((dam[:, None] - r) / (r[1] - r[0]) + 0.5, 0, 1)  # the cell that the dam cuts is mixed
        return onto_square(solve(OUTSIDE + (INSIDE - OUTSIDE) * inside, r, t), r, nx)

    config = {"inner_height": INSIDE, "x_left": -HALF_WIDTH, "x_right": HALF_WIDTH, "xdim": nx, "tdim": nt}
    fields = (h[..., None] for h in in_blocks("shallow_water", samples, BLOCK, make))
    write_groups(path, "shallow_water", fields, {"x": x, "y": x, "t": t}, config, samples, compression=None)  # fmt: skip
