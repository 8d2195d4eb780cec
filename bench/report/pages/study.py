"""The page of a study: its question, the verdict on every rule, and the tables and figures that the verdict rests on.

What is said holds for the records at hand. Official and generated data are never judged together, nor are two backbones
on one task, nor records of other data, code, weights or precision (`bench.records.comparable`): each such part of the records has
a verdict of its own.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from bench import studies
from bench.records.comparable import METHOD_CODE
from bench.records.record import Record
from bench.report.document.page import Block, Code, Fold, Page, Section, Text, fold, present
from bench.report.evidence import Evidence
from bench.report.figures.analyses import analysis_figures
from bench.report.figures.curves import learning_curves
from bench.report.figures.price import price_figure
from bench.report.figures.studies import correlation_figure, trend_figure, verdict_figure
from bench.report.floors import beside, data_of, machinery, own_data, sentences
from bench.report.frame import (
    EVIDENCE,
    FLOOR,
    Catalogue,
    Panel,
    by_backbone,
    by_evidence,
    comparable_sets,
    ordered,
    to_frame,
)
from bench.report.observations import at_edge, observe, tuned
from bench.report.pages.build import commands, failures, page, period
from bench.report.tables import analyses, provenance
from bench.report.tables import scores as tables
from bench.report.tables.price import prices
from bench.report.tables.verdicts import tuning_table, verdict_table
from bench.report.verdict import UNDECIDED, Verdict, decide
from bench.studies.study import Study
from bench.words import counted


@dataclass(frozen=True)
class Part:
    """Records that may be judged together: one origin, and one backbone on each task."""

    panel: Panel
    """The part as a panel of the general report: its rows are the study's arms."""
    table: pd.DataFrame
    """As `observations.observe` makes it; tuned arms reduced to their chosen variants."""
    searched: pd.DataFrame
    """The same with every variant of tuned arms."""


def build(name: str, size: str, evidence: Evidence, catalogue: Catalogue | None = None) -> Page:
    """The page of a study at a size from whatever records there are; those of other cells are left out."""
    study, catalogue = studies.find(name), catalogue or Catalogue()
    table = observe(study, size, evidence.records, evidence.curves)
    sections = [_question(study, size, table)]
    shown = {record["id"]: record for record in table["record"]}
    for part in parts(study, size, table, evidence.records):
        kinds = by_evidence(part.panel, catalogue)
        sections.append(_verdicts(study, part, evidence.folder, kinds))
        sections += [_shown(panel, catalogue, evidence) for panel in kinds]
        shown |= {record["id"]: record for record in part.panel.cells["record"]}
    frame = to_frame(list(shown.values()))
    sections += [*failures(frame), _provenance(frame, name, size, evidence.folder)]
    return page(f"Study {study.name}, size {size}", sections, frame)


def verdicts(name: str, size: str, evidence: Evidence) -> dict[str, list[Verdict]]:
    """The verdict on every rule, for each part of the records ("generated", "official", or with a backbone's name)."""
    study = studies.find(name)
    found = parts(study, size, observe(study, size, evidence.records, evidence.curves))
    return {_part_name(part.panel): judge(study, part) for part in found}


def judge(study: Study, part: Part) -> list[Verdict]:
    """The verdict on every rule of a study in one part of its records."""
    edges = at_edge(part.table, study)
    return [decide(rule, part.table, len(study.rules), edges) for rule in study.rules]


def parts(study: Study, size: str, table: pd.DataFrame, store: Sequence[Record] = ()) -> Iterator[Part]:
    """The parts of a study's observations, official data first; where no arm is ridge, with that of the store beside them."""
    for origin in ("official", "generated"):
        chosen = table[table["origin"] == origin]
        if chosen.empty:
            continue
        for backbone, group in by_backbone(chosen):
            sets = (
                (searched, (*other_code, *differs))
                for _, same_code, other_code in comparable_sets(group, "arm", (METHOD_CODE,))
                for _, searched, differs in comparable_sets(same_code)
            )
            for apart, (searched, differs) in enumerate(sets):
                kept = tuned(searched, study)
                panel = _panel(study, size, kept, backbone, store)
                yield Part(replace(panel, apart=apart, differs=differs), kept, searched)


def _panel(study: Study, size: str, table: pd.DataFrame, backbone: str | None, store: Sequence[Record]) -> Panel:
    cells = list(table["record"])
    has_ridge = any(record["method"] == FLOOR for record in cells)
    ridge = [] if has_ridge else beside(store, cells)
    amounts = {data_of(record) for record in cells}
    names = [", ".join(part for part in (FLOOR, own_data(data_of(record), amounts)) if part) for record in ridge]
    frame = to_frame([*cells, *ridge]).assign(row=[*table["arm"], *names])
    frame = frame.sort_values(["task", "row", "seed", "id"]).reset_index(drop=True)
    chosen, floors = study.size(size), tuple(dict.fromkeys(names))
    rows = tuple(arm.name for arm in study.arms if arm.name in set(frame["row"]))
    tasks = tuple(ordered(frame["task"].unique(), chosen.tasks))
    where = (chosen.profile, chosen.protocol, str(frame["origin"].iloc[0]), backbone)
    return Panel(f"{study.name}-{size}", *where, frame, tasks, (*floors, *rows), dict(chosen.set), floors=floors)


def _question(study: Study, size: str, table: pd.DataFrame) -> Section:
    expected: set[Any] = set().union(*studies.arms_of(study, size).values())
    here = {studies.key_of(record) for record in table["record"]}
    claims = f"Claims {', '.join(map(str, study.claims))} of docs/studies.md. " if study.claims else ""
    lines = [
        f"**{study.question}**",
        f"{claims}Source: {study.source}. Answered by: {study.answer}.",
        f"{len(here)} of {len(expected)} cells of this size have a record here.",
    ]
    if len(here) < len(expected):
        lines.append(f"The others: `python -m bench run --study {study.reference} --size {size}`.")
    return Section("Question", tuple(Text(line) for line in lines))


def _verdicts(study: Study, part: Part, folder: Path | str, kinds: Sequence[Panel]) -> Section:
    found, panel = judge(study, part), part.panel
    price = prices(panel).sentence
    blocks = present(
        _sentence(found),
        *(Text(_machinery_too(kind)) for kind in kinds if not kind.evidence),
        *map(Text, sentences(panel, folder)),
        Text(price) if price else None,
        verdict_table(panel, found),
        tuning_table(study, panel, part.searched, at_edge(part.table, study)),
        verdict_figure(panel.name, found),
        trend_figure(study, panel),
        *(
            correlation_figure(panel, verdict, part.table, number)
            for number, verdict in enumerate(found, 1)
            if verdict.rule.kind == "correlated"
        ),
    )
    return Section(f"Verdict, {_part_name(panel)} data", blocks)


def _sentence(found: Sequence[Verdict]) -> Text:
    counts = collections.Counter(v.outcome for v in found)
    said = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
    lines = [f"{counted(len(found), 'statement')}: {said}. They hold for the tasks below only."]
    if judged := [v for v in found if v.outcome != UNDECIDED and v.without]:
        held = sum(not v.changed for v in judged)
        lines.append(
            f"Of the {len(judged)} that are decided on several tasks, {held} would stand without any one of them."
        )
    return Text(" ".join(lines))


def _machinery_too(panel: Panel) -> str:
    """Which tasks of a study are tests of the machinery: what a study names is judged, whatever came out."""
    return (
        f"The verdicts are over all tasks that the study names, {', '.join(panel.tasks)} included, whose stand-ins are not "
        f"declared worth transferring to (suite `{EVIDENCE}`): their scores stand apart below."
    )


def _shown(panel: Panel, catalogue: Catalogue, evidence: Evidence) -> Section:
    blocks = present(
        None if panel.evidence else Text(machinery(panel)),
        tables.score_table(panel, catalogue),
        price_figure(panel),
        *analysis_figures(panel, evidence.arrays),
        learning_curves(panel, evidence.curves),
        fold("95 % intervals over seeds", tables.interval_table(panel)),
        fold("Selection: last epoch, best on validation, best on test", tables.selection_table(panel)),
        fold("Discrepancy", analyses.discrepancy_table(panel)),
        fold("Pairing of target with source classes", analyses.pairing_table(panel)),
        fold("Costs", tables.cost_table(panel)),
    )
    backbone = f", backbone {panel.backbone}" if panel.backbone else ""
    return Section(
        f"{'Evidence' if panel.evidence else 'Tests of the machinery'}, {panel.origin} data{backbone}", blocks
    )


def _provenance(frame: pd.DataFrame, name: str, size: str, folder: Path | str) -> Section:
    made_by = [
        f"python -m bench run --study {name} --size {size} --results-dir {folder}",
        f"python -m bench report --study {name} --size {size} --results-dir {folder}",
    ]
    blocks: list[Block] = [Text("These commands make the records and this page:"), Code("\n".join(made_by))]
    if len(frame):
        origins = [origin.table(frame) for origin in provenance.ORIGINS]
        blocks.append(Fold("Commands that really made the records", (commands(frame),)))
        blocks += [*(Fold(table.title, (table,)) for table in origins), period(frame)]
    return Section("Provenance", tuple(blocks))


def _part_name(panel: Panel) -> str:
    said = f"{panel.origin} ({panel.backbone})" if panel.backbone else panel.origin
    return f"{said}, set apart {panel.apart}" if panel.apart else said
