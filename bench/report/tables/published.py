"""Published numbers, in a table of their own, beside results of the same protocol on official data and nowhere else.

published.csv has one line per number with its source. A number is `primary` where the table that first printed it was
seen, `secondary` where somebody quotes it; `digitised` where it was read off a drawing's bars (about 1 %). What no source
shows stays empty. Rows of another protocol (PDEBench's rollouts, arms that ORCA quotes) are kept and never shown.
`our_task` and `our_metric` say what a line is called here: a task, and how the names of the metric begin (chunked variants
carry a suffix); empty where it is none of ours.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.records.record import Record
from bench.report.document.table import Column, Entry, Table, decimals
from bench.report.frame import Catalogue, Panel, ordered
from bench.report.tables.entries import score_entry
from bench.report.tables.scores import SELECTIONS

CSV = Path(__file__).with_name("published.csv")
PROTOCOLS = {"nas_bench_360": ("NAS-Bench-360", "orca"), "pdebench": ("PDEBench", "orca-single-frame")}
"""Suite -> its name in published.csv, and the protocol there that the harness calls `paper`."""


def numbers() -> list[dict[str, str]]:
    """Every line of published.csv."""
    with CSV.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def comparable(panel: Panel) -> bool:
    """Whether published numbers may stand beside this panel at all."""
    as_published = (panel.protocol, panel.origin, panel.profile) == ("paper", "official", "published")
    return as_published and panel.suite in PROTOCOLS


def published_table(panel: Panel, catalogue: Catalogue) -> Table | None:
    """Published numbers of the panel's suite and protocol above this store's; None where the panel is not comparable.

    Results here appear only with the task's published backbone and metric, on data whose numbers and shapes are the
    published ones; a changed recipe is marked.
    """
    if not comparable(panel):
        return None
    suite, protocol = PROTOCOLS[panel.suite]
    chosen = [x for x in numbers() if (x["suite"], x["protocol"]) == (suite, protocol)]
    by_task: dict[str, list[Mapping[str, str]]] = {}
    for line in chosen:
        by_task.setdefault(line["our_task"], []).append(line)
    tasks = ordered(by_task, catalogue.suites.get(panel.suite, panel.tasks))
    sources = list(dict.fromkeys(line["source"] for line in chosen))
    rows = [*_published(tasks, by_task, sources), *_here(panel, catalogue, tasks, by_task)]
    columns = tuple(Column(task, by_task[task][0]["metric"], False) for task in tasks)
    notes = (
        "Published numbers with their source, then the results of this store under the same protocol on official data "
        "with the published backbone and metric. A published number that no source shows is left empty.",
        "ORCA's published code chooses the epoch by its test score, so its like here is the row best on test; the last "
        "epoch is what is left without that choice.",
        *_about_the_data(panel),
        *(f"[{k}] {source}." for k, source in enumerate(sources, 1)),
    )
    title = f"Published numbers, suite {panel.suite} (paper protocol, official data)"
    return Table(f"published_{panel.name}", title, "method", columns, tuple(rows), notes)


def _as_published(record: Record) -> bool:
    """Whether the data were compared with the published numbers and fit; a cell that failed has nothing to compare."""
    return record["status"] != "done" or record["data"].get("unlike_published") == []


def _about_the_data(panel: Panel) -> list[str]:
    """Which tasks are left out because of their data, and of which files nobody has verified the checksum."""
    notes = []
    for task in panel.tasks:
        data = [record["data"] for record in panel.of(task=task)["record"] if record["status"] == "done"]
        said = {"; ".join(d["unlike_published"]) if "unlike_published" in d else "not recorded" for d in data} - {""}
        if said:
            notes.append(
                f"Not shown: {task} on data that were not compared with, or are not, the published ones ({' / '.join(sorted(said))})."
            )
        states = {(file, state) for d in data for file, state in d.get("verification", {}).items()}
        notes += [f"Not verified: {file} ({state})." for file, state in sorted(states) if state != "verified"]
    return notes


def _published(
    tasks: Sequence[str], by_task: Mapping[str, Sequence[Mapping[str, str]]], sources: Sequence[str]
) -> list[tuple[str, tuple[Entry, ...]]]:
    """One row for each (method, source), so that what two sources say is never merged."""
    pairs = list(dict.fromkeys((x["method"], x["source"]) for lines in by_task.values() for x in lines))
    rows = []
    for method, source in sorted(pairs, key=lambda pair: (pair[0], sources.index(pair[1]))):
        entries = []
        for task in tasks:
            found = [x for x in by_task.get(task, ()) if (x["method"], x["source"]) == (method, source)]
            entries.append(_entry(found[0]) if found else Entry(""))
        rows.append((f"published: {method} [{sources.index(source) + 1}]", tuple(entries)))
    return rows


def _entry(line: Mapping[str, str]) -> Entry:
    marks = ("secondary",) * (line["status"] == "secondary") + ("digitised",) * (line["kind"] == "digitised")
    n = int(line["n_seeds"]) if line["n_seeds"] else 0
    spread = f" ± {line['std']}" if line["std"] else ""
    text = f"{line['value']}{spread}{f' ({n})' if n else ''}"
    try:
        value = float(line["value"])
    except ValueError:  # a source that gives two values for one cell: shown as printed
        value = None
    return Entry(text, value, float(line["std"]) if line["std"] else None, n=n, marks=marks)


def _here(
    panel: Panel, catalogue: Catalogue, tasks: Sequence[str], by_task: Mapping[str, Sequence[Mapping[str, str]]]
) -> list[tuple[str, tuple[Entry, ...]]]:
    rows = []
    for row, column in itertools.product(panel.rows, ("score_last", "score_best_test")):
        entries = []
        for task in tasks:
            mine = panel.of(row, task)
            mine = mine[mine["backbone"] == catalogue.backbones.get(task, "")]
            mine = mine[mine["record"].map(_as_published).astype(bool)]
            metric = by_task[task][0]["our_metric"]
            if mine.empty or not metric or not str(mine["metric"].iloc[0]).startswith(metric):
                entries.append(Entry("", records=tuple(mine["id"])))
                continue
            places = decimals([score_entry(mine, column, None).value])
            entry = score_entry(mine, column, places)
            marks = ("source",) * ("source" in entry.marks) + ("recipe",) * any(r["overrides"] for r in mine["record"])
            entries.append(replace(entry, marks=marks))
        if any(entry.n or entry.failures for entry in entries):
            rows.append((f"here: {row}, {SELECTIONS[column]}", tuple(entries)))
    return rows
