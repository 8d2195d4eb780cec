"""Telling old, wrong downloads of PDEBench from good ones, by their content."""

from __future__ import annotations

import numpy as np

from tasks.contract import DataError
from tasks.files.pdebench import Header, open_h5

PROBES = 16
"""Samples whose speed is measured."""


def speed_errors(header: Header, beta: float) -> tuple[float, float]:
    """Median relative distance of frame 1 from frame 0 moved by beta dt, and by 2 beta dt (both 0 for constant fields).

    Frame 0 is moved exactly as a periodic band-limited function. dt comes from the stored times, else from t in [0, 2].
    """
    t = header.coordinates.get("t")
    dt = t[1] - t[0] if t is not None else 2.0 / (header.frames - 1)
    with open_h5(header.path) as h5:
        start, after = (np.stack([h5["tensor"][i, f] for i in range(min(PROBES, header.samples))]) for f in (0, 1))
    spectrum = np.fft.rfft(start.astype(np.float64))
    waves = np.arange(spectrum.shape[-1])
    norm = np.maximum(np.linalg.norm(start, axis=-1), np.finfo(np.float32).tiny)

    def error(shift: float) -> float:
        moved = np.fft.irfft(spectrum * np.exp(-2j * np.pi * waves * shift), n=start.shape[-1])
        return float(np.median(np.linalg.norm(after - moved, axis=-1) / norm))

    return error(beta * dt), error(2 * beta * dt)


def check_speed(header: Header, beta: float, allow_stale: bool) -> list[str]:
    """Refuse an Advection file that moves at 2 beta (downloads before October 2023), or return it as a warning."""
    right, double = speed_errors(header, beta)
    if double >= right:
        return []
    found = f"a solution that moves at twice beta = {beta:g} (error {double:.2g} against {right:.2g} at beta)"
    if allow_stale:
        return [found]
    raise DataError(header.path, found, "the file as replaced in October 2023",
                    "Get it again (`bench data fetch`), or allow it: --set data.allow_stale=true.")  # fmt: skip


def burgers_domain(header: Header) -> list[str]:
    """A warning for Burgers files made before 2024, whose x runs over (-1, 1)."""
    x = header.coordinates.get("x")
    if x is None or x.min() >= 0:
        return []
    return [f"x runs over ({x.min():.3g}, {x.max():.3g}): a file from before 2024; later ones have (0, 1)"]
