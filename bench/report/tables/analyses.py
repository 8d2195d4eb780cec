"""The tables of the analyses: linear probe, discrepancy and its pairing, similarity to the pretrained body."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd

from bench.report import points
from bench.report.document.table import Column, Entry, Table, number
from bench.report.frame import Panel
from bench.report.tables.entries import by_task_and_row, mean_entry


def probe_table(panel: Panel) -> Table | None:
    """Probe error by task, method and epoch of fine-tuning, beside that of the untouched pretrained body."""
    data = points.probe(panel)
    if data.empty:
        return None
    epochs = sorted(data["epoch"].unique())

    def entries(here: pd.DataFrame) -> Iterator[Entry]:
        before = here.groupby("record", sort=False)["pretrained_error"].first()
        mean = float(before.mean())
        yield Entry(number(mean, 1), mean, n=len(before), records=tuple(before.index))
        yield from (_probe_entry(here[here["epoch"] == epoch]) for epoch in epochs)

    columns = (Column("pretrained", "%"), *(Column(f"epoch {e}", "%") for e in epochs))
    notes = (
        "Error of a linear classifier on source data that the body never saw; lower means that more source knowledge was "
        "kept. One seed: error [95 % Wilson interval over test samples]. Several: mean ± standard deviation over seeds "
        "(n), and the CSV has the t interval.",
    )
    rows = by_task_and_row(panel, data, entries)
    return Table(f"probe_{panel.name}", f"Linear probe, suite {panel.suite}", "task: method", columns, rows, notes)


def _probe_entry(here: pd.DataFrame) -> Entry:
    entry = mean_entry(here["error"], 1, here["record"])
    if entry.n != 1:
        return entry
    low, high = (float(here[key].iloc[0]) for key in ("low", "high"))
    return replace(entry, text=f"{entry.value:.1f} [{low:.1f}, {high:.1f}]", low=low, high=high)


def discrepancy_table(panel: Panel) -> Table | None:
    """D per task and method, in both variants of the definition, beside what shuffled labels give."""
    data = points.discrepancy(panel)
    if data.empty:
        return None
    exact = {c[-1]: r.get("renormalised_exact") for c, _, r in points.found(panel, "discrepancy")}

    def entries(here: pd.DataFrame) -> Iterator[Entry]:
        yield from (mean_entry(here[key], 3, here["record"]) for key in ("unnormalised", "renormalised", "chance"))
        searched = all(exact[i] for i in here["record"])
        yield Entry("all subsets searched" if searched else "local search", records=tuple(here["record"]))

    columns = (
        Column("D", "unnormalised", False),
        Column("D renormalised", "", False),
        Column("chance", "unnormalised"),
        Column("renormalised by", text=True),
    )
    notes = (
        "Modality semantic knowledge discrepancy (Definition 1 of MoNA's paper) with total variation, 0 to 1, of the "
        "embedder after fine-tuning; mean ± standard deviation over seeds (n).",
        "D is without renormalisation over the chosen source classes, where the optimal assignment is exact; "
        "renormalised is with it. Chance is D with the target labels shuffled.",
    )
    name, rows = f"discrepancy_{panel.name}", by_task_and_row(panel, data, entries)
    return Table(name, f"Discrepancy, suite {panel.suite}", "task: method", columns, rows, notes)


def pairing_table(panel: Panel) -> Table | None:
    """Which source class stands for each target class in D, by method, of the lowest seed."""
    pairs: dict[tuple[str, str], dict[str, Entry]] = {}
    used: list[str] = []
    lowest: dict[tuple[str, str], int] = {}
    for (task, row, seed, _, record), _, result in points.found(panel, "discrepancy"):
        if lowest.setdefault((task, row), seed) != seed:
            continue  # cells come sorted by seed
        used.append(row)
        for target, source in result.get("pairing", ()):
            pairs.setdefault((task, target), {})[row] = Entry(str(source), records=(record,))
    if not pairs:
        return None
    rows_used = [row for row in panel.rows if row in used]
    ordered = sorted(pairs, key=lambda pair: panel.tasks.index(pair[0]))
    rows = tuple((": ".join(pair), tuple(pairs[pair].get(row, Entry()) for row in rows_used)) for pair in ordered)
    notes = ("The source class paired with each target class by the optimal assignment behind D (lowest seed).",)
    columns = tuple(Column(row, text=True) for row in rows_used)
    title = f"Pairing of target with source classes, suite {panel.suite}"
    return Table(f"pairing_{panel.name}", title, "task: target class", columns, rows, notes)


def similarity_table(panel: Panel) -> Table | None:
    """Linear CKA with the pretrained body's features, and how far the weights have moved."""
    data = points.similarity(panel)
    if data.empty:
        return None
    rows = by_task_and_row(
        panel, data, lambda here: (mean_entry(here[key], 3, here["record"]) for key in ("cka", "movement"))
    )
    notes = (
        "Linear CKA (Kornblith et al., 2019) of source features before and after fine-tuning: 1 is unchanged up to "
        "rotation and scale. Movement is ‖θ − θ₀‖ / ‖θ₀‖ over the whole body; one that started from random weights "
        "has none.",
    )
    columns, title = (
        (Column("CKA"), Column("weight movement")),
        f"Similarity to the pretrained body, suite {panel.suite}",
    )
    return Table(f"similarity_{panel.name}", title, "task: method", columns, rows, notes)
