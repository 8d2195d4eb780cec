"""The scores of a run's cells for who started it: one table for each panel of the report, with the report's numbers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.cli.tables import table
from bench.records.record import Record
from bench.words import say

BEST = "*"
"""Marks the best of a task where letters cannot be bold."""


@dataclass(frozen=True)
class Scores:
    """Tasks × methods of cells that may stand side by side."""

    title: str
    tasks: tuple[str, ...]
    """Name, direction and metric of each task."""
    methods: tuple[str, ...]
    """The trivial predictor, then methods with the settings that tell them apart."""
    entries: tuple[tuple[Any, ...], ...]
    """`bench.report.document.table.Entry` by task, then method."""
    legend: tuple[str, ...]

    def rows(self) -> list[dict[str, Any]]:
        """One object for each place that has a score, for scripts."""
        return [
            {
                "scores": self.title,
                "task": task,
                "method": method,
                "mean": entry.value,
                "std": entry.spread,
                "n": entry.n,
            }
            for task, row in zip(self.tasks, self.entries)
            for method, entry in zip(self.methods, row)
            if entry.value is not None or entry.failures
        ]


def of(records: Sequence[Record]) -> list[Scores]:
    """The scores of records that `bench report` would put into its first tables; failures stand in them as words."""
    from bench.cli.report import find_catalogue
    from bench.report.frame import panels, to_frame
    from bench.report.tables import scores as tables

    catalogue, out = find_catalogue(), []
    for panel in panels(to_frame(records), catalogue):
        found = tables.score_table(panel, catalogue)
        place = slice(1, 1 + len(panel.tasks))  # after the price, before rank and win rate
        of_tasks, entries = found.columns[place], zip(*(row[place] for _, row in found.rows))
        heads, methods = tuple(c.head for c in of_tasks), tuple(label for label, _ in found.rows)
        out.append(Scores(found.title, heads, methods, tuple(entries), tuple(found.legend())))
    return out


def show(scores: Sequence[Scores]) -> None:
    """Print the tables: by rich on a terminal, else as plain text."""
    for one in scores:
        rows = _lines(one, bold=sys.stdout.isatty())
        say(f"\n{one.title}")
        if sys.stdout.isatty():
            _by_rich(rows)
        else:
            say(table(rows))
        print(
            "; ".join(
                [f"{BEST} best of its task" if not sys.stdout.isatty() else "bold: best of its task", *one.legend]
            )
        )


def _lines(one: Scores, bold: bool) -> list[dict[str, str]]:
    """A line for each task, or for each method where there are more methods than tasks."""

    def text(entry: Any) -> str:
        said = entry.text.removesuffix(" (n=1)") + entry.symbols
        return (f"[bold]{said}[/bold]" if bold else said + BEST) if entry.best else said

    if len(one.methods) - 1 > len(one.tasks):
        return [
            {"method": method, **{task: text(row[i]) for task, row in zip(one.tasks, one.entries)}}
            for i, method in enumerate(one.methods)
        ]
    return [{"task": task, **dict(zip(one.methods, map(text, row)))} for task, row in zip(one.tasks, one.entries)]


def _by_rich(rows: Sequence[dict[str, str]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=SIMPLE)
    for i, name in enumerate(rows[0]):
        shown.add_column(escape(name), justify="right" if i else "left")
    for row in rows:
        first, *others = row.values()
        shown.add_row(escape(first), *others)
    Console().print(shown)
