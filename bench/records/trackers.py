"""Records and their curves as runs of TensorBoard, MLflow or Weights & Biases, written when the cells have ended.

Training knows of no tracker: what is exported is what the store holds. Each writes into a folder and reaches no network.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import SetupError
from bench.records.record import Record
from bench.records.schema import PLAIN
from bench.records.store import Store

KEY = ("task", "method", "backbone", "seed", "id", "status", "protocol", "profile", "origin")
"""What tells runs apart in a tracker's list."""
READ = (*KEY, "settings", "metrics", "start", "end", "seconds_total")
LONGEST_EPOCH = 1e9
"""Seconds. A file may say more, and no tracker has a date for it."""
PROJECT = "cross-modality-bench"


class Row(NamedTuple):
    """One epoch of one phase."""

    phase: str
    """`stage1/NAME` or `stage2`."""
    epoch: int
    time: float
    """When it ended: the cell's start and the seconds of all epochs so far, as seconds since 1970."""
    values: Mapping[str, float]
    """What was logged; what was not finite is left out."""


@dataclass(frozen=True)
class Run:
    """A record as trackers see it."""

    name: str
    key: Mapping[str, Any]
    settings: Mapping[str, Any]
    scores: Mapping[str, float]
    """Every finite metric on the test set, by name."""
    rows: Sequence[Row]
    start: float
    end: float
    """Seconds since 1970."""


def run_of(record: Record, curves: Mapping[str, Any]) -> Run:
    """A record (of it `READ`) and the curves beside it, {} if there are none."""
    start, end = (datetime.fromisoformat(record[name]).timestamp() for name in ("start", "end"))
    scores = {_word(name): m["value"] for name, m in record["metrics"].items() if m["value"] is not None}
    settings = {_word(name): value for name, value in record["settings"].items()}
    key = {name: record[name] for name in KEY}
    return Run(Store.stem(record), key, settings, scores, list(_rows(curves, start)), start, end)


def _rows(curves: Mapping[str, Any], start: float) -> Iterator[Row]:
    """The epochs of both stages in their order, each counted from 1 within its phase."""
    time, counts = start, Counter[str]()
    for stage in ("stage1", "stage2"):
        for row in curves.get(stage, ()):
            phase = f"{stage}/{_word(row['phase'])}" if "phase" in row else stage
            counts[phase] += 1
            numbers = {_word(name): value for name, value in row.items() if PLAIN[float].holds(value)}
            if 0 <= (seconds := numbers.get("seconds", 0.0)) < LONGEST_EPOCH:
                time += seconds
            numbers.pop("epoch", None)
            yield Row(phase, counts[phase], time, numbers)


def _word(name: str) -> str:
    """A name as every tracker takes it: letters, digits, `_`, `-` and dots within, at most 100; a slash would be a group."""
    return re.sub(r"[^\w.-]|^\.+|\.+$", "_", name)[:100] or "_"


def to_tensorboard(runs: Iterable[Run], folder: Path) -> None:
    """One event file for each run, in a folder of its own."""
    writer_of = _module("tensorboard.summary", "tensorboard").Writer
    for run in runs:
        writer = writer_of(str(folder / run.name))
        for row in run.rows:
            for name, value in row.values.items():
                writer.add_scalar(f"{row.phase}/{name}", value, row.epoch, wall_time=row.time)
        for name, value in run.scores.items():
            writer.add_scalar(f"test/{name}", value, 0, wall_time=run.end)
        writer.close()


def to_mlflow(runs: Iterable[Run], folder: Path) -> None:
    """All runs in the database `mlflow.db`: `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db` shows them."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # it would tell its makers that it was used
    for name in ("alembic", "sqlalchemy"):  # its database, which plain mlflow-skinny comes without
        _module(name, "mlflow")
    client = _module("mlflow", "mlflow").MlflowClient(tracking_uri=f"sqlite:///{folder.absolute() / 'mlflow.db'}")
    entities = _module("mlflow.entities", "mlflow")
    experiment = client.create_experiment(PROJECT, artifact_location=(folder.absolute() / "artifacts").as_uri())
    for run in runs:
        tags = {name: str(value) for name, value in run.key.items()}
        made = client.create_run(experiment, start_time=_milliseconds(run.start), tags=tags, run_name=run.name).info
        scores = [entities.Metric(f"test/{n}", v, _milliseconds(run.end), 0) for n, v in run.scores.items()]
        curves = [
            entities.Metric(f"{row.phase}/{name}", value, _milliseconds(row.time), row.epoch)
            for row in run.rows
            for name, value in row.values.items()
        ]
        for metrics in _slices([*scores, *curves], 1000):
            client.log_batch(made.run_id, metrics=metrics)
        for params in _slices([entities.Param(n, json.dumps(v)) for n, v in run.settings.items()], 100):
            client.log_batch(made.run_id, params=params)
        ended = "FINISHED" if run.key["status"] == "done" else "FAILED"
        client.set_terminated(made.run_id, ended, end_time=_milliseconds(run.end))


def to_wandb(runs: Iterable[Run], folder: Path) -> None:
    """Offline runs: `wandb sync FOLDER/wandb/offline-run-*` sends them where you are logged in."""
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it would tell its makers of its errors
    wandb = _module("wandb", "wandb")
    quiet = wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True)
    for run in runs:
        made = wandb.init(
            mode="offline",
            dir=str(folder),
            project=PROJECT,
            id=run.key["id"],
            name=run.name,
            config={**run.key, **run.settings},
            reinit="create_new",
            settings=quiet,
        )
        for phase in dict.fromkeys(row.phase for row in run.rows):
            made.define_metric(f"{phase}/*", step_metric=f"{phase}/epoch")
        for row in run.rows:
            named = {f"{row.phase}/{name}": value for name, value in row.values.items()}
            made.log({f"{row.phase}/epoch": row.epoch, **named})
        made.summary.update({f"test/{name}": value for name, value in run.scores.items()})
        made.finish(exit_code=0 if run.key["status"] == "done" else 1)


TRACKERS: Mapping[str, Callable[[Iterable[Run], Path], None]] = {
    "tensorboard": to_tensorboard,
    "mlflow": to_mlflow,
    "wandb": to_wandb,
}
"""By name, which is that of the extra that installs what it needs, too."""


def _module(name: str, extra: str) -> Any:
    """A module of a package that few need; SetupError with the extra that brings it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = error.name or name
        raise SetupError(
            f"--format {extra} needs the package {package}, which is not installed: "
            f"pip install 'cross-modality-bench[{extra}]'"
        ) from None


def _milliseconds(seconds: float) -> int:
    """Since 1970, before which MLflow knows no time."""
    return max(0, round(seconds * 1000))


def _slices(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    return (items[at : at + size] for at in itertools.takewhile(len(items).__gt__, itertools.count(0, size)))
