"""What a running cell says of itself, kept in `work/<id>/progress.json` for `bench status`, and how long it still takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.faults import warn
from bench.words import duration
from tasks.files.atomic import write_quickly
from tasks.files.regular import NOTE, read_file

Progress = Callable[[Mapping[str, Any]], None]
"""Called by a cell every few seconds with `stage`, and what of `epoch`, `epochs`, `done`, `seconds`, ... there is."""

WRITE_SECONDS = 2.0


class Reporter:
    """Writes a cell's progress beside its checkpoint, at most every two seconds, and hands every event on."""

    def __init__(self, folder: Path, *forward: Progress):
        self._path = folder / "progress.json"
        self._forward = forward
        self._started = time.monotonic()
        self._written = -WRITE_SECONDS
        self._stage: Any = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        now = time.monotonic()
        event = {**event, "elapsed": round(now - self._started, 1)}
        for other in self._forward:
            other(event)
        if now - self._written < WRITE_SECONDS and event.get("stage") == self._stage:
            return
        self._written, self._stage = now, event.get("stage")
        try:
            write_quickly(self._path, json.dumps(event).encode())
        except OSError as error:
            # A full disk must not end a cell here: the checkpoint or the record will say it, where it matters.
            warn(f"progress not written: {error}")


def read(folder: Path) -> dict[str, Any]:
    """The last progress of the cell with this work folder; {} if there is none. What is no number is left out."""
    try:
        value = json.loads(read_file(folder / "progress.json", NOTE))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: v for name, v in value.items() if isinstance(v, (int, float)) or (name == "stage" and v)}


def phase_left(event: Mapping[str, Any]) -> float | None:
    """Seconds that the present phase still takes at the speed of its steps so far; None where there were none yet.

    `done` is the part of its steps that is over (0 to 1), `seconds` what they took.
    """
    done, seconds = event.get("done"), event.get("seconds")
    if not done or seconds is None:
        return None
    return max(0.0, seconds * (1 - done) / done)


def time_left(event: Mapping[str, Any], expected: float | None = None) -> float | None:
    """Seconds that the cell still takes: in stage 2 by its steps, elsewhere by its `expected` cost if that is known.

    Where it is not, what is left of the phase is all that can be told.
    """
    phase = phase_left(event)
    if expected is None or (event.get("stage") == "stage2" and phase is not None):
        return phase
    return max(expected - event.get("elapsed", 0.0), phase or 0.0)


def describe(event: Mapping[str, Any], expected: float | None = None) -> str:
    """One line for a person: `stage2 epoch 3/10, 812 samples/s, 40 s left`."""
    parts = [str(event.get("stage", "starting"))]
    if event.get("epochs"):
        parts[0] += f" epoch {event.get('epoch', 0):g}/{event['epochs']:g}"
    if event.get("samples_per_second"):
        parts.append(f"{event['samples_per_second']:.0f} samples/s")
    left = time_left(event, expected)
    if left is not None:
        whole = expected is not None or event.get("stage") == "stage2"
        parts.append(f"{duration(left)} left" + ("" if whole else " of this phase"))
    return ", ".join(parts)
