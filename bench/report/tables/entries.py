"""What tables have in common: the entry of a mean over seeds, and rows of one task and method each."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import pandas as pd

from bench.report.document.table import Entry, number
from bench.report.frame import Panel
from bench.report.statistics import summarise

WORDS = {
    "failed": "failed",
    "diverged": "diverged",
    "out_of_memory": "out of memory",
    "timeout": "timed out",
    "lost": "lost",
}
"""Statuses in words."""


def in_words(failures: Mapping[str, int]) -> str:
    """`2 out of memory, 1 lost`."""
    return ", ".join(f"{count} {WORDS[status]}" for status, count in sorted(failures.items()))


def mean_entry(values: pd.Series, places: int | None, records: Iterable[str]) -> Entry:
    """`0.21 ± 0.01 (3)`: a mean over seeds with its spread, interval and n; values that are missing are left out."""
    values, ids = values.dropna(), tuple(records)
    if values.empty:
        return Entry(records=ids)
    s = summarise(values.to_list())
    spread = "" if s.std is None else f" ± {number(s.std, places)}"
    text = f"{number(s.mean, places)}{spread} ({'n=1' if s.n == 1 else s.n})"
    return Entry(text, s.mean, s.std, s.low, s.high, s.n, records=ids)


def score_entry(cells: pd.DataFrame, column: str, places: int | None) -> Entry:
    """The mean over seeds of `column`, with spread, interval, failures in words, marks and record ids."""
    if cells.empty:
        return Entry()
    failures = Counter(cells.loc[cells["status"] != "done", "status"].astype(str))
    done = cells[(cells["status"] == "done") & cells[column].notna()]
    entry = replace(mean_entry(done[column], places, cells["id"]), failures=failures)
    if done.empty:
        # One record that ended without a score is as much a failure as one that did not end.
        return replace(entry, text=in_words(failures) or "no score")
    first = done.iloc[0]
    better = entry.value > first["trivial"] if first["higher_is_better"] else entry.value < first["trivial"]
    marks = {
        "trivial": pd.notna(first["trivial"]) and not better,
        "partial": bool(failures),
        "random": bool(done["weights"].fillna("").str.startswith("random").any()),
        "source": any(record["source"].get("origin") == "generated" for record in done["record"]),
    }
    text = f"{entry.text}; {in_words(failures)}" if failures else entry.text
    return replace(entry, text=text, marks=tuple(mark for mark, holds in marks.items() if holds))


def by_task_and_row(
    panel: Panel, points: pd.DataFrame, entries: Callable[[pd.DataFrame], Iterable[Entry]]
) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    """Rows `task: method` in the panel's order, each with the `entries` of the points of that task and row, if any."""
    groups = dict(iter(points.groupby(["task", "row"])))
    there = (key for key in itertools.product(panel.tasks, panel.rows) if key in groups)
    return tuple((": ".join(key), tuple(entries(groups[key]))) for key in there)
