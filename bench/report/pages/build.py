"""From records to the page: which sections a report has, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bench.records.store import Problem
from bench.report.document.page import Banner, Block, Code, Fold, Page, Section, Text
from bench.report.evidence import Evidence
from bench.report.figures.analyses import analysis_figures
from bench.report.figures.curves import learning_curves
from bench.report.figures.ranking import ranking_figures
from bench.report.frame import Catalogue, Panel, panels, shown_in, to_frame
from bench.report.tables import analyses, entries, over_tasks, provenance, published
from bench.report.tables import scores as tables
from bench.report.tables.price import prices
from bench.words import counted

GENERATED = (
    "Generated data: every number here that is marked so was measured on data that this project made itself, not on "
    "the official data sets. It shows that the harness works and how methods compare on these stand-ins; it is no "
    "result on NAS-Bench-360 or PDEBench."
)


def build(evidence: Evidence, catalogue: Catalogue | None = None, suites: Sequence[str] | None = None) -> Page:
    """The page of all records, or of those in `suites`."""
    catalogue = catalogue or Catalogue()
    frame = to_frame(evidence.records)
    parts = panels(frame, catalogue, suites)
    shown = shown_in(frame, parts)
    made = [_panel(panel, catalogue, evidence) for panel in parts]
    # Only now is it known which sidecars could not be read.
    sections = [_summary(shown, parts, evidence), *made]
    if (failed := tables.failure_table(shown)) is not None:
        sections.append(Section("Failures", (failed,)))
    if evidence.problems:
        sections.append(problems_section(evidence.problems))
    sections += _published(parts, catalogue)
    if len(shown):
        sections.append(_provenance(shown, evidence.folder, suites))
    banners = (Banner(GENERATED),) if (shown["origin"] == "generated").any() else ()
    return Page("Benchmark report", banners, tuple(sections), len(shown))


def heading(panel: Panel) -> str:
    """`Suite quick: quick profile, strict protocol, generated data`."""
    on = f", backbone {panel.backbone}" if panel.backbone else ""
    apart = f", set apart {panel.apart}" if panel.apart else ""
    return f"Suite {panel.suite}: {panel.profile} profile, {panel.protocol} protocol, {panel.origin} data{on}{apart}"


def _summary(shown: pd.DataFrame, parts: Sequence[Panel], evidence: Evidence) -> Section:
    if shown.empty:
        text = f"There are no records in `{evidence.folder}` that this report would show. `python -m bench run` makes some."
        return Section("At a glance", (Text(text), *_unreadable(evidence.problems)))
    counts = shown["status"].value_counts()
    said = ", ".join(f"{n} {entries.WORDS.get(str(status), str(status))}" for status, n in counts.items())
    sizes = [counted(shown[column].nunique(), column) for column in ("task", "method", "seed")]
    first = f"{counted(len(shown), 'record')}: {said}. {', '.join(sizes)}."
    lines = [Text(first), *_unreadable(evidence.problems)]
    for panel in parts:
        standing = f"**{heading(panel)}.** {over_tasks.standing(panel)}"
        lines.append(Text(f"{standing} {prices(panel).sentence}".rstrip()))
    return Section("At a glance", tuple(lines))


def _unreadable(problems: Sequence[Problem]) -> list[Block]:
    if not problems:
        return []
    return [Text(f"**{counted(len(problems), 'file')} could not be read (in no table)**: see Unreadable records.")]


def _panel(panel: Panel, catalogue: Catalogue, evidence: Evidence) -> Section:
    blocks: list[Block] = [tables.score_table(panel, catalogue)]
    drawing = learning_curves(panel, evidence.curves)
    blocks += [drawing] if drawing else []
    blocks += ranking_figures(panel)
    if (found := over_tasks.pair_table(panel)) is not None:
        blocks.append(Fold("Paired comparison over tasks", (found, Text(over_tasks.friedman_in_words(panel)))))
    if (found := tables.interval_table(panel)) is not None:
        blocks.append(Fold("95 % intervals over seeds", (found,)))
    if (found := tables.selection_table(panel)) is not None:
        blocks.append(Fold("Selection bias: last, best on validation, best on test", (found,)))
    blocks += analysis_figures(panel, evidence.arrays)
    made = (analyses.probe_table, analyses.discrepancy_table, analyses.pairing_table, analyses.similarity_table)
    for make in made:
        if (found := make(panel)) is not None:
            blocks.append(Fold(found.title.partition(", suite")[0], (found,)))
    blocks.append(Fold("Costs", (tables.cost_table(panel),)))
    blocks.append(Fold("Commands that made these records", (_commands(panel.cells),)))
    return Section(heading(panel), tuple(blocks))


def _published(parts: Sequence[Panel], catalogue: Catalogue) -> list[Section]:
    """Published numbers beside the panels that they may stand beside; none without such a panel."""
    found = [table for panel in parts if (table := published.published_table(panel, catalogue)) is not None]
    return [Section("Published numbers", tuple(found))] if found else []


def _commands(cells: pd.DataFrame, most: int = 20) -> Code:
    commands = provenance.commands(cells)
    more = [f"# and {len(commands) - most} more, in the records"] if len(commands) > most else []
    return Code("\n".join([*commands[:most], *more]))


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
    for block in provenance.tables(shown):
        blocks.append(Fold(block.title, (block,)) if len(block.rows) > 12 else block)
    start, end = min(r["start"] for r in shown["record"]), max(r["end"] for r in shown["record"])
    blocks.append(Text(f"Records from {start} to {end}."))
    return Section("Provenance", tuple(blocks))
