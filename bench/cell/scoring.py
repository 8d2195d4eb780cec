"""Scores of a model on a split: predictions over the whole split, then every metric of the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from bench.cell.batches import Loader
from tasks.contract import Data, Task, targets_of
from tasks.metrics import METRICS
from tasks.trivial import PREDICTORS, names_for

if TYPE_CHECKING:
    from bench.cell.context import CellContext

Scores = dict[str, dict[str, Any]]
"""Metric name -> {value, unit, higher_is_better}; value is None where it is not finite."""
Targets = tuple[np.ndarray, dict[str, np.ndarray]]
"""Targets and side arrays of a split, in order."""
Predicted = tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]
"""Predictions in physical units, targets and side arrays of a split, in order: what every metric is computed from."""


def metric_names(task: Task, protocol: str) -> list[str]:
    """The score's metric first, then the further ones, each once."""
    first = task.paper_metric if protocol == "paper" and task.paper_metric else task.metric
    if protocol == "paper" and task.paper_more_metrics is not None:
        return list(dict.fromkeys([first, *task.paper_more_metrics]))
    return list(dict.fromkeys([first, task.metric, *task.more_metrics]))


def loss_name(task: Task, protocol: str) -> str:
    """The name of the loss that stage 2 minimises under the protocol."""
    return task.paper_loss if protocol == "paper" and task.paper_loss else task.loss


def score_arrays(names: list[str], pred: np.ndarray, target: np.ndarray, extra: Mapping[str, np.ndarray]) -> Scores:
    """Every metric of predictions over a whole split."""
    out: Scores = {}
    for name in names:
        metric = METRICS[name]
        value = metric(pred, target, extra)
        out[name] = {
            "value": value if np.isfinite(value) else None,
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
        }
    return out


def evaluate(context: CellContext, loader: Loader, names: list[str]) -> Scores:
    """Metrics of the current model over a whole split."""
    return score_arrays(names, *predict(context, loader))


def predict(context: CellContext, loader: Loader) -> Predicted:
    """What the current model says of a whole split, in order; memory that runs out makes its batches smaller."""
    memory, size = context.trainer.memory, context.run.config.trainer.eval_batch_size
    return memory.run("eval_batch_size", size, lambda size: _predict(context, loader, size))


def _predict(context: CellContext, loader: Loader, batch_size: int) -> Predicted:
    model = context.model
    was_training = model.training
    model.eval()
    indices = [np.arange(i, min(i + batch_size, len(loader))) for i in range(0, len(loader), batch_size)]
    outputs, targets = [], []
    extras: dict[str, list[np.ndarray]] = {}
    with torch.inference_mode(), context.autocast():
        for batch in loader.batches(indices, [None] * len(indices)):
            outputs.append(context.physical(model(batch.x).float()).cpu().numpy())
            targets.append(batch.y.cpu().numpy())
            for key, value in batch.extra.items():
                extras.setdefault(key, []).append(value.cpu().numpy())
    model.train(was_training)
    return np.concatenate(outputs), np.concatenate(targets), {k: np.concatenate(v) for k, v in extras.items()}


def trivial_scores(task: Task, data: Data, names: list[str]) -> dict[str, Any]:
    """{name, score, metrics} of the best trivial predictor on the test split, and `all`: {name: score} of all that apply.

    The task's own is always among them.
    """
    target, extra = targets(data)
    higher = METRICS[names[0]].higher_is_better
    best: dict[str, Any] = {"name": task.trivial, "score": None, "metrics": {}}
    everyone: dict[str, float | None] = {}
    for name in names_for(task.trivial, names[0], data.input_shape, data.output_shape):
        pred = np.asarray(PREDICTORS[name](data.train, data.test, data.output_shape))
        metrics = score_arrays(names, pred, target, extra)
        everyone[name] = metrics[names[0]]["value"]
        if name == task.trivial or better(everyone[name], best["score"], higher):
            best = {"name": name, "score": everyone[name], "metrics": metrics}
    return {**best, "all": everyone}


def targets(data: Data) -> Targets:
    """Targets and side arrays of the whole test split, read in pieces so that inputs never lie in memory at once."""
    n = len(data.test)
    size = int(np.clip(2**24 // np.prod(data.input_shape), 1, 1024))
    ys, extras = zip(*(targets_of(data.test, np.arange(i, min(i + size, n))) for i in range(0, n, size)))
    return np.concatenate(ys), {k: np.concatenate([extra[k] for extra in extras]) for k in extras[0]}


def better(a: float | None, b: float | None, higher_is_better: bool) -> bool:
    """Whether score `a` is strictly better than `b`; None (not finite) is worse than any number."""
    if a is None or b is None:
        return a is not None
    return a > b if higher_is_better else a < b
