"""Sound files and log-mel features, vectorised in numpy; torchaudio is not needed.

The features follow torchaudio's MelSpectrogram with the settings that NAS-Bench-360 uses for FSD50K, and librosa's
power_to_db after it.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import scipy.fft
import soundfile

from tasks.contract import DataError
from tasks.files.pickles import open_checked

AUDIO_LIBRARY = f"soundfile {soundfile.__version__}"
"""What decodes wav files here."""

RATE = 22_050
N_FFT, WINDOW, HOP, MELS = 1920, 661, 220, 96
TOP_DB = 80.0
SHIFT_DB = 75.0
FRAMES = 1 + RATE // HOP
"""Frames of one second: 101."""


def read_wav(path: Path, rate: int = RATE) -> np.ndarray:
    """Mono samples (n,) float32 in [-1, 1] of a wav file of that rate; DataError for anything else."""
    expected = f"a mono wav file at {rate} Hz"
    with open_checked(path, expected) as stream:
        head = stream.read(8)
    if head[:4] != b"RIFF":  # decoders would take a dozen other formats
        raise DataError(path, f"no wav file (it begins with {head[:4]!r})", expected)
    # Decoders take what is there of a file that was cut off; its RIFF header knows how long it was.
    whole, have = 8 + int.from_bytes(head[4:], "little"), path.stat().st_size
    if have < whole < 2**32:
        raise DataError(path, f"a truncated file, {have:,} of {whole:,} bytes", expected)
    try:
        samples, found = soundfile.read(path, dtype="float32")
    except (RuntimeError, ValueError, OSError) as error:
        raise DataError(path, f"no readable sound ({error})", expected) from error
    if found != rate or samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        shape = f"{samples.shape} at {found} Hz" + ("" if np.isfinite(samples).all() else ", not finite")
        raise DataError(path, f"sound of shape {shape}", expected)
    return samples


def one_second(samples: np.ndarray, rate: int = RATE) -> np.ndarray:
    """The first second of `samples`; a shorter sound is repeated until it is one second long."""
    return np.resize(samples, rate) if len(samples) < rate else samples[:rate]


@functools.cache
def mel_filters(rate: int = RATE, n_fft: int = N_FFT, mels: int = MELS) -> np.ndarray:
    """Triangular filters (n_fft // 2 + 1, mels) on the HTK mel scale from 0 to rate / 2, peak 1, not normalised."""
    frequencies = np.linspace(0, rate // 2, n_fft // 2 + 1)
    highest = 2595.0 * np.log10(1.0 + (rate / 2) / 700.0)
    edges = 700.0 * (10.0 ** (np.linspace(0, highest, mels + 2) / 2595.0) - 1.0)
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling))


@functools.cache
def padded_window(n_fft: int = N_FFT, window: int = WINDOW) -> np.ndarray:
    """Periodic Hann window of `window` samples, zero-padded on both sides to n_fft."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    left = (n_fft - window) // 2
    return np.pad(hann, (left, n_fft - window - left))


def power_spectrogram(waves: np.ndarray) -> np.ndarray:
    """|STFT|^2 (B, frames, n_fft // 2 + 1) of waves (B, n), frames centred on multiples of the hop, reflected ends."""
    padded = np.pad(waves, ((0, 0), (N_FFT // 2, N_FFT // 2)), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=1)[:, ::HOP]
    spectrum = scipy.fft.rfft(frames * padded_window().astype(waves.dtype), axis=-1)
    return spectrum.real**2 + spectrum.imag**2


def log_mel(waves: np.ndarray) -> np.ndarray:
    """Features (B, 96, 1 + n // 220) float32 in dB of waves (B, n), each minus its own mean.

    Mel power in dB, no lower than 80 dB below the loudest value of the sample, as power_to_db does.
    """
    mel = power_spectrogram(waves.astype(np.float32)) @ mel_filters().astype(np.float32)
    decibel = 10.0 * np.log10(np.maximum(mel.transpose(0, 2, 1).astype(np.float64), 1e-10))
    decibel = np.maximum(decibel, decibel.max(axis=(1, 2), keepdims=True) - TOP_DB) + SHIFT_DB
    return (decibel - decibel.mean(axis=(1, 2), keepdims=True)).astype(np.float32)
