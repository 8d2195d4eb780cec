"""The projection of images on a rotated sphere, and the stand-in for Spherical made with it,
which imitates CIFAR-100 by handwritten digits.

Follows the published procedure (S2CNN's generator as NAS-Bench-360 used it): a Driscoll-Healy grid of 60 x 60 points on
the unit sphere around (0, 0, 1), one random rotation per chunk of consecutive images, stereographic projection from
(0, 0, 2.001) onto the plane z = 0, whose square [-1.5, 1.5]^2 the image covers; values outside are 0. Values are mixed
from the neighbours floor-1 and floor+1 of each axis, a blur whose scale disappears when every image is stretched to
0..255.
"""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from tasks.files.generated import opened
from tasks.generators.seeds import sample_rng

BANDWIDTH = 30
ORIGIN = 2.001
HALF_WIDTH = 1.5


def sphere_grid(bandwidth: int = BANDWIDTH) -> np.ndarray:
    """Driscoll-Healy points (3, 2b, 2b) on the unit sphere: colatitude pi j / 2b along axis 1, longitude pi k / b."""
    j = np.arange(2 * bandwidth)
    colatitude, longitude = np.meshgrid(np.pi * j / (2 * bandwidth), np.pi * j / bandwidth, indexing="ij")
    sine = np.sin(colatitude)
    return np.stack([sine * np.cos(longitude), sine * np.sin(longitude), np.cos(colatitude)])


def random_rotation(rng: np.random.Generator, noise: float = 1.0) -> np.ndarray:
    """Rotation (v v' - I) Rz of Arvo 1992; uniform on SO(3) for noise 1, near a half turn about z for noise 0."""
    theta, phi, z = rng.random(3) * (2 * np.pi * noise, 2 * np.pi, 2 * noise)
    v = np.array([np.sin(phi) * np.sqrt(z), np.cos(phi) * np.sqrt(z), np.sqrt(2 - z)])
    turn = np.array([[np.cos(theta), np.sin(theta), 0], [-np.sin(theta), np.cos(theta), 0], [0, 0, 1]])
    return (np.outer(v, v) - np.eye(3)) @ turn


def plane_points(rotation: np.ndarray, bandwidth: int = BANDWIDTH) -> np.ndarray:
    """Where the rotated grid's points meet the plane z = 0, seen from (0, 0, ORIGIN): (2, 2b * 2b)."""
    x, y, z = rotation @ sphere_grid(bandwidth).reshape(3, -1)
    stretch = ORIGIN / (ORIGIN - (z + 1))
    return np.stack([x * stretch, y * stretch])


def projection_matrix(rotation: np.ndarray, width: int, bandwidth: int = BANDWIDTH) -> sp.csr_matrix:
    """Sparse ((2b)^2, width^2) matrix that takes a flattened image (row, column) to the flattened sphere grid."""
    where = (plane_points(rotation, bandwidth) + HALF_WIDTH) / (2 * HALF_WIDTH) * width
    corner = np.trunc(where).astype(np.int64)
    rows, columns, weights = [], [], []
    for dx in (-1, 1):
        for dy in (-1, 1):
            ix, iy = corner[0] + dx, corner[1] + dy
            inside = (ix >= 0) & (ix < width) & (iy >= 0) & (iy < width)
            weight = (1 + dx * (where[0] - corner[0])) * (1 + dy * (where[1] - corner[1]))
            rows.append(np.flatnonzero(inside))
            columns.append((ix * width + iy)[inside])
            weights.append(weight[inside])
    index = (np.concatenate(rows), np.concatenate(columns))
    return sp.csr_matrix((np.concatenate(weights), index), shape=(where.shape[1], width**2))


def project(images: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Images (n, C, w, w) on the sphere: (n, C, 60, 60) uint8, each channel stretched to 0..255 and truncated."""
    n, channels, width, _ = images.shape
    flat = images.reshape(n * channels, width * width).astype(np.float64)
    values = (projection_matrix(rotation, width) @ flat.T).T
    low, high = values.min(1, keepdims=True), values.max(1, keepdims=True)
    span = np.where(high > low, high - low, 1.0)
    return ((values - low) / span * 255).astype(np.uint8).reshape(n, channels, 2 * BANDWIDTH, 2 * BANDWIDTH)


def digits(held_out: bool) -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 8 x 8 digits as (n, 1, 32, 32) in 0..255, with labels: the first 80 %, or the held-out rest."""
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    data = load_digits()
    cut = int(0.8 * len(data.images))
    part = slice(cut, None) if held_out else slice(0, cut)
    big = zoom(data.images[part] * (255 / 16), (1, 4, 4), order=1)
    return big[:, None], data.target[part].astype(np.int64)


def sphere_digits(name: str, count: int, chunk: int, noise: float, held_out: bool) -> dict[str, np.ndarray]:
    """`count` digits, in the data set's order and over again; chunk c is rotated by the generator (name, c)."""
    images, labels = digits(held_out)
    out = np.empty((count, 3, 2 * BANDWIDTH, 2 * BANDWIDTH), np.uint8)
    for c, start in enumerate(range(0, count, chunk)):
        index = np.arange(start, min(start + chunk, count)) % len(images)
        out[start : start + chunk] = project(images[index], random_rotation(sample_rng(name, c), noise))
    return {"images": out, "labels": labels[np.arange(count) % len(labels)]}


def write(path: Path, *, samples: int, chunk: int = 500, rotation_percent: int = 100) -> None:
    """`samples` training and a fifth as many test images as a gzipped pickle like the official one.

    Args:
        path: target file.
        samples: training images.
        chunk: consecutive images that share a rotation (500 officially).
        rotation_percent: 100 gives uniform rotations as published; less keeps them near a half turn about z.
    """
    size = {"chunk": chunk, "rotation_percent": rotation_percent}
    noise = rotation_percent / 100
    parts = {
        "train": sphere_digits("spherical", samples, chunk, noise, held_out=False),
        "test": sphere_digits("spherical/test", max(1, samples // 5), chunk, noise, held_out=True),
    }
    # No name and no time in the header: the same arguments give the same bytes, and so the same fingerprint.
    with (
        opened(path, task="spherical", samples=samples, size=size) as raw,
        gzip.GzipFile("", "wb", 1, raw, mtime=0) as stream,
    ):
        pickle.dump(parts, stream, protocol=4)  # type: ignore[arg-type]
