"""Synthetic electromyography windows in the layout of NAS-Bench-360's NinaPro files.

Imitates band-limited muscle noise on 16 electrodes. A movement fixes which electrodes are active and when the burst
rises; rest (class 0, two thirds of all windows) has the noise floor alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfilt

from tasks.files.generated import opened
from tasks.generators.seeds import sample_rng

STEPS, ELECTRODES, CLASSES = 52, 16, 18
REST_SHARE = 0.66
RATE = 200.0


def movement_pattern(label: int) -> tuple[np.ndarray, float]:
    """Activity (16,) of each electrode and onset in 0..1 of a movement; the same in every file."""
    rng = sample_rng("ninapro/pattern", label)
    angle = 2 * np.pi * np.arange(ELECTRODES // 2) / (ELECTRODES // 2)
    rings = [np.exp(3 * (np.cos(angle - rng.uniform(0, 2 * np.pi)) - 1)) * rng.uniform(0.4, 1.0) for _ in range(2)]
    return np.concatenate(rings), rng.uniform(0.0, 0.6)


def window(name: str, i: int) -> tuple[np.ndarray, int]:
    """Window `i` of file `name`, (52, 16) float32 of the rectified signal's scale, with its label."""
    rng = sample_rng(name, i)
    label = 0 if rng.random() < REST_SHARE else int(rng.integers(1, CLASSES))
    sos = butter(3, (20.0, 90.0), btype="bandpass", fs=RATE, output="sos")
    noise = sosfilt(sos, rng.standard_normal((STEPS + 30, ELECTRODES)), axis=0)[30:]
    activity = np.full((STEPS, ELECTRODES), 0.1)
    if label:
        pattern, onset = movement_pattern(label)
        t = np.arange(STEPS) / STEPS
        rise = 1 / (1 + np.exp(-(t - onset - rng.normal(0, 0.05)) / 0.05))
        activity += rng.uniform(0.8, 1.2) * rise[:, None] * pattern
    return (np.abs(noise) * activity * 10).astype(np.float32), label


def write(*paths: Path, samples: int) -> None:
    """`samples` windows for training and validation together (4 to 1) and a quarter of the former for testing."""
    val = max(1, samples // 5)
    places = iter(paths)
    for part, count in {"train": samples - val, "val": val, "test": val}.items():
        made = [window(f"ninapro/{part}", i) for i in range(count)]
        for values in (np.stack([w for w, _ in made]), np.array([c for _, c in made], np.int8)):
            with opened(next(places), task="ninapro", samples=samples, size={}) as f:
                np.save(f, values)
