"""Where the progress of a run is shown: bars on a terminal, lines elsewhere, each with the time that is left."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from bench.launch.progress import describe
from bench.launch.remaining import Remaining
from bench.words import printable, say


class Display:
    """Where the progress of a run is shown; this one shows nothing, under `--json`."""

    def start(self, key: str, title: str) -> None:
        """A cell begins."""

    def update(self, key: str, event: Mapping[str, Any]) -> None:
        """A cell has said where it is."""

    def end(self, key: str, outcome: str, message: str) -> None:
        """A cell has ended."""

    def close(self) -> None:
        """The run is over."""


class Lines(Display):
    """Plain lines, for a file or a pipe: when a cell starts and ends, and in between at most every `every` seconds."""

    def __init__(self, run: Remaining, out: TextIO, every: float = 30.0):
        self._run, self._out, self._every = run, out, every
        self._begun = 0
        self._titles: dict[str, str] = {}
        self._said: dict[str, float] = {}

    def _say(self, text: str) -> None:
        say(text, self._out)

    def start(self, key: str, title: str) -> None:
        self._run.start(key)
        self._begun += 1
        self._titles[key], self._said[key] = title, time.monotonic()
        self._say(f"[{self._begun}/{self._run.total}] {title}")

    def update(self, key: str, event: Mapping[str, Any]) -> None:
        self._run.update(key, event)
        now = time.monotonic()
        if now - self._said.get(key, now) >= self._every:
            self._said[key] = now
            self._say(f"    {self._titles[key]}: {describe(event, self._run.expected(key))}; run: {self._run.words()}")

    def end(self, key: str, outcome: str, message: str) -> None:
        self._run.end(key, outcome)
        self._say(f"    {self._titles.get(key, key)}: {outcome}{f', {message}' if message else ''}")


class Bars(Display):
    """One bar for the run and one for each running cell, on a terminal."""

    def __init__(self, run: Remaining, out: TextIO):
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
        self._run = run
        self._all = self._rich.add_task("run", total=run.total, note=run.words())
        self._bars: dict[str, Any] = {}
        self._rich.start()

    def start(self, key: str, title: str) -> None:
        self._run.start(key)
        self._bars[key] = self._rich.add_task(printable(title), total=None, note="starting")

    def update(self, key: str, event: Mapping[str, Any]) -> None:
        self._run.update(key, event)
        if key in self._bars:
            done = event.get("done")
            note = printable(describe(event, self._run.expected(key)))
            self._rich.update(self._bars[key], completed=done or 0.0, total=None if done is None else 1.0, note=note)
            self._rich.update(self._all, note=self._run.words())

    def end(self, key: str, outcome: str, message: str) -> None:
        bar = self._bars.pop(key, None)
        if bar is not None:
            title = self._rich.tasks[self._rich.task_ids.index(bar)].description
            self._rich.remove_task(bar)
            said = printable(f"{title}: {outcome}{f', {message}' if message else ''}")
            self._rich.console.print(said, highlight=False, markup=False)
        self._run.end(key, outcome)
        self._rich.update(self._all, completed=self._run.ended, note=self._run.words())

    def close(self) -> None:
        self._rich.stop()


def display(run: Remaining, quiet: bool = False, out: TextIO | None = None) -> Display:
    """Bars on a terminal and in a notebook, lines elsewhere, nothing if quiet. Progress goes to stderr: stdout is for results."""
    out = sys.stderr if out is None else out
    if quiet:
        return Display()
    return Bars(run, out) if out.isatty() or _in_notebook() else Lines(run, out)


def _in_notebook() -> bool:
    """Whether this process is a notebook's kernel, and the widget is here that bars are drawn on.

    That ipykernel is imported says nothing (MLflow imports it in any process): a notebook's shell has a kernel.
    """
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None and importlib.util.find_spec("ipywidgets") is not None
