"""Synthetic single-lead rhythms in the layout of the CinC 2017 pickle.

Imitates what a cardiologist looks at: N, a regular rhythm with P waves; A, atrial fibrillation, irregular intervals, no
P wave and a fibrillatory baseline of 5 to 8 Hz; O, other rhythms (premature broad beats with a pause, or a fast or slow
regular rhythm); ~, a recording swamped by artefacts. 300 Hz, int16, amplitudes of some hundred units.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from tasks.files.generated import opened
from tasks.generators.seeds import sample_rng

RATE = 300
LABELS = ("N", "A", "O", "~")
SHARES = (0.5, 0.2, 0.22, 0.08)
WAVES = {  # amplitude, offset from the R peak (s), width (s)
    "P": (0.15, -0.17, 0.025),
    "Q": (-0.12, -0.035, 0.010),
    "R": (1.00, 0.0, 0.012),
    "S": (-0.25, 0.035, 0.012),
    "T": (0.30, 0.26, 0.055),
}


def beat_times(kind: str, seconds: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Times of R peaks (s) covering the recording, and which of them are premature broad beats."""
    count = int(seconds / 0.3) + 4
    base = rng.uniform(0.7, 1.0)
    intervals = base * (1 + 0.02 * rng.standard_normal(count))
    broad = np.zeros(count, bool)
    if kind == "A":
        intervals = np.clip(rng.gamma(9.0, rng.uniform(0.55, 0.85) / 9.0, count), 0.3, 1.6)
    elif kind == "O" and rng.random() < 0.7:
        broad[2 + rng.integers(3) :: int(rng.integers(2, 4))] = True
        early = np.flatnonzero(broad)
        intervals[early - 1] *= 0.6
        intervals[early] *= 1.4
    elif kind == "O":
        intervals *= rng.choice([0.5, 1.7])
    times = np.cumsum(np.append(-rng.uniform(0.2, 1.0), intervals[:-1]))
    return times, broad


def rhythm(kind: str, length: int, rng: np.random.Generator) -> np.ndarray:
    """One recording of `length` samples of rhythm `kind` (N, A, O or ~) as int16."""
    t = np.arange(length) / RATE
    times, broad = beat_times("N" if kind == "~" else kind, length / RATE, rng)
    x = np.zeros(length)
    for name, (amplitude, offset, width) in WAVES.items():
        if name == "P" and kind == "A":
            continue
        size = np.where(broad, {"P": 0.0, "R": 1.2, "T": -1.5}.get(name, 1.0), 1.0) * amplitude
        spread = np.where(broad, 2.5, 1.0) * width
        x += (size * np.exp(-0.5 * ((t[:, None] - times - offset) / spread) ** 2)).sum(1)
    if kind == "A":
        phase = 2 * np.pi * np.cumsum(rng.uniform(5, 8) + rng.standard_normal(length)) / RATE
        x += rng.uniform(0.06, 0.12) * np.sin(phase)
    x *= rng.uniform(0.8, 1.2)
    x += 0.1 * np.sin(2 * np.pi * rng.uniform(0.15, 0.4) * t + rng.uniform(0, 2 * np.pi))
    x += 0.02 * rng.standard_normal(length)
    if kind == "~":
        steps = np.cumsum(rng.standard_normal(length)) / np.sqrt(RATE)
        x = 0.3 * x + rng.uniform(0.5, 1.0) * steps + rng.uniform(0.3, 0.8) * rng.standard_normal(length)
    return np.clip(x * 400, -32768, 32767).astype(np.int16)


def record(i: int, length: int) -> tuple[np.ndarray, str]:
    """Recording `i` with its label; `length` samples, up to a tenth more."""
    rng = sample_rng("ecg", i)
    label = LABELS[int(rng.choice(4, p=SHARES))]
    return rhythm(label, length + int(rng.integers(0, length // 10 + 1)), rng), label


def write(path: Path, *, samples: int, length: int = 9000) -> None:
    """`samples` recordings of about `length` samples as the pickle {"data": object array, "label": list}."""
    made = [record(i, length) for i in range(samples)]
    data = np.empty(samples, object)
    for i, (signal, _) in enumerate(made):
        data[i] = signal
    with opened(path, task="ecg", samples=samples, size={"length": length}) as f:
        pickle.dump({"data": data, "label": [label for _, label in made]}, f, protocol=4)
