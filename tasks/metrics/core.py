"""What a metric is: a name, a function of arrays, and everything a table needs to print it correctly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

Extra = Mapping[str, np.ndarray]
Score = Callable[[np.ndarray, np.ndarray, Extra], float]
PUBLISHED_SEED = 0
"""The seed in every configuration of ORCA's code."""


@dataclass(frozen=True)
class Metric:
    """One number per split, with its unit and direction."""

    name: str
    """Unique and explicit: two formulas never share a name."""
    function: Score
    """`function(pred, target, extra)`: `pred` (n, *output_shape) is the model's output in physical units (logits for
    classes and labels), `target` is the split's y, `extra` its per-sample arrays; all numpy, over the whole split.
    `pred` has no NaN: a score of such is NaN, whatever the metric."""
    unit: str
    """Unit of the value, e.g. "%", "Å"; "1" where it has none."""
    higher_is_better: bool
    range: tuple[float, float]
    formula: str
    """The formula in one line of plain text."""
    source: str
    """Where the definition comes from."""

    def __call__(self, pred: np.ndarray, target: np.ndarray, extra: Extra | None = None) -> float:
        """The score as a Python float; NaN where any prediction is NaN."""
        return math.nan if np.isnan(pred).any() else float(self.function(pred, target, extra or {}))


def error_of(
    function: Score, unit: str, formula: str, source: str, *, most: float = math.inf, name: str | None = None
) -> Metric:
    """The metric that `function` is, under its own name where none is given: from 0 to `most`, lower is better."""
    return Metric(name or function.__name__, function, unit, False, (0.0, most), formula, source)


def in_chunks(metric: Score, size: int, shuffled: bool = False) -> Score:
    """`metric` on consecutive chunks of `size` samples, averaged with equal weight, a short last one included.

    ORCA's code scores chunks of at least 1,000 samples made of whole batches, so `size` is the first multiple of its
    batch size that reaches 1,000. `shuffled` puts the samples in a random order first, as that code does with the test
    sets of ECG (numpy, seeded once per run, so that the draw depends on what came before) and DeepSEA (anew at every
    evaluation). Here one permutation, of the published seed, stands for theirs.
    """
    return partial(_mean_of_chunks, metric, size, shuffled)


def _mean_of_chunks(
    metric: Score, size: int, shuffled: bool, pred: np.ndarray, target: np.ndarray, extra: Extra
) -> float:
    n = len(pred)
    order = np.random.RandomState(PUBLISHED_SEED).permutation(n) if shuffled else np.arange(n)
    return float(np.mean([metric(pred[rows], target[rows], {}) for rows in np.split(order, range(size, n, size))]))
