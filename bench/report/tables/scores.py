"""The tables of a panel: scores, intervals, costs, selection bias, failures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.records.comparable import NOT_RECORDED
from bench.report import points
from bench.report.document.table import Column, Entry, Table, decimals, number, with_best
from bench.report.floors import data_of, solved
from bench.report.frame import FLOOR, Catalogue, Panel, changes
from bench.report.statistics import ranks, win_rate
from bench.report.tables.entries import WORDS, by_task_and_row, score_entry
from bench.report.tables.price import prices
from bench.studies.study import MATTERS
from bench.words import counted

TRIVIAL = "trivial predictor"
NOT_RUN = "— means not run."


def mean_scores(cells: pd.DataFrame) -> list[float]:
    """The mean score of each row in the cells of a task."""
    return [float(mean) for mean in cells.groupby("row")["score"].mean()]


def task_column(panel: Panel, task: str) -> Column:
    """The head of a task's column: its name, direction, metric and unit."""
    metric, unit, higher = panel.metric_of(task)
    return Column(task, metric if unit in ("", "1") else f"{metric}, {unit}", higher)


def _trivial_entry(panel: Panel, task: str, places: int | None) -> Entry:
    cells = panel.of(task=task).dropna(subset=["trivial", "score"])
    if cells.empty:
        return Entry()
    low, high = cells["trivial"].min(), cells["trivial"].max()
    # Different values mean different data in one column; `warnings` says so, too.
    text = number(low, places) if low == high else f"{number(low, places)} – {number(high, places)}"
    return Entry(text, float(cells["trivial"].mean()), records=tuple(cells["id"]))


def shared_by_all(panel: Panel, catalogue: Catalogue) -> list[str]:
    """Sentences under a table of this panel: what its cells have in common."""
    by_backbone: dict[str, list[str]] = {}
    for task in panel.tasks:
        by_backbone.setdefault(panel.backbone_of(task), []).append(task)
    parts = []
    for backbone, tasks in by_backbone.items():
        published = sorted({catalogue.backbones[t] for t in tasks if t in catalogue.backbones} - {backbone})
        role = f" (stand-in for {', '.join(published)})" if published else ""
        parts.append(f"{backbone}{role} on {', '.join(tasks)}")
    sentences = [
        f"Profile {panel.profile}, protocol {panel.protocol}, {panel.origin} data.",
        f"Backbones: {'; '.join(parts)}.",
    ]
    return sentences + _settings(panel)


def _settings(panel: Panel) -> list[str]:
    """What the overrides of all cells are, and of all but those rows that set the same otherwise, as a longer arm does."""
    own = {
        row: [changes(record) for record in panel.of(row)["record"]] for row in panel.rows if row not in panel.floors
    }
    by_exception: dict[tuple[str, ...], list[str]] = {}
    for name, value in panel.shared.items():
        rows = tuple(row for row, sets in own.items() if any(one.get(name, value) != value for one in sets))
        by_exception.setdefault(rows, []).append(f"{name} = {value}")
    return [
        f"Settings of all cells{' but those of ' if rows else ''}{' and '.join(rows)}: {', '.join(said)}."
        for rows, said in sorted(by_exception.items())
    ]


def warnings(panel: Panel) -> list[str]:
    """What makes the columns of a panel less comparable than they look."""
    found = [f"Attention: {said}." for said in panel.differs]
    for task in panel.tasks:
        found += _about_the_data(task, [r["data"] for r in panel.of(task=task)["record"]])
    if panel.evidence and panel.origin == "generated":
        found += [f"Attention: no method here beats a floor by {MATTERS:g} % on {said}." for said in solved(panel)]
    return found + _not_converged(panel) + _about_the_software(panel)


def _not_converged(panel: Panel) -> list[str]:
    """The rows whose last epoch is the best one on validation in most runs: how far they would get is not known."""
    at_the_end = panel.cells.dropna(subset="best_at").groupby("row")["best_at"].agg(lambda at: (at >= 1).mean() > 0.5)
    rows = [row for row in panel.rows if at_the_end.get(row, False)]
    if not rows:
        return []
    return [
        f"Attention: not converged: {', '.join(rows)}. In most of their runs the last epoch is the best on validation, so "
        "they might gain by a longer training, and a difference between them may be one of speed."
    ]


def _about_the_software(panel: Panel) -> list[str]:
    """Packages in several versions, threads in several numbers, and whether that falls together with the methods."""
    found = []
    packages = [record["packages"] for record in panel.cells["record"]]
    kinds = {
        f"versions of {name}": [p.get(name) for p in packages] for name in sorted({n for p in packages for n in p})
    }
    kinds["numbers of CPU threads"] = [record["threads"] for record in panel.cells["record"]]
    for kind, given in kinds.items():
        values = pd.Series([NOT_RECORDED if v is None else str(v) for v in given], index=panel.cells.index)
        counts = values.value_counts().sort_index()
        if len(counts) == 1:
            continue
        said = ", ".join(f"{value} ({count})" for value, count in counts.items())
        by_row = {frozenset(group) for _, group in values.groupby(panel.cells["row"])}
        mixed = "; not every method with every one, so a difference between methods may be one between these"
        found.append(
            f"Attention: these cells were run with {len(counts)} {kind}: {said}{mixed if len(by_row) > 1 else ''}."
        )
    return found


def _about_the_data(task: str, data: list[dict]) -> list[str]:
    """What the reader warned of, files that are not the published ones, and targets that a mean predicts."""
    notes = [entry.get("notes", {}) for entry in data]
    said = sorted({text for note in notes for text in note.get("warnings", ())})
    found = [f"Attention: data of {task}: {text}." for text in said]
    found += [
        f"Attention: data of {task} are not as published ({said})."
        for said in sorted({"; ".join(entry.get("unlike_published", ())) for entry in data} - {""})
    ]
    files = {(path, text) for entry in data for path, text in entry.get("verification", {}).items()}
    found += [
        f"Attention: {path} is not the published file ({t})." for path, t in sorted(files) if t.startswith("differs")
    ]
    constant = max((note.get("target_nearly_constant", 0.0) for note in notes), default=0.0)
    if constant >= 0.5:
        found.append(
            f"Attention: {constant:.0%} of the test targets of {task} are nearly constant fields; a score says little more "
            "than how well a mean is predicted, so read it beside the trivial predictor's."
        )
    return found


def score_table(panel: Panel, catalogue: Catalogue) -> Table:
    """Methods × tasks: the trivial predictor first, price, mean ± std (n), best in bold, average rank and win rate."""
    price = prices(panel)
    columns, content = [price.column], [[Entry(), *(price.cells[row] for row in panel.rows)]]
    trivial_names = {}
    for task in panel.tasks:
        cells = panel.of(task=task)
        column = task_column(panel, task)
        places = decimals([*mean_scores(cells), float(cells["trivial"].mean())])
        entries = [score_entry(panel.of(row, task), "score", places) for row in panel.rows]
        entries = _beside_the_floor(panel, entries, bool(column.higher_is_better))
        columns.append(column)
        content.append([_trivial_entry(panel, task, places), *with_best(entries, bool(column.higher_is_better))])
        names = cells["trivial_name"].dropna().unique()
        trivial_names[task] = names[0] if len(names) else "none"
    notes = [
        "Mean ± standard deviation over seeds (number of seeds); ↓ lower is better, ↑ higher is better; best in bold.",
        f"Trivial predictor: {_grouped(trivial_names)}. {NOT_RUN}",
        price.note,
        " ".join(shared_by_all(panel, catalogue)),
    ]
    if panel.floors:
        notes.insert(1, f"{', '.join(panel.floors)}: a floor beside the arms, in no rank.")
    if len(panel.rows) > 1 and panel.evidence:
        over_tasks, note = _over_tasks(panel)
        columns += [Column("avg. rank", higher_is_better=False), Column("win rate", "%", higher_is_better=True)]
        content += over_tasks
        notes.insert(1, note)
    rows = tuple(zip((TRIVIAL, *panel.rows), zip(*content, strict=True), strict=True))
    title = f"Scores, suite {panel.suite} ({panel.profile}, {panel.protocol}, {panel.origin} data)"
    attention = tuple(warnings(panel))
    return Table(f"scores_{panel.name}", title, "method", tuple(columns), rows, tuple(notes), (TRIVIAL,), attention)


def _beside_the_floor(panel: Panel, entries: list[Entry], higher_is_better: bool) -> list[Entry]:
    """The entries of a task, one per row, with a mark where a method does not beat ridge that learned from the same data."""
    ridge = set(panel.cells.loc[panel.cells["method"] == FLOOR, "row"])
    data = {row: data_of(panel.of(row)["record"].iloc[0]) for row in panel.rows}
    sign = 1 if higher_is_better else -1
    valued = [(row, sign * c.value) for row, c in zip(panel.rows, entries, strict=True) if c.value is not None]
    floors: dict[str, float] = {}
    for row, value in valued:
        if row in ridge:
            floors[data[row]] = max(value, floors.get(data[row], value))
    below = {row for row, value in valued if row not in ridge and value <= floors.get(data[row], -math.inf)}
    return [
        replace(entry, marks=(*entry.marks, "floor")) if row in below else entry
        for row, entry in zip(panel.rows, entries, strict=True)
    ]


def _over_tasks(panel: Panel) -> tuple[list[list[Entry]], str]:
    """The columns average rank and win rate (empty for the trivial predictor and floors), and their note."""
    m = points.matrix(panel)
    beside = [Entry()] * (1 + len(panel.floors))
    if not m.tasks:
        empty = [Entry()] * (len(panel.rows) + 1)
        return [empty, empty], "No task was run with every method: there is no average rank and no win rate."
    ids = [tuple(panel.cells.loc[(panel.cells["row"] == r) & panel.cells["task"].isin(m.tasks), "id"]) for r in m.rows]
    columns = []
    for values, places, higher in (
        (ranks(m.scores, m.higher).mean(axis=0), 2, False),
        (100 * win_rate(m.scores, m.higher), 0, True),
    ):
        entries = [
            Entry(number(v, places), float(v), n=len(m.tasks), records=i) for v, i in zip(values, ids, strict=True)
        ]
        columns.append([*beside, *with_best(entries, higher)])
    left_out = [t for t in panel.tasks if t not in m.tasks]
    note = f"Average rank and win rate over {counted(len(m.tasks), 'task')}"
    note += f" (without {', '.join(left_out)}, not run with every method)" if left_out else ""
    return columns, note + "; ties share, and a cell without a score ranks behind all scores."


def _grouped(names: Mapping[str, str]) -> str:
    groups: dict[str, list[str]] = {}
    for task, name in names.items():
        groups.setdefault(name, []).append(task)
    return "; ".join(f"{name} ({', '.join(tasks)})" for name, tasks in groups.items())


def interval_table(panel: Panel) -> Table | None:
    """95 % t intervals over seeds, where a cell has at least two; None if none has."""
    columns, content = [], []
    for task in panel.tasks:
        places = decimals(mean_scores(panel.of(task=task)))
        plain = [score_entry(panel.of(row, task), "score", places) for row in panel.rows]
        shown = []
        for entry in plain:
            if entry.low is None or entry.high is None:
                text = f"n={entry.n}: none" if entry.n else entry.text
            else:
                text = f"{number(entry.low, places)} to {number(entry.high, places)}"
            shown.append(replace(entry, text=text, marks=()))
        columns.append(task_column(panel, task))
        content.append(shown)
    if all(entry.low is None for column in content for entry in column):
        return None
    rows = tuple(zip(panel.rows, zip(*content, strict=True), strict=True))
    note = "Student's t interval of the mean over seeds; two seeds give a very wide one, one seed gives none."
    title = f"95 % intervals, suite {panel.suite}"
    return Table(f"intervals_{panel.name}", title, "method", tuple(columns), rows, (note,))


def cost_table(panel: Panel) -> Table:
    """Per method: hours, how they divide, peak memory; failed cells count, their hours were spent, too."""
    rows = tuple((row, tuple(_costs(panel.of(row)))) for row in panel.rows)
    device = ", ".join(sorted(panel.cells["device"].unique()))
    shares = [(name, "%") for name in ("data", "stage 1", "stage 2", "evaluation")]
    memory = (("peak host memory", "GiB"), ("peak device memory", "GiB"))
    heads = (("cells", ""), ("device time", "h"), *shares, *memory, ("best epoch at", "%"))
    columns = tuple(Column(title, unit) for title, unit in heads)
    notes = (
        f"Sum over all cells of the row, failed ones and repeated attempts included, on: {device}.",
        "Shares are of the whole time; evaluation includes keeping the features that the analyses need.",
        "Best epoch at: the part of stage 2, as long as it was planned, that was over at the end of the epoch best on "
        "validation; mean over cells.",
    )
    return Table(f"costs_{panel.name}", f"Costs, suite {panel.suite}", "method", columns, rows, notes)


def _costs(cells: pd.DataFrame) -> Iterator[Entry]:
    total = cells["seconds_total"].sum()
    shares = [100 * cells[f"seconds_{s}"].sum() / (total or math.nan) for s in ("data", "stage1", "stage2", "eval")]
    best = 100 * cells["best_at"].mean()
    peaks = [cells[f"peak_memory_{where}"].max() / 2**30 for where in ("host", "device")]
    count, hours = f"{len(cells)}", f"{total / 3600:.3g}"
    texts = (count, hours, *(f"{s:.0f}" for s in shares), *(f"{peak:.2f}" for peak in peaks), f"{best:.0f}")
    for value, text in zip((len(cells), total / 3600, *shares, *peaks, best), texts, strict=True):
        entry = Entry() if pd.isna(value) else Entry(text, float(value))
        yield replace(entry, n=len(cells), records=tuple(cells["id"]))


SELECTIONS = {"score_last": "last epoch", "score_best_val": "best on validation", "score_best_test": "best on test"}


def selection_table(panel: Panel) -> Table | None:
    """Last, best-on-validation and best-on-test side by side; None where the cells have fewer than two of them."""
    present = [c for c in SELECTIONS if panel.cells[c].notna().any()]
    if len(present) < 2:
        return None

    def entries(cells: pd.DataFrame) -> Iterator[Entry]:
        metric, higher = cells["metric"].iloc[0], bool(cells["higher_is_better"].iloc[0])
        places = decimals(float(cells[c].mean()) for c in present)
        yield Entry(f"{metric} {'↑' if higher else '↓'}")
        yield from (replace(score_entry(cells, c, places), marks=()) for c in present)
        if "score_best_test" in present:
            yield _optimism(cells, higher, places)

    columns = [Column("metric", text=True), *(Column(SELECTIONS[c]) for c in present)]
    notes = ["Mean ± standard deviation over seeds (number of seeds)."]
    if "score_best_test" in present:
        columns.append(Column("optimism"))
        notes += [
            "Best on test is an oracle: it looks at the answer. It is shown to measure what such selection adds.",
            "Optimism: by how much best on test is better than the reported score, paired by seed.",
        ]
    title, rows = f"Selection bias, suite {panel.suite}", by_task_and_row(panel, panel.cells, entries)
    return Table(f"selection_{panel.name}", title, "task: method", tuple(columns), rows, tuple(notes))


def _optimism(cells: pd.DataFrame, higher: bool, places: int | None) -> Entry:
    both = cells.dropna(subset=["score", "score_best_test"])
    gain = (both["score_best_test"] - both["score"]) * (1 if higher else -1)
    if both.empty:
        return Entry(records=tuple(cells["id"]))
    return replace(score_entry(both.assign(gain=gain), "gain", places), marks=())


def failure_table(frame: pd.DataFrame) -> Table | None:
    """Every cell that has no score: how it ended and what it said; None if there is none."""
    ended = frame[frame["status"] != "done"].sort_values(["task", "method", "backbone", "seed", "id"])
    if ended.empty:
        return None
    columns = tuple(Column(t, text=True) for t in ("ended", "error", "origin", "protocol", "record"))
    rows = []
    for line in ended.to_dict("records"):
        error: Mapping[str, Any] = line["record"]["error"] or {}
        said = f"{error.get('type', '')}: {error.get('message', '')}".strip(": ")
        status = line["status"]
        texts = (WORDS[status], " ".join(said.split())[:200], line["origin"], line["protocol"], line["id"][:12])
        entries = tuple(Entry(t, failures={status: 1}, records=(line["id"],)) for t in texts)
        rows.append((f"{line['task']} {line['method']} {line['backbone']} s{line['seed']}", entries))
    return Table("failures", "Cells that failed", "cell", columns, tuple(rows))
