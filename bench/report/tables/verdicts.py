"""The tables of a study alone: its verdicts, and what its tuned arms chose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from bench.report.document.table import Column, Entry, Table
from bench.report.frame import Panel
from bench.report.verdict import UNDECIDED, Estimate, Verdict
from bench.studies.study import Study
from bench.words import counted


def verdict_table(panel: Panel, found: Sequence[Verdict]) -> Table:
    """One row per rule: outcome, effect, interval, n, and the reason."""
    rows = []
    for number, verdict in enumerate(found, 1):
        estimate, ids = verdict.estimate, verdict.records
        claim = f" (claim {verdict.rule.claim})" if verdict.rule.claim else ""
        cells = (
            Entry(verdict.outcome, best=verdict.outcome != UNDECIDED, records=ids),
            Entry(_holds(verdict), records=ids),
            _effect(verdict, estimate),
            _over_tasks(verdict),
            Entry("0", 0.0) if estimate is None else Entry(_over(estimate), float(estimate.n), records=ids),
            Entry(_margin(verdict), verdict.rule.margin),
            Entry(verdict.reason, records=ids),
        )
        rows.append((f"{number}. {verdict.rule.says}{claim}", cells))
    columns = (
        *(Column("verdict", text=True), Column("holds without any one task", text=True)),
        *(Column("effect", "interval"), Column("over tasks", "interval"), Column("over"), Column("matters from")),
        Column("because", text=True),
    )
    level = f"{100 * found[0].level:.3g}" if found else "95"
    notes = (
        "Effect: positive is as the statement says; for scores the difference in % of the mean of both, for probe "
        "errors and D in points, for a correlation Spearman's ρ. Each task weighs the same.",
        f"Interval: {level} % (5 % shared by all statements of the study), over seeds within these tasks. Negligible: "
        "it lies within ± the smallest effect that would matter. Else supported: it lies above 0; contradicted: below. "
        "A statement of equality is supported where the interval lies within ± that effect, contradicted where beyond.",
        "Over tasks: on how many of them the mean is as the statement says, and from three tasks on the same interval of "
        "the mean over tasks: whether it would hold on further tasks like these, were they drawn at random, which they are not.",
        "Over: paired runs (same task, backbone and seed), or points of a correlation. Holds without any one task: the "
        "whole rule again with each task left out, the fewest runs that it asks for included.",
    )
    return Table(f"verdicts_{panel.name}", "Verdicts", "statement", columns, tuple(rows), notes)


def _margin(verdict: Verdict) -> str:
    one_point = verdict.rule.margin == 1.0 and verdict.unit == "points"
    return "1 point" if one_point else f"{verdict.rule.margin:g} {verdict.unit}"


def _effect(verdict: Verdict, estimate: Estimate | None) -> Entry:
    if estimate is None:
        return Entry()
    low, high = estimate.low, estimate.high
    text = f"{estimate.effect:+z.2f} {verdict.unit}"
    text += "" if low is None or high is None else f" ({low:+z.2f} to {high:+z.2f})"
    return Entry(text, estimate.effect, low=low, high=high, level=verdict.level, n=estimate.n, records=verdict.records)


def _over(estimate: Estimate) -> str:
    if estimate.over == "points":
        return counted(estimate.n, "point")
    return f"{counted(estimate.n, 'run')} on {counted(estimate.tasks, 'task')}"


def _over_tasks(verdict: Verdict) -> Entry:
    found = verdict.over_tasks
    if found is None:
        return Entry()
    text = f"as claimed on {len(found.claimed)} of {found.tasks}"
    if found.low is not None and found.high is not None:
        text += f" ({found.low:+z.2f} to {found.high:+z.2f} {verdict.unit})"
    share = len(found.claimed) / found.tasks if found.tasks else None
    return Entry(
        text, share, low=found.low, high=found.high, level=verdict.level, n=found.tasks, records=verdict.records
    )


def _holds(verdict: Verdict) -> str:
    if not verdict.without:
        return "one task" if verdict.estimate is not None else "—"
    said = (f"{outcome} without {' or '.join(tasks)}" for outcome, tasks in verdict.changed.items())
    return f"no: {'; '.join(said)}" if verdict.changed else "yes"


def tuning_table(
    study: Study, panel: Panel, searched: pd.DataFrame, edges: Mapping[str, Sequence[str]]
) -> Table | None:
    """What each tuned arm chose on validation, by task, of the runs in `searched`; None if no arm is tuned.

    A choice on a task that `edges` names for its arm is marked.
    """
    names = {arm.name: [key for key, _ in arm.grid] for arm in study.arms if arm.grid}
    rows = []
    for arm in (row for row in panel.rows if row in names):
        cells = []
        for task in panel.tasks:
            runs = panel.of(arm, task)
            tried = searched[(searched["arm"] == arm) & (searched["task"] == task)]
            if runs.empty:
                cells.append(Entry())
                continue
            settings = runs.iloc[0]["record"]["settings"]
            chosen = ", ".join(f"{key} = {settings.get(key)}" for key in names[arm])
            marks = ("edge",) if task in edges.get(arm, ()) else ()
            of = tried["variant"].nunique()
            cells.append(Entry(f"{chosen} (of {of})", marks=marks, records=tuple(runs["id"])))
        rows.append((arm, tuple(cells)))
    if not rows:
        return None
    columns = tuple(Column(task, text=True) for task in panel.tasks)
    note = "Best mean score on validation over seeds; the test set plays no part in the choice."
    return Table(f"tuning_{panel.name}", "Chosen on validation", "arm", columns, tuple(rows), (note,))
