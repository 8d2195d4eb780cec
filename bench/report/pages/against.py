"""Where methods land among those of a reference: ranks, and a verdict on every pair, over the runs that both have.

A run of one is paired with a run of the other on the same task, backbone and seed. Which records may be compared at all,
`bench.report.frame.panels` says; what it keeps apart is named with the reason, and is in no average. Verdicts are those of the
studies (`bench.report.verdict`: an interval over paired runs, a smallest effect that matters, else undecided).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bench.records.comparable import differences
from bench.records.record import Record
from bench.report import points
from bench.report.document.page import Section, Text
from bench.report.document.table import Column, Entry, Table
from bench.report.frame import Catalogue, Panel, panels, to_frame
from bench.report.pages.build import heading
from bench.report.statistics import ranks
from bench.report.verdict import CONTRADICTED, NEGLIGIBLE, SUPPORTED, Verdict, decide, paired_runs
from bench.studies.study import Rule
from bench.words import counted

RUN = ["task", "backbone", "seed"]
"""What two runs have in common that are a pair."""


@dataclass(frozen=True)
class Duel:
    """A method against one of the reference, over the runs that are pairs."""

    other: str
    verdict: Verdict
    better: int
    worse: int
    tasks: int
    """Tasks on which the mean over paired runs is better or worse, of so many."""

    def words(self) -> str:
        """`better than mona on 3 of 4 tasks (+12.3 %)`."""
        on = f"{self.better} of {counted(self.tasks, 'task')}"
        if self.verdict.estimate is None:
            return f"undecided against `{self.other}`: {self.verdict.reason}"
        effect = f"{self.verdict.estimate.effect:+.1f} %"
        if self.verdict.outcome == SUPPORTED:
            return f"better than `{self.other}` on {on} ({effect})"
        if self.verdict.outcome == CONTRADICTED:
            return f"worse than `{self.other}` on {self.worse} of {counted(self.tasks, 'task')} ({effect})"
        if self.verdict.outcome == NEGLIGIBLE:
            return f"within {self.verdict.rule.margin:g} % of `{self.other}` ({effect})"
        return f"undecided against `{self.other}` (better on {on}, {effect}: {self.verdict.reason})"


def landing(
    records: Sequence[Record],
    reference: Sequence[Record],
    name: str,
    catalogue: Catalogue | None = None,
    suites: Sequence[str] | None = None,
) -> Section:
    """The section that ranks the methods of `records` among those of the reference, which is called `name`.

    Records of cells that the reference has too, made by the same code from the same data, are no method of the user's.
    """
    there = {record["id"]: record for record in reference}
    mine = [r for r in records if r["id"] not in there or differences([r], [there[r["id"]]])]
    frame = to_frame([*reference, *mine])
    frame["mine"] = [False] * len(reference) + [True] * len(mine)
    lines: list[str] = []
    tables: list[Table] = []
    left_out: list[str] = []
    for panel in panels(frame, catalogue or Catalogue(), suites):
        theirs = set(panel.cells.loc[~panel.cells["mine"], "row"])
        own = [row for row in panel.rows if row not in theirs]
        rows = []
        for row in own:
            duels = _duels(panel, row, theirs)
            left_out += _left_out(panel, row, theirs)
            if duels:
                lines.append(_line(panel, row, duels))
                rows += [(f"{row} vs {duel.other}", _entries(duel)) for duel in duels]
        if rows:
            tables.append(_table(panel, rows))
    if not lines:
        lines = ["No method here can be ranked among those of the reference."]
    known = len(records) - len(mine)
    seen = [f"{counted(known, 'record')} of cells that the reference has, too: not ranked."] if known else []
    aside = [f"Not compared: {'; '.join(left_out)}."] if left_out else []
    return Section(f"Where your methods land against {name}", (*map(Text, [*lines, *aside, *seen]), *tables))


def _shared(panel: Panel, row: str, theirs: Collection[str]) -> pd.DataFrame:
    """The cells of a method and of those of the reference that were run on its tasks, backbones and seeds."""
    runs = pd.MultiIndex.from_frame(panel.of(row)[RUN])
    chosen = panel.cells[panel.cells["row"].isin([row, *theirs])]
    return chosen[~((chosen["row"] != row) & chosen["mine"]) & pd.MultiIndex.from_frame(chosen[RUN]).isin(runs)]


def _duels(panel: Panel, row: str, theirs: Collection[str]) -> list[Duel]:
    cells = _shared(panel, row, theirs)
    table = cells.rename(columns={"row": "arm", "higher_is_better": "higher"})
    others = [other for other in panel.rows if other != row and other in set(cells["row"])]
    found = []
    for other in others:
        rule = Rule(f"{row} beats {other}", arm=row, against=other)
        effects = paired_runs(rule, table).groupby("task")["d"].mean()
        verdict = decide(rule, table, len(others))
        found.append(Duel(other, verdict, int((effects > 0).sum()), int((effects < 0).sum()), len(effects)))
    return found


def _line(panel: Panel, row: str, duels: Sequence[Duel]) -> str:
    """`ridge ranks 1 of 5 ...; better than ...`."""
    names = [row, *(duel.other for duel in duels)]
    cells = _shared(panel, row, names[1:])
    by_all = cells.groupby(RUN)["row"].transform("nunique") == len(names)
    common = cells[by_all]
    place = f"**`{row}` has no rank:** no task and seed was run by all {counted(len(names), 'method')}"
    if len(common):
        m = points.matrix(replace(panel, cells=common, tasks=tuple(t for t in panel.tasks if t in set(common["task"])),
                                  rows=tuple(names)))  # fmt: skip
        average = ranks(m.scores, m.higher).mean(axis=0)
        tied = " (tied)" if (average == average[0]).sum() > 1 else ""
        over = f"{counted(len(m.tasks), 'task')} and {counted(common['seed'].nunique(), 'seed')}"
        place = f"**`{row}` ranks {1 + int((average < average[0]).sum())} of {len(names)}**{tied}"
        place += f" by average rank ({average[0]:.2f} over {over})"
    failed = int((panel.of(row)["status"] != "done").sum())
    also = f" {counted(failed, 'cell')} of it failed, and rank behind all scores." if failed else ""
    return f"{place}: {'; '.join(duel.words() for duel in duels)}.{also} {heading(panel)}."


def _left_out(panel: Panel, row: str, theirs: Collection[str]) -> Iterator[str]:
    """Which of a method's cells nothing of the reference could be compared with, and why."""
    own, shared = panel.of(row), _shared(panel, row, theirs)
    paired = set(map(tuple, shared.loc[shared["row"] != row, RUN].to_numpy()))
    alone = own[[run not in paired for run in map(tuple, own[RUN].to_numpy())]]
    if alone.empty:
        return
    tasks = ", ".join(dict.fromkeys(alone["task"]))
    if panel.differs:
        reason = "; ".join(said for said in panel.differs if said.partition(":")[0] in set(alone["task"]))
    elif not theirs:
        reason = f"the reference has no such cells ({heading(panel)})"
    else:
        reason = "the reference has no run with the same task, backbone and seed"
    yield f"`{row}` on {tasks}, {counted(len(alone), 'run')}: {reason or 'the reference has none that is comparable'}"


def _entries(duel: Duel) -> tuple[Entry, ...]:
    found, ids = duel.verdict.estimate, duel.verdict.records
    counts = (duel.tasks, found.n if found else 0, duel.better, duel.worse)
    numbers = [Entry(str(count), count, records=ids) for count in counts]
    effect, interval = Entry(records=ids), Entry(records=ids)
    if found is not None:
        effect = Entry(f"{found.effect:+.1f}", found.effect, records=ids)
        if found.low is not None and found.high is not None:
            interval = Entry(f"{found.low:+.1f} to {found.high:+.1f}", records=ids)
    said = [Entry(text, records=ids) for text in (duel.verdict.outcome, duel.verdict.reason)]
    return (*numbers, effect, interval, *said)


def _table(panel: Panel, rows: Sequence[tuple[str, tuple[Entry, ...]]]) -> Table:
    columns = (
        *map(Column, ("tasks", "paired runs", "better on", "worse on")),
        *(Column("effect", "%"), Column("interval", "%", text=True)),
        *(Column("that the first is better is", text=True), Column("because", text=True)),
    )
    notes = (
        "Paired by task, backbone and seed. Effect: the mean over tasks of the relative difference of scores, positive where the "
        "first is better; its interval is at 95 %, corrected for the number of methods compared with (Bonferroni). An effect below "
        f"{Rule('').margin:g} % is negligible, and fewer than {Rule('').least} paired runs decide nothing.",
    )
    return Table(
        f"against_{panel.name}", f"Against the reference, suite {panel.suite}", "pair", columns, tuple(rows), notes
    )
