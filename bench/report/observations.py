"""What a study observed: one line per arm and run, with everything that a rule can compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bench import studies
from bench.records.record import Record
from bench.report.evidence import CurvesOf
from bench.studies.study import MEASURES, Study

SCORES = ("score", "score_last", "score_best_test")
COLUMNS = ("arm", "task", "backbone", "seed", "origin", "modality", "higher", "status", "variant", "val_score", "id")


def observe(study: Study, size: str, records: Sequence[Record], curves_of: CurvesOf) -> pd.DataFrame:
    """The records that belong to a study at a size: columns `COLUMNS`, one per measure (NaN where it is not there), and
    `record`. A record is listed under every arm that it belongs to. Tuned arms keep all their variants: see `tuned`.
    """
    members = studies.arms_of(study, size)
    lines = []
    for record in (record for record in records if record["search"] is None):  # a study sets its values itself
        key = studies.key_of(record)
        for arm, keys in members.items():
            if key in keys:
                lines.append({"arm": arm, **_line(record, curves_of)})
    frame = pd.DataFrame(lines, columns=[*COLUMNS, *MEASURES, "record"])
    return frame.astype(dict.fromkeys(MEASURES, float))


def _line(record: Record, curves_of: CurvesOf) -> dict[str, Any]:
    kept = {key: record[key] for key in ("task", "backbone", "seed", "origin", "status", "val_score", "id")}
    return kept | {
        "modality": {2: "text", 3: "vision"}.get(len(record["data"].get("input_shape", ())), ""),
        "higher": record["higher_is_better"],
        "variant": str(sorted(record["overrides"].items())),
        "record": record,
        **{name: record[name] for name in SCORES},
        **measures(record, curves_of),
    }


def measures(record: Record, curves_of: CurvesOf) -> dict[str, float | None]:
    """What the analyses and the curves of a record say, by the names of `MEASURES`; None where they say nothing."""
    probe, discrepancy = (record["analysis"].get(name, {}) for name in ("probe", "discrepancy"))
    before, errors = probe.get("pretrained_error"), probe.get("error") or [None]
    after = errors[-1]
    stage1 = [row["loss"] for row in curves_of(record).get("stage1", []) if row.get("phase") == "orca"]
    return {
        "probe_error": after,
        "probe_pretrained": before,
        "probe_rise": None if before is None or after is None else after - before,
        "discrepancy": None if discrepancy.get("d") is None else 100 * discrepancy["d"],
        "alignment_loss": stage1[-1] if stage1 else None,
    }


def tuned(table: pd.DataFrame, study: Study) -> pd.DataFrame:
    """Of every arm with a grid, on each task, the variant with the best mean validation score; other arms as they are.

    A variant with failed seeds is chosen only where every variant has some: a learning rate that diverges now and then
    is not the best one. The test set plays no part.
    """
    searched = {arm.name for arm in study.arms if arm.grid}
    keep = pd.Series(True, index=table.index)
    for _, group in table[table["arm"].isin(searched)].groupby(["arm", "task", "backbone", "origin"]):
        ranking = []
        for variant, runs in group.groupby("variant"):
            values = runs["val_score"].astype(float)
            mean = values.mean() if values.notna().any() else np.inf
            ranking.append((-values.notna().sum(), -mean if runs["higher"].any() else mean, variant))
        keep[group.index] = group["variant"] == min(ranking)[2]
    return table[keep]


def at_edge(kept: pd.DataFrame, study: Study) -> dict[str, tuple[str, ...]]:
    """Tuned arm -> the tasks on which its chosen value is the first or last of its grid: a wider one may hold a better.

    `kept` is what `tuned` left. Grids of names, and of two values or fewer, have no inside and no edge.
    """
    found = {}
    for arm in study.arms:
        scales = {key: sorted(values) for key, values in arm.grid if len(values) > 2 and not isinstance(values[0], str)}
        runs = kept[kept["arm"] == arm.name].drop_duplicates("task")
        edges = [
            str(task)
            for task, record in zip(runs["task"], runs["record"], strict=True)
            if any(record["settings"].get(key) in (scale[0], scale[-1]) for key, scale in scales.items())
        ]
        if edges:
            found[arm.name] = tuple(edges)
    return found


def oriented_values(runs: pd.DataFrame, measure: str) -> pd.Series:
    """A measure of every line, turned so that lower is better."""
    values = runs[measure].astype(float)
    return values.where(~runs["higher"].astype(bool), -values) if measure in SCORES else values
