"""What a running cell says of itself: `work/<id>/progress.json` for `bench status`, bars or lines for who watches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TextIO

from bench.launch.claim import replace_quickly

Progress = Callable[[Mapping[str, Any]], None]
"""Called by a cell every few seconds with `stage`, and what of `epoch`, `epochs`, `steps`, `seconds`, ... there is."""

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
        for other in self._forward:
            other(event)
        now = time.monotonic()
        if now - self._written < WRITE_SECONDS and event.get("stage") == self._stage:
            return
        self._written, self._stage = now, event.get("stage")
        try:
            replace_quickly(self._path, json.dumps({**event, "elapsed": round(now - self._started, 1)}).encode())
        except OSError as error:
            # A full disk must not end a cell here: the checkpoint or the record will say it, where it matters.
            print(f"warning: progress not written: {error}", file=sys.stderr, flush=True)


def read(folder: Path) -> dict[str, Any]:
    """The last progress of the cell with this work folder; {} if there is none. What is no number is left out."""
    try:
        value = json.loads((folder / "progress.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return {name: v for name, v in value.items() if isinstance(v, (int, float)) or (name == "stage" and v)}


def time_left(event: Mapping[str, Any]) -> float | None:
    """Seconds that the present stage still takes at the speed it had so far; None where that cannot be told.

    `epoch` is the one being done, counted from 1 and taken as half over; `seconds` is the time of the stage so far.
    """
    epoch, epochs, seconds = event.get("epoch"), event.get("epochs"), event.get("seconds")
    if not epoch or not epochs or seconds is None:
        return None
    done = epoch - 0.5
    return max(0.0, (epochs - done) * seconds / done)


def describe(event: Mapping[str, Any]) -> str:
    """One line for a person: `stage2 epoch 3/10, 812 samples/s, 40 s left`."""
    parts = [str(event.get("stage", "starting"))]
    if event.get("epochs"):
        parts[0] += f" epoch {event.get('epoch', 0):g}/{event['epochs']:g}"
    if event.get("samples_per_second"):
        parts.append(f"{event['samples_per_second']:.0f} samples/s")
    left = time_left(event)
    if left is not None:
        parts.append(f"{duration(left)} left")
    return ", ".join(parts)


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`, `4.1 d`."""
    for unit, size in (("d", 86400.0), ("h", 3600.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


class Display(Protocol):
    """Where the progress of a run is shown."""

    def start(self, key: str, title: str) -> None: ...
    def update(self, key: str, event: Mapping[str, Any]) -> None: ...
    def end(self, key: str, outcome: str, message: str) -> None: ...
    def close(self) -> None: ...


class Lines:
    """Plain lines, for a file or a pipe: when a cell starts and ends, and in between at most every `every` seconds."""

    def __init__(self, total: int, out: TextIO, every: float = 30.0):
        self._total, self._out, self._every = total, out, every
        self._begun = self._ended = 0
        self._titles: dict[str, str] = {}
        self._said: dict[str, float] = {}

    def _say(self, text: str) -> None:
        print(text, file=self._out, flush=True)

    def start(self, key: str, title: str) -> None:
        self._begun += 1
        self._titles[key], self._said[key] = title, time.monotonic()
        self._say(f"[{self._begun}/{self._total}] {title}")

    def update(self, key: str, event: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if now - self._said.get(key, now) >= self._every:
            self._said[key] = now
            self._say(f"    {self._titles[key]}: {describe(event)}")

    def end(self, key: str, outcome: str, message: str) -> None:
        self._ended += 1
        self._say(f"    {self._titles.get(key, key)}: {outcome}{f', {message}' if message else ''}")

    def close(self) -> None:
        return


class Bars:
    """One bar for the run and one for each running cell, on a terminal."""

    def __init__(self, total: int, out: TextIO):
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Rich
        from rich.table import Column

        # In a narrow terminal the title is cut, not what the cell says of itself.
        title = TextColumn(
            "{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")
        )
        note = TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True))
        self._rich = Rich(title, BarColumn(bar_width=16), note, console=Console(file=out), expand=True)
        self._total, self._ended = total, 0
        self._all = self._rich.add_task("cells", total=total, note=f"0/{total}")
        self._bars: dict[str, Any] = {}
        self._rich.start()

    def start(self, key: str, title: str) -> None:
        self._bars[key] = self._rich.add_task(title, total=None, note="starting")

    def update(self, key: str, event: Mapping[str, Any]) -> None:
        if key in self._bars:
            done = max(0, (event.get("epoch") or 1) - 1)
            self._rich.update(self._bars[key], completed=done, total=event.get("epochs"), note=describe(event))

    def end(self, key: str, outcome: str, message: str) -> None:
        bar = self._bars.pop(key, None)
        if bar is not None:
            title = self._rich.tasks[self._rich.task_ids.index(bar)].description
            self._rich.remove_task(bar)
            self._rich.console.print(
                f"{title}: {outcome}{f', {message}' if message else ''}", highlight=False, markup=False
            )
        self._ended += 1
        self._rich.update(self._all, completed=self._ended, note=f"{self._ended}/{self._total}")

    def close(self) -> None:
        self._rich.stop()


class Silent:
    """Shows nothing: under `--json`, and inside jobs."""

    def start(self, key: str, title: str) -> None:
        return

    def update(self, key: str, event: Mapping[str, Any]) -> None:
        return

    def end(self, key: str, outcome: str, message: str) -> None:
        return

    def close(self) -> None:
        return


def display(total: int, quiet: bool = False, out: TextIO | None = None) -> Display:
    """Bars on a terminal, lines elsewhere, nothing if quiet. Progress goes to stderr: stdout is for results."""
    out = sys.stderr if out is None else out
    if quiet:
        return Silent()
    return Bars(total, out) if out.isatty() else Lines(total, out)
