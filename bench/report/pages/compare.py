"""Two stores side by side: cell by cell where both have the same task, method, protocol, origin and profile."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from scipy import stats

from bench.records.comparable import differences
from bench.records.record import Record
from bench.records.store import Problem
from bench.report.document.page import Code, Page, Section, Text
from bench.report.document.table import Column, Entry, Table, decimals, number
from bench.report.frame import Catalogue, Panel, panels, shown_in, to_frame
from bench.report.pages.build import heading, page, problems_section
from bench.report.statistics import holm
from bench.report.tables import provenance
from bench.report.tables.entries import score_entry


def compare(
    a: Sequence[Record],
    b: Sequence[Record],
    names: Sequence[str],
    problems: Sequence[Problem] = (),
    catalogue: Catalogue | None = None,
    suites: Sequence[str] | None = None,
) -> Page:
    """The page that compares the records of store A with those of store B; `names` are their folders."""
    catalogue = catalogue or Catalogue()
    frames = [to_frame(records) for records in (a, b)]
    parts = [panels(frame, catalogue, suites) for frame in frames]
    frames = [shown_in(frame, there) for frame, there in zip(frames, parts, strict=True)]
    sides = [{p.name: p for p in there} for there in parts]
    sections = [Section("At a glance", tuple(_glance(names, frames, sides)))]
    for name in dict.fromkeys([*sides[0], *sides[1]]):
        if name in sides[0] and name in sides[1]:
            pair = (sides[0][name], sides[1][name])
            table = _table(pair)
            sections.append(Section(heading(pair[0]), (Text(_sentence(pair, table)), table)))
    if problems:
        sections.append(problems_section(problems))
    command = f"python -m bench report --compare {names[0]} {names[1]}"
    origins = [
        replace(table, name=f"{table.name}_{side}", title=f"{table.title}, {side}")
        for side, frame in zip("AB", frames, strict=True)
        if len(frame)
        for table in (provenance.CODE.table(frame), provenance.DATA.table(frame))
    ]
    sections.append(Section("Provenance", (Code(command), *origins)))
    return page("Comparison of two stores", sections, pd.concat(frames))


def _glance(names: Sequence[str], frames: Sequence[pd.DataFrame], sides: Sequence[Mapping[str, Panel]]) -> list[Text]:
    out = [Text(f"**{s}** is `{n}`, {len(f)} records.") for s, n, f in zip("AB", names, frames, strict=True)]
    for here, there, letter in ((sides[0], sides[1], "A"), (sides[1], sides[0], "B")):
        alone = [heading(p) for name, p in here.items() if name not in there]
        if alone:
            out.append(Text(f"Only in {letter}, so not compared: {'; '.join(alone)}."))
    if not sides[0].keys() & sides[1].keys():
        out.append(Text("The two stores have nothing in common that could be compared."))
    return out


def _pairs(pair: tuple[Panel, Panel]) -> list[tuple[str, str]]:
    """(task, row) of either side, in the order of the first."""
    return list(dict.fromkeys((t, r) for p in pair for t in p.tasks for r in p.rows if len(p.of(r, t))))


def _sentence(pair: tuple[Panel, Panel], table: Table) -> str:
    found = collections.Counter(table.entry(row, "B is").text for row, _ in table.rows)
    better, worse, equal = (found[word] for word in ("better", "worse", "equal"))
    if not better + worse + equal:
        return "No cell has a score in both stores."
    text = f"Of {better + worse + equal} cells with a score in both, B is better on {better}, worse on {worse}, "
    text += f"equal on {equal}."
    different = {k for p, q in (pair, pair[::-1]) for k, v in p.shared.items() if q.shared.get(k) != v}
    if different:
        said = [", ".join(f"{k} = {p.shared.get(k, 'as the recipe')}" for k in sorted(different)) for p in pair]
        sides = f"A: {said[0]}; B: {said[1]}"
        text += f" **The stores differ in settings that all their cells have** ({sides})."
    return text


def _table(pair: tuple[Panel, Panel]) -> Table:
    rows, tests = [], []
    for task, row in _pairs(pair):
        cells = [p.of(row, task) for p in pair]
        known = next(c for c in cells if len(c)).iloc[0]
        metric, higher = known["metric"], bool(known["higher_is_better"])
        same = all(len(c) == 0 or c["metric"].iloc[0] == metric for c in cells)
        plain = [score_entry(c, "score", None) for c in cells]
        places = decimals([c.value for c in plain])
        a, b = (score_entry(c, "score", places) for c in cells)
        difference, verdict, p = Entry(), Entry(), None
        if same and a.value is not None and b.value is not None:
            ids = (*a.records, *b.records)
            delta = b.value - a.value
            difference = Entry(f"{'+' if delta > 0 else ''}{number(delta, places)}", delta, records=ids)
            said = "equal" if delta == 0 else "better" if (delta > 0) == higher else "worse"
            verdict = Entry(said, records=ids)
            p = _welch(*(c["score"].dropna().to_numpy() for c in cells))
        tests.append(p)
        also = Entry("; ".join(differences(*(c["record"] for c in cells))) or "—", records=(*a.records, *b.records))
        rows.append((f"{task}: {row}", [Entry(f"{metric} {'↑' if higher else '↓'}"), a, b, difference, verdict, also]))
    adjusted = iter(holm([p for p in tests if p is not None]))
    for (_, line), p in zip(rows, tests, strict=True):
        holms = None if p is None else next(adjusted)
        ids = (*line[1].records, *line[2].records)
        line += [Entry("—" if v is None else f"{v:.3g}", v, records=ids) for v in (p, holms)]
    columns = (
        *(Column("metric", text=True), Column("A"), Column("B"), Column("B − A")),
        *(Column("B is", text=True), Column("differ also in", text=True), Column("p"), Column("p (Holm)")),
    )
    notes = (
        "Mean ± standard deviation over seeds (number of seeds). p: Welch's t test over seeds, where both sides have "
        "at least two that differ; Holm's adjustment over the lines of this table. With few seeds no p means much. "
        "Differ also in: data, code, weights, precision or source data (A / B), besides what the comparison is about.",
    )
    title, body = f"A and B, suite {pair[0].suite}", tuple((label, tuple(entries)) for label, entries in rows)
    return Table(f"compare_{pair[0].name}", title, "task: method", columns, body, notes)


def _welch(a: np.ndarray, b: np.ndarray) -> float | None:
    """Two-sided p of Welch's t test; None with fewer than two values on a side or none that differ."""
    if min(len(a), len(b)) < 2 or np.ptp(a) == np.ptp(b) == 0:
        return None
    return float(stats.ttest_ind(a, b, equal_var=False).pvalue)
