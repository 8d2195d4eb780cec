"""The tables of the analyses: linear probe, discrepancy and its pairing, similarity to the pretrained body."""

from __future__ import annotations

import pandas as pd

from bench.report.document.table import Column, Entry, Table, number
from bench.report.frame import Panel
from bench.report.points import discrepancy_points, found, probe_points
from bench.report.statistics import summarise


def probe_table(panel: Panel) -> Table | None:
    """Probe error by task, method and epoch of fine-tuning, beside that of the untouched pretrained body."""
    points = probe_points(panel)
    if points.empty:
        return None
    epochs = sorted(points["epoch"].unique())
    rows = []
    for (task, row), here in points.groupby(["task", "row"], sort=False):
        before = here.groupby("record", sort=False)["pretrained_error"].first()
        entries = [
            Entry(number(float(before.mean()), 1), float(before.mean()), n=len(before), records=tuple(before.index))
        ]
        entries += [_probe_entry(here[here["epoch"] == epoch]) for epoch in epochs]
        rows.append((panel.tasks.index(task), panel.rows.index(row), f"{task}: {row}", tuple(entries)))
    columns = (Column("pretrained", "%"), *(Column(f"epoch {e}", "%") for e in epochs))
    notes = (
        "Error of a linear classifier on source data that the body never saw; lower means that more source knowledge was "
        "kept. One seed: error [95 % Wilson interval over test samples]. Several: mean ± standard deviation over seeds "
        "(n), and the CSV has the t interval.",
    )
    body = tuple((label, entries) for _, _, label, entries in sorted(rows, key=lambda line: line[:2]))
    return Table(f"probe_{panel.name}", f"Linear probe, suite {panel.suite}", "task: method", columns, body, notes)


def _probe_entry(points: pd.DataFrame) -> Entry:
    if points.empty:
        return Entry()
    s, records = summarise(points["error"].to_list()), tuple(points["record"])
    if s.std is not None:
        return Entry(f"{s.mean:.1f} ± {s.std:.1f} ({s.n})", s.mean, s.std, s.low, s.high, s.n, records=records)
    low, high = (float(points[key].iloc[0]) for key in ("low", "high"))
    return Entry(f"{s.mean:.1f} [{low:.1f}, {high:.1f}]", s.mean, None, low, high, 1, records=records)


def discrepancy_table(panel: Panel) -> Table | None:
    """D per task and method, in both variants of the definition, beside what shuffled labels give."""
    points = discrepancy_points(panel)
    if points.empty:
        return None
    exact = {c[-1]: r.get("renormalised_exact") for c, _, r in found(panel, "discrepancy")}
    rows = []
    for task in panel.tasks:
        for row in panel.rows:
            here = points[(points["task"] == task) & (points["row"] == row)]
            if len(here):
                line = [_mean(here, key) for key in ("unnormalised", "renormalised", "chance")]
                how = "all subsets searched" if all(exact[i] for i in here["record"]) else "local search"
                rows.append((f"{task}: {row}", (*line, Entry(how, records=tuple(here["record"])))))
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
    name = f"discrepancy_{panel.name}"
    return Table(name, f"Discrepancy, suite {panel.suite}", "task: method", columns, tuple(rows), notes)


def _mean(cells: pd.DataFrame, key: str) -> Entry:
    values = cells[key].dropna()
    if values.empty:
        return Entry(records=tuple(cells["record"]))
    s = summarise(values.to_list())
    spread = "" if s.std is None else f" ± {number(s.std, 3)}"
    text = f"{number(s.mean, 3)}{spread} ({'n=1' if s.n == 1 else s.n})"
    return Entry(text, s.mean, s.std, s.low, s.high, s.n, records=tuple(cells["record"]))


def pairing_table(panel: Panel) -> Table | None:
    """Which source class stands for each target class in D, by method, of the lowest seed."""
    pairs: dict[tuple[str, str], dict[str, Entry]] = {}
    used: list[str] = []
    lowest: dict[tuple[str, str], int] = {}
    for (task, row, seed, _, record), _, result in found(panel, "discrepancy"):
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
    rows: dict[tuple[str, str], list[tuple[str, float, float | None]]] = {}
    for (task, row, _, _, record), _, result in found(panel, "similarity"):
        moved = result.get("movement", {}).get("all")
        rows.setdefault((task, row), []).append((record, result["cka"]["value"][-1], moved))
    if not rows:
        return None
    out = []
    for task in panel.tasks:
        for row in panel.rows:
            if lines := rows.get((task, row)):
                frame = pd.DataFrame(lines, columns=["record", "cka", "movement"])
                out.append((f"{task}: {row}", (_mean(frame, "cka"), _mean(frame, "movement"))))
    notes = (
        "Linear CKA (Kornblith et al., 2019) of source features before and after fine-tuning: 1 is unchanged up to "
        "rotation and scale. Movement is ‖θ − θ₀‖ / ‖θ₀‖ over the whole body; one that started from random weights "
        "has none.",
    )
    columns = (Column("CKA"), Column("weight movement"))
    name = f"similarity_{panel.name}"
    title = f"Similarity to the pretrained body, suite {panel.suite}"
    return Table(name, title, "task: method", columns, tuple(out), notes)
