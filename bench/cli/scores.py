"""The scores of a run's cells for who started it: one table for each panel of the report, with the report's numbers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.cli.printing import table as plain
from bench.records.record import Record
from bench.words import say

if TYPE_CHECKING:
    from bench.report.document.table import Entry, Table

BEST = "*"
"""Marks the best of a task where letters cannot be bold."""


def of(records: Sequence[Record]) -> list[Table]:
    """The scores of records as `bench report` would put them into its first tables: methods × tasks, and nothing else.

    Failures stand in them as words.
    """
    from bench.report.asked import find_catalogue
    from bench.report.frame import panels, to_frame
    from bench.report.tables.scores import score_table

    catalogue, out = find_catalogue(), []
    for panel in panels(to_frame(records), catalogue):
        found = score_table(panel, catalogue)
        place = slice(1, 1 + len(panel.tasks))  # after the price, before rank and win rate
        of_tasks = tuple((label, entries[place]) for label, entries in found.rows)
        out.append(replace(found, columns=found.columns[place], rows=of_tasks))
    return out


def rows(table: Table) -> list[dict[str, Any]]:
    """One object for each place that has a score, for scripts."""
    return [
        {"scores": table.title, "task": column.head, "method": method,
         "mean": entries[i].value, "std": entries[i].spread, "n": entries[i].n}
        for i, column in enumerate(table.columns)
        for method, entries in table.rows
        if entries[i].value is not None or entries[i].failures
    ]  # fmt: skip


def show(tables: Sequence[Table]) -> None:
    """Print the tables: by rich on a terminal, else as plain text."""
    terminal = sys.stdout.isatty()
    for table in tables:
        say(f"\n{table.title}")
        lines = _lines(table, bold=terminal)
        if terminal:
            _by_rich(lines)
        else:
            say(plain(lines))
        print("; ".join(["bold: best of its task" if terminal else f"{BEST} best of its task", *table.legend()]))


def _lines(table: Table, bold: bool) -> list[dict[str, str]]:
    """A line for each task, or for each method where there are more methods than tasks."""

    def text(entry: Entry) -> str:
        said = entry.text.removesuffix(" (n=1)") + entry.symbols
        return (f"[bold]{said}[/bold]" if bold else said + BEST) if entry.best else said

    tasks = [column.head for column in table.columns]
    if len(table.rows) - 1 > len(tasks):
        return [{"method": method, **dict(zip(tasks, map(text, row)))} for method, row in table.rows]
    return [{"task": task, **{method: text(row[i]) for method, row in table.rows}} for i, task in enumerate(tasks)]


def _by_rich(lines: Sequence[dict[str, str]]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(box=SIMPLE)
    for i, name in enumerate(lines[0]):
        shown.add_column(escape(name), justify="right" if i else "left")
    for line in lines:
        first, *others = line.values()
        shown.add_row(escape(first), *others)
    Console().print(shown)
