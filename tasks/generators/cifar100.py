"""Drawn colour pictures in the layout of CIFAR-100's Python version.

Imitates that a class shows in several cues: class = 10 * shape + hue, with a grating whose direction also depends on
it; position, size, brightness, background and noise vary.
"""

from __future__ import annotations

import colorsys
import pickle
from pathlib import Path

import numpy as np

from tasks.files.generated import opened
from tasks.generators.seeds import sample_rng

WIDTH, SHAPES, HUES = 32, 10, 10


def outline(shape: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mask of shape 0..9 in the unit square around 0: disc, ring, square, bars, crosses, triangle, diamond, halves."""
    r = np.hypot(x, y)
    masks = (
        r < 1,
        (r < 1) & (r > 0.55),
        np.maximum(abs(x), abs(y)) < 0.85,
        (abs(x) < 0.3) & (abs(y) < 1),
        (abs(y) < 0.3) & (abs(x) < 1),
        (np.minimum(abs(x), abs(y)) < 0.25) & (np.maximum(abs(x), abs(y)) < 1),
        (abs(abs(x) - abs(y)) < 0.3) & (np.maximum(abs(x), abs(y)) < 1),
        (y > -0.8) & (abs(x) < (0.8 - y) / 1.6),
        abs(x) + abs(y) < 1,
        (r < 1) & (x > 0),
    )
    return masks[shape]


def picture(name: str, i: int) -> tuple[np.ndarray, int]:
    """Picture `i` (3, 32, 32) uint8 with its class 0..99."""
    rng = sample_rng(name, i)
    label = int(rng.integers(SHAPES * HUES))
    shape, hue = divmod(label, HUES)
    y, x = (np.indices((WIDTH, WIDTH)) - (WIDTH - 1) / 2) / (WIDTH / 2)
    size, (dx, dy) = rng.uniform(0.55, 0.85), rng.uniform(-0.2, 0.2, 2)
    mask = outline(shape, (x - dx) / size, (y - dy) / size)
    angle = np.pi * ((3 * hue + shape) % 10) / 10
    grating = 0.85 + 0.15 * np.sin(14 * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 2 * np.pi))
    colour = np.array(colorsys.hsv_to_rgb((hue + rng.uniform(-0.25, 0.25)) / HUES, 0.9, rng.uniform(0.7, 1.0)))
    ground = rng.uniform(0.1, 0.6, (3, 1, 1)) * np.ones((3, WIDTH, WIDTH))
    image = np.where(mask, colour[:, None, None] * grating, ground) + 0.06 * rng.standard_normal((3, WIDTH, WIDTH))
    return (np.clip(image, 0, 1) * 255).astype(np.uint8), label


def write(*paths: Path, samples: int) -> None:
    """`samples` training pictures and a fifth as many test pictures, each file a pickled dict with bytes keys."""
    for path, part, count in zip(paths, ("train", "test"), (samples, max(1, samples // 5)), strict=True):
        made = [picture(f"cifar100/{part}", i) for i in range(count)]
        labels = [label for _, label in made]
        table = {
            b"data": np.stack([image.reshape(-1) for image, _ in made]),
            b"fine_labels": labels,
            b"coarse_labels": [label // 5 for label in labels],
        }
        with opened(path, task="cifar100", samples=samples, size={}) as f:
            pickle.dump(table, f, protocol=4)
