"""Star fields with cosmic rays in the layout of the unpacked deepCR archives.

Imitates Hubble exposures: a sky level, Poisson stars and galaxies blurred by a point spread function, photon and read
noise; rays are straight tracks one pixel wide and unblurred, and the mask says exactly where they are. A few saturated
columns are to be ignored.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from tasks.files.generated import opened
from tasks.generators.seeds import sample_rng

FIELD = "10760/2"
"""Proposal and visit under which all stand-ins lie: one of the official galaxy fields."""


def tracks(rng: np.random.Generator, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Deposited charge and mask (width, width) of Poisson many rays, at least one."""
    charge, mask = np.zeros((width, width)), np.zeros((width, width), bool)
    for _ in range(max(1, rng.poisson(width**2 / 500))):
        y, x = rng.uniform(0, width, 2)
        angle, length = rng.uniform(0, 2 * np.pi), rng.exponential(5) + 1
        steps = np.arange(0, length, 0.5)
        rows = (y + steps * np.sin(angle)).astype(int)
        columns = (x + steps * np.cos(angle)).astype(int)
        inside = (rows >= 0) & (rows < width) & (columns >= 0) & (columns < width)
        mask[rows[inside], columns[inside]] = True
        charge[rows[inside], columns[inside]] = rng.uniform(60, 400)
    return charge, mask


def exposure(name: str, i: int, width: int) -> tuple[np.ndarray, float]:
    """Stack (3, width, width) float32 of image, mask and ignore mask, and the sky level."""
    rng = sample_rng(name, i)
    sky = rng.uniform(20, 60)
    scene = np.zeros((width, width))
    count = max(2, rng.poisson(width**2 / 400))
    np.add.at(scene, tuple(rng.integers(0, width, (2, count))), rng.pareto(1.5, count) * 150 + 50)
    galaxies = np.zeros_like(scene)
    galaxies[tuple(rng.integers(0, width, (2, 3)))] = rng.uniform(500, 4000, 3)
    scene = gaussian_filter(scene, 1.2) + gaussian_filter(galaxies, rng.uniform(2, 4)) + sky
    charge, mask = tracks(rng, width)
    image = rng.poisson(scene) + charge + 5 * rng.standard_normal(scene.shape) - sky
    ignore = np.zeros_like(mask)
    if rng.random() < 0.3:
        ignore[:, rng.integers(width)] = True
        image[ignore] = 5000.0
    return np.stack([image, mask & ~ignore, ignore]).astype(np.float32), sky


def write(*lists: Path, samples: int, width: int) -> None:
    """`samples` training stacks and fewer test stacks, with `sky.npy` and the two lists."""
    counts = samples, max(min(40, samples // 4), samples * 420 // 4830)
    for path, part, count in zip(lists, ("train", "test"), counts, strict=True):
        place = path.parent / f"npy_{part}" / "f435w" / FIELD
        place.mkdir(parents=True, exist_ok=True)
        listed, levels = [], []
        for i in range(count):
            stack, sky = exposure(f"cosmic/{part}", i, width)
            np.save(place / f"{i + 1:05d}_0.npy", stack)
            listed.append((place / f"{i + 1:05d}_0.npy").relative_to(path.parent).as_posix())
            levels.append(sky)
        np.save(place / "sky.npy", np.array(levels))
        with opened(path, task="cosmic", samples=samples, size={"width": width}) as f:
            np.save(f, np.array(listed))
