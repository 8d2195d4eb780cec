"""The points that figures draw and tables average, one line each: curves, linear probe, t-SNE, discrepancy, similarity.

Reads the `analysis` part of records (see bench.analysis.summary) and the curves and arrays beside them. Cells without
an analysis, or with one that was skipped, have no lines here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def probe_points(panel: Panel) -> pd.DataFrame:
    """Probe error [%] by epoch with its interval over test samples, and the pretrained body's error."""
    out = []
    for cell, _, result in found(panel, "probe"):
        lists = (result[key] for key in ("epochs", "error", "low", "high"))
        for point in zip(*lists, strict=True):
            out.append([*cell, result.get("source", ""), *point, result["pretrained_error"]])
    return pd.DataFrame(out, columns=[*CELL, "source", "epoch", "error", "low", "high", "pretrained_error"])


def tsne_points(panel: Panel, arrays_of: ArraysOf) -> pd.DataFrame:
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


def movement_points(panel: Panel) -> pd.DataFrame:
    """Relative weight movement (no unit) of each block of each cell's body, in the order of the blocks; `all` is last."""
    out = []
    for cell, _, result in found(panel, "similarity"):
        out += [[*cell, block, value] for block, value in result.get("movement", {}).items()]
    return pd.DataFrame(out, columns=[*CELL, "block", "movement"])


def curve_points(panel: Panel, curves_of: CurvesOf) -> pd.DataFrame:
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


def discrepancy_points(panel: Panel) -> pd.DataFrame:
    """D of each cell in its variants, and what chance gives; all without unit, 0 to 1."""
    keys = ["unnormalised", "renormalised", "matched_only", "chance"]
    results = found(panel, "discrepancy")
    out = [[*cell, result.get("source", ""), *(result.get(k) for k in keys)] for cell, _, result in results]
    return pd.DataFrame(out, columns=[*CELL, "source", *keys])
