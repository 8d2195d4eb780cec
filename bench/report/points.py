"""The points that figures draw and tables average, one line each: curves, linear probe, t-SNE, discrepancy, similarity.

Reads the `analysis` part of records (see bench.analysis.summary) and the curves and arrays beside them. Cells without
an analysis, or with one that was skipped, have no lines here. `matrix` has the mean scores that comparisons over tasks rest on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bench.records.record import Record
from bench.report.evidence import ArraysOf, CurvesOf
from bench.report.frame import Panel

SPLITS = {"val": "validation", "test": "test"}
"""Key in an epoch's row -> the split in words."""
CELL = ["task", "row", "seed", "backbone", "record"]


def found(panel: Panel, name: str) -> Iterator[tuple[list[Any], Record, Mapping[str, Any]]]:
    """(values of `CELL`, record, result) of every cell that has the analysis `name`."""
    has = [name in record["analysis"] for record in panel.cells["record"]]
    for line in panel.cells[has].to_dict("records"):
        result = line["record"]["analysis"][name]
        if line["status"] == "done" and result and "skipped" not in result:
            yield [line["task"], line["row"], line["seed"], line["backbone"], line["id"]], line["record"], result


def _points(
    panel: Panel, name: str, columns: Sequence[str], lines: Callable[[Mapping[str, Any]], Iterable[Iterable[Any]]]
) -> pd.DataFrame:
    """`CELL` and `columns`, with the lines that `lines` makes of the result of each cell's analysis `name`."""
    out = [[*cell, *line] for cell, _, result in found(panel, name) for line in lines(result)]
    return pd.DataFrame(out, columns=[*CELL, *columns])


def probe(panel: Panel) -> pd.DataFrame:
    """Probe error [%] by epoch with its interval over test samples, and the pretrained body's error."""

    def lines(result: Mapping[str, Any]) -> Iterator[list[Any]]:
        for point in zip(*(result[key] for key in ("epochs", "error", "low", "high")), strict=True):
            yield [result.get("source", ""), *point, result["pretrained_error"]]

    return _points(panel, "probe", ["source", "epoch", "error", "low", "high", "pretrained_error"], lines)


def last_probe(panel: Panel) -> pd.DataFrame:
    """The probe of each cell after its last epoch."""
    probes = probe(panel)
    return probes[probes["epoch"] == probes.groupby("record")["epoch"].transform("max")].reset_index(drop=True)


def drop(panel: Panel) -> pd.DataFrame:
    """`drop` (probe error after the last epoch minus the pretrained body's) and D (`unnormalised`) of each cell."""
    data = last_probe(panel).merge(discrepancy(panel)[["record", "unnormalised"]], on="record")
    return data.assign(drop=data["error"] - data["pretrained_error"])


def probe_and_score(panel: Panel) -> pd.DataFrame:
    """The probe after the last epoch and the target score of each cell; empty with fewer than two of them."""
    scores = panel.cells[["id", "score"]].rename(columns={"id": "record"}).dropna()
    data = last_probe(panel).merge(scores, on="record")
    return data if len(data) > 1 else data.iloc[:0]


def tsne(panel: Panel, arrays_of: ArraysOf) -> pd.DataFrame:
    """Coordinates (without unit) by sample: of the fine-tuned body of each cell, and of its pretrained one."""
    parts = []
    for cell, record, result in found(panel, "tsne"):
        arrays = arrays_of(record)
        if "tsne_rows" not in arrays:
            continue
        test = arrays["source_test"].astype(bool)
        labels = arrays["source_labels"][test][arrays["tsne_rows"]]
        names = np.asarray(arrays["source_classes"]).astype(str)[labels]
        for body in ("pretrained", "last"):
            xy, epoch = arrays[f"tsne_{body}"], 0 if body == "pretrained" else result["epoch"]
            common = dict(zip(CELL, cell, strict=True), source=result.get("source", ""), body=body, epoch=epoch)
            parts.append(pd.DataFrame({"class": names, "x": xy[:, 0], "y": xy[:, 1]}).assign(**common))
    columns = [*CELL, "source", "body", "epoch", "class", "x", "y"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def movement(panel: Panel) -> pd.DataFrame:
    """Relative weight movement (no unit) of each block of each cell's body, in the order of the blocks; `all` is last."""
    return _points(panel, "similarity", ["block", "movement"], lambda result: result.get("movement", {}).items())


def similarity(panel: Panel) -> pd.DataFrame:
    """Of each cell the last `cka` with the pretrained body's features and the `movement` of the whole body; no units."""
    columns = ["cka", "movement"]
    return _points(panel, "similarity", columns, lambda r: [(r["cka"]["value"][-1], r.get("movement", {}).get("all"))])


def discrepancy(panel: Panel) -> pd.DataFrame:
    """D of each cell in its variants, and what chance gives; all without unit, 0 to 1."""
    keys = ["unnormalised", "renormalised", "matched_only", "chance"]
    return _points(
        panel, "discrepancy", ["source", *keys], lambda r: [(r.get("source", ""), *(r.get(k) for k in keys))]
    )


def curves(panel: Panel, curves_of: CurvesOf) -> pd.DataFrame:
    """Every point of every curve: task, row, seed, epoch, split, score, record."""
    columns: dict[str, list[Any]] = {n: [] for n in ("task", "row", "seed", "epoch", "split", "score", "record")}
    # Millions of points, so columns grow and no line is ever an object of its own.
    cells = (panel.cells[name] for name in ("task", "row", "seed", "id", "record"))
    for task, row, seed, cell_id, record in zip(*cells, strict=True):
        for entry in curves_of(record).get("stage2", []):
            for split in SPLITS:
                if entry.get(split) is not None:
                    point = (task, row, seed, entry["epoch"], split, entry[split], cell_id)
                    for column, value in zip(columns.values(), point, strict=True):
                        column.append(value)
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class Matrix:
    """Mean scores of a panel, for comparisons over tasks."""

    rows: tuple[str, ...]
    tasks: tuple[str, ...]
    """Those on which every row was run, whether or not it has a score."""
    scores: np.ndarray
    """(tasks, rows), NaN where every seed failed."""
    higher: tuple[bool, ...]


def matrix(panel: Panel, common: bool = True) -> Matrix:
    """Mean scores on the tasks that no method of the panel is missing on, or on all tasks (NaN where missing).

    Floors that only stand beside the methods are no rows of it.
    """
    rows = panel.rows[len(panel.floors) :]
    run = panel.cells.groupby(["task", "row"]).size().unstack("row")[list(rows)]
    tasks = tuple(t for t in panel.tasks if not common or run.loc[t].notna().all())
    done = panel.cells[panel.cells["status"] == "done"]
    means = done.groupby(["task", "row"])["score"].mean().unstack("row")
    means = means.reindex(index=list(tasks), columns=list(rows))
    return Matrix(rows, tasks, means.to_numpy(dtype=float), tuple(panel.metric_of(t)[2] for t in tasks))
