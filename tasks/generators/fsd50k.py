"""Synthesised sounds in the layout of NAS-Bench-360's chunked FSD50K.

Imitates clips of unequal length that carry one to three of 16 sound kinds: steady harmonic tones, chirps, bands of
noise and trains of clicks, four pitches each, at random levels over a noise floor. Clips are cut into one-second chunks
every half second, 16-bit mono at 22,050 Hz, as the official chunks are.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
from scipy.io import wavfile
from scipy.signal import butter, sosfilt

from tasks.files.generated import writing
from tasks.generators.seeds import sample_rng

RATE = 22_050
KINDS = ("tone", "chirp", "band", "clicks")
PITCHES = (200.0, 600.0, 1800.0, 5400.0)
LABELS = tuple(f"{kind}_{int(pitch)}" for kind in KINDS for pitch in PITCHES)


def sound(label: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """`seconds` of sound kind `label`, amplitude near 1."""
    t = np.arange(int(seconds * RATE)) / RATE
    kind, pitch = KINDS[label // len(PITCHES)], PITCHES[label % len(PITCHES)] * rng.uniform(0.9, 1.1)
    if kind == "tone":
        k = np.arange(1, 4)[np.arange(1, 4) * pitch < RATE / 2, None]
        return (np.sin(2 * np.pi * k * pitch * t) / k).sum(0) / 1.5
    if kind == "chirp":
        return np.sin(2 * np.pi * pitch * (t + 0.04 * np.sin(2 * np.pi * 3 * t + rng.uniform(0, 6))))
    noise = rng.standard_normal(len(t))
    sos = butter(2, (pitch * 0.8, pitch * 1.25), btype="bandpass", fs=RATE, output="sos")
    if kind == "clicks":
        noise = noise * (np.modf(t * 8 + rng.random())[0] < 0.05) * 4
    band = sosfilt(sos, noise)
    return band / (np.abs(band).max() + 1e-9)


def clip(name: str, i: int) -> tuple[np.ndarray, list[int]]:
    """Clip `i`: samples in [-1, 1], 0.4 to 2 s, and its labels in order."""
    rng = sample_rng(name, i)
    seconds = rng.uniform(0.4, 2.0)
    labels = sorted(rng.choice(len(LABELS), rng.integers(1, 4), replace=False).tolist())
    mix = 0.003 * rng.standard_normal(int(seconds * RATE))
    for label in labels:
        mix = mix + rng.uniform(0.3, 1.0) * sound(label, seconds, rng)
    return mix / max(1.0, float(np.abs(mix).max())), labels


def chunks(samples: np.ndarray) -> list[np.ndarray]:
    """One-second pieces every half second; a short one is repeated to the full second."""
    if len(samples) < RATE:
        return [np.resize(samples, RATE)]
    return [np.resize(samples[start : start + RATE], RATE) for start in range(0, len(samples), RATE // 2)]


def write_wav(path: Path, samples: np.ndarray) -> None:
    """16-bit mono wav."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, RATE, np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16))


def write(*paths: Path, samples: int) -> None:
    """`samples` training clips, a quarter as many for validation and for test, four noises, manifests and label map."""
    folder, manifests, label_map = paths[0].parent.parent, paths[:3], paths[3]
    noise_rng = sample_rng("fsd50k/noise", 0)
    for n in range(4):
        write_wav(folder / "noise_22050" / f"noise{n}.wav", 0.1 * noise_rng.standard_normal(RATE))
    rest = max(4, samples // 4)
    parts = (("tr", "dev", samples), ("val", "dev", rest), ("eval", "eval", rest))
    for path, (part, place, count) in zip(manifests, parts, strict=True):
        rows = []
        for i in range(count):
            audio, labels = clip(f"fsd50k/{part}", i)
            for k, piece in enumerate(chunks(audio)):
                file = f"FSD50K.{place}_audio_22050_chunks/{part}{i:05d}_{k:04d}.wav"
                write_wav(folder / file, piece)
                rows.append((file, ",".join(LABELS[label] for label in labels), f"{part}{i:05d}"))
        with (
            writing(path, task="fsd50k", samples=samples, size={}) as temporary,
            temporary.open("w", newline="") as f,
        ):
            csv.writer(f).writerows([("files", "labels", "ext"), *rows])
    with writing(label_map, task="fsd50k", samples=samples, size={}) as temporary:
        temporary.write_text(json.dumps({name: i for i, name in enumerate(LABELS)}))
