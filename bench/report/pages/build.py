"""From records to the page: which sections a report has, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.records.store import Problem
from bench.report.document.page import Banner, Block, Code, Fold, Page, Section, Text, fold, present
from bench.report.document.table import Table
from bench.report.evidence import Evidence
from bench.report.figures.analyses import analysis_figures
from bench.report.figures.curves import learning_curves
from bench.report.figures.ranking import ranking_figures
from bench.report.floors import machinery
from bench.report.frame import Catalogue, Panel, by_evidence, panels, shown_in, to_frame
from bench.report.tables import analyses, entries, over_tasks, provenance, published, searches
from bench.report.tables import scores as tables
from bench.report.tables.price import prices
from bench.words import counted

GENERATED = (
    "Generated data: every number here that is marked so was measured on data that this project made itself, not on "
    "the official data sets. It shows that the harness works and how methods compare on these stand-ins; it is no "
    "result on NAS-Bench-360 or PDEBench."
)
GENERATED_SOURCE = "Generated source data: where a score has the sign °, this project's stand-in served for source data that were not here"


def build(evidence: Evidence, catalogue: Catalogue | None = None, suites: Sequence[str] | None = None) -> Page:
    """The page of all records, or of those in `suites`."""
    catalogue = catalogue or Catalogue()
    frame = to_frame(evidence.records)
    parts = [part for panel in panels(frame, catalogue, suites) for part in by_evidence(panel, catalogue)]
    shown = shown_in(frame, parts)
    made = [_panel(panel, catalogue, evidence) for panel in parts]
    # Only now is it known which sidecars could not be read.
    searched = [record for record in evidence.trials if suites is None or record["task"] in _tasks(catalogue, suites)]
    search_tables = searches.search_tables(searched, evidence.records)
    sections = [_summary(shown, parts, evidence, search_tables), *made, *failures(shown)]
    if search_tables:
        sections.append(Section("Searches", tuple(search_tables)))
    if evidence.problems:
        sections.append(problems_section(evidence.problems))
    if published_tables := [found for panel in parts if (found := published.published_table(panel, catalogue))]:
        sections.append(Section("Published numbers", tuple(published_tables)))
    if len(shown):
        sections.append(_provenance(shown, evidence.folder, suites))
    return page("Benchmark report", sections, shown)


def page(title: str, sections: Sequence[Section], shown: pd.DataFrame) -> Page:
    """The page of the records in `shown`, which says before anything else whether some data or source data are generated."""
    sources = {r["source"]["name"] for r in shown["record"] if r["source"].get("origin") == "generated"}
    found = {
        GENERATED: (shown["origin"] == "generated").any(),
        f"{GENERATED_SOURCE} ({', '.join(sorted(sources))}).": bool(sources),
    }
    banners = tuple(Banner(text) for text, holds in found.items() if holds)
    return Page(title, banners, tuple(sections), len(shown))


def failures(shown: pd.DataFrame) -> list[Section]:
    """The section of the cells that have no score, if there are any."""
    found = tables.failure_table(shown)
    return [] if found is None else [Section("Failures", (found,))]


def heading(panel: Panel) -> str:
    """`Suite quick: quick profile, strict protocol, generated data`."""
    on = f", backbone {panel.backbone}" if panel.backbone else ""
    apart = f", set apart {panel.apart}" if panel.apart else ""
    kind = "" if panel.evidence else ", tests of the machinery"
    return (
        f"Suite {panel.suite}: {panel.profile} profile, {panel.protocol} protocol, {panel.origin} data{on}{apart}{kind}"
    )


def _tasks(catalogue: Catalogue, suites: Sequence[str]) -> set[str]:
    return {task for suite in suites for task in catalogue.suites[suite]}


def _summary(shown: pd.DataFrame, parts: Sequence[Panel], evidence: Evidence, searched: Sequence[Table]) -> Section:
    if shown.empty:
        text = f"There are no records in `{evidence.folder}` that this report would show. `python -m bench run` makes some."
        return Section("At a glance", (Text(text), *_unreadable(evidence.problems)))
    counts = shown["status"].value_counts()
    said = ", ".join(f"{n} {entries.WORDS.get(str(status), str(status))}" for status, n in counts.items())
    sizes = [counted(shown[column].nunique(), column) for column in ("task", "method", "seed")]
    first = f"{counted(len(shown), 'record')}: {said}. {', '.join(sizes)}."
    lines = [Text(first), *_unreadable(evidence.problems)]
    for panel in parts:
        said = over_tasks.standing(panel) if panel.evidence else machinery(panel)
        standing = f"**{heading(panel)}.** {said}"
        lines.append(Text(f"{standing} {prices(panel).sentence}".rstrip()))
    if searched:
        lines.append(Text(searches.sentence(searched)))
    return Section("At a glance", tuple(lines))


def _unreadable(problems: Sequence[Problem]) -> list[Block]:
    if not problems:
        return []
    return [Text(f"**{counted(len(problems), 'file')} could not be read (in no table)**: see Unreadable records.")]


def _panel(panel: Panel, catalogue: Catalogue, evidence: Evidence) -> Section:
    pairs = over_tasks.pair_table(panel) if panel.evidence else None
    makers = (analyses.probe_table, analyses.discrepancy_table, analyses.pairing_table, analyses.similarity_table)
    analysed = [table for make in makers if (table := make(panel)) is not None]
    blocks = present(
        None if panel.evidence else Text(machinery(panel)),
        tables.score_table(panel, catalogue),
        learning_curves(panel, evidence.curves),
        *(ranking_figures(panel) if panel.evidence else ()),
        pairs and Fold("Paired comparison over tasks", (pairs, Text(over_tasks.friedman_in_words(panel)))),
        fold("95 % intervals over seeds", tables.interval_table(panel)),
        fold("Selection bias: last, best on validation, best on test", tables.selection_table(panel)),
        *analysis_figures(panel, evidence.arrays),
        *(fold(table.title.partition(", suite")[0], table) for table in analysed),
        fold("Costs", tables.cost_table(panel)),
        Fold("Commands that made these records", (commands(panel.cells),)),
    )
    return Section(heading(panel), blocks)


def commands(cells: pd.DataFrame, most: int = 20) -> Code:
    """The commands that made the records of these cells, at most so many."""
    found = provenance.commands(cells)
    more = [f"# and {len(found) - most} more, in the records"] if len(found) > most else []
    return Code("\n".join([*found[:most], *more]))


def period(cells: pd.DataFrame) -> Text:
    """From when to when the records of these cells were made."""
    start, end = min(r["start"] for r in cells["record"]), max(r["end"] for r in cells["record"])
    return Text(f"Records from {start} to {end}.")


def problems_section(problems: Sequence[Problem]) -> Section:
    """Files that should be records and cannot be read, with the reason."""
    said = (f"`{problem.path.name}`: {problem.reason}" for problem in problems[:50])
    lines = "\n".join(f"- {' '.join(text.split())}" for text in said)
    more = f"\n- and {len(problems) - 50} more" if len(problems) > 50 else ""
    return Section("Unreadable records", (Text(lines + more),))


def _provenance(shown: pd.DataFrame, folder: Path | str, suites: Sequence[str] | None) -> Section:
    chosen = f" --suite {' '.join(suites)}" if suites else ""
    blocks: list[Block] = [
        Text("Each table's commands stand in its section. This report was made from its records by:"),
        Code(f"python -m bench report --results-dir {folder}{chosen}"),
    ]
    for block in (origin.table(shown) for origin in provenance.ORIGINS):
        blocks.append(Fold(block.title, (block,)) if len(block.rows) > 12 else block)
    return Section("Provenance", (*blocks, period(shown)))
