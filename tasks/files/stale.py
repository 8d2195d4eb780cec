"""Telling old, wrong downloads of PDEBench from good ones, by their content."""

from __future__ import annotations

from typing import Any

import numpy as np

from tasks.contract import DataError
from tasks.files.hdf5 import open_h5
from tasks.files.pdebench import Header

PROBES = 16
"""Samples whose speed is measured."""
SPEED_WITHIN = 0.05
"""Largest difference from beta, as a fraction of it. Measured: 1e-4 in a file of the reference generator."""
MOVED_WITHIN = 0.1
"""Largest median distance of frame 1 from frame 0 moved, relative to its norm. Measured: 2e-4 in a file of the reference
generator, 1e-6 to 7e-5 in stand-ins."""


def speed(header: Header) -> tuple[float | None, float]:
    """The speed at which an Advection file moves from frame 0 to frame 1, and the median relative distance that is left.

    The shift is the one at which frame 0, moved as a periodic band-limited function, agrees best with frame 1 over all
    probes; dt comes from the stored times, else from t in [0, 2]. None where all probes are constant.
    """
    t = header.coordinates.get("t")
    dt = t[1] - t[0] if t is not None else 2.0 / (header.frames - 1)
    with open_h5(header.path) as h5:
        start, after = (np.stack([h5["tensor"][i, f] for i in range(min(PROBES, header.samples))]) for f in (0, 1))
    first, second = np.fft.rfft(start.astype(np.float64)), np.fft.rfft(after.astype(np.float64))
    waves = 2j * np.pi * np.arange(first.shape[-1])
    common = (np.conj(first) * second).sum(axis=0)[1:]
    if not np.abs(common).sum() > 1e-9 * np.abs(first[:, :1] * second[:, :1]).sum():
        return None, 0.0
    agreement = np.fft.irfft(np.append(0, common), n=16 * start.shape[-1])
    shift = (agreement.argmax() / len(agreement) + 0.5) % 1 - 0.5
    for _ in range(5):  # Newton's method on the agreement's derivative, from within a sixteenth of a point
        turned = common * np.exp(waves[1:] * shift)
        shift -= (waves[1:] * turned).real.sum() / (waves[1:] ** 2 * turned).real.sum()
    moved = np.fft.irfft(first * np.exp(-waves * shift), n=start.shape[-1])
    norm = np.maximum(np.linalg.norm(start, axis=-1), np.finfo(np.float32).tiny)
    return float(shift / dt), float(np.median(np.linalg.norm(after - moved, axis=-1) / norm))


def check_speed(header: Header, beta: float, allow_stale: bool) -> dict[str, Any]:
    """Notes on the measured speed; DataError for a file that does not move at `beta`.

    Downloads before October 2023 move at 2 beta: these, and no other ones, are let through as a warning on request.
    """
    found, left = speed(header)
    notes: dict[str, Any] = {"speed": {"stated": beta, "measured": found, "distance_from_pure_motion": left}}
    if found is None:
        return {**notes, "warnings": ["every probe is constant in space: the speed cannot be measured"]}
    if abs(found - beta) <= SPEED_WITHIN * beta and left <= MOVED_WITHIN:
        return {**notes, "warnings": []}
    twice = abs(found - 2 * beta) <= SPEED_WITHIN * 2 * beta and left <= MOVED_WITHIN
    measured = f"a solution that moves at {found:.3g}"
    if twice:
        measured += f", twice beta = {beta:g}"
        if allow_stale:
            return {**notes, "warnings": [measured]}
        raise DataError(header.path, measured, f"{beta:g}, as in the file as replaced in October 2023",
                        "Get it again (`bench data fetch`), or allow it: --set data.allow_stale=true.")  # fmt: skip
    if left > MOVED_WITHIN:
        measured = f"frames that are no motion of each other (best at speed {found:.3g}, {left:.0%} apart)"
    raise DataError(header.path, measured, f"a solution that moves at beta = {beta:g}")


def burgers_domain(header: Header) -> list[str]:
    """A warning for Burgers files made before 2024, whose x runs over (-1, 1)."""
    x = header.coordinates.get("x")
    if x is None or x.min() >= 0:
        return []
    return [f"x runs over ({x.min():.3g}, {x.max():.3g}): a file from before 2024; later ones have (0, 1)"]
