"""Predictors that learn nothing of how input and target hang together: the score that a trained model has to beat.

`PREDICTORS[name](train, test, output_shape)` returns predictions (n_test, *output_shape) in the form of a model's
output: logits for classes and labels, physical units for dense targets. Lazy splits are walked in batches; no predictor
holds all dense targets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from tasks.contract import ArraySplit, Split, targets_of
from tasks.metrics.dense import PAD, contacts

BATCH = 256
FAR = 20.0
"""Logit of a probability that is 0 or 1 for all purposes (2e-9)."""
WEISZFELD = 5
"""Steps of `median_field`, each a walk over the training targets. On the quick stand-ins a hundred gain 1 % at most."""
NEAR = 1e-6
"""Where the field meets a target, that target's weight would be infinite: its distance counts as this share of its size."""
PROTEINS = 256


def _rows(split: Split, size: int) -> Iterator[np.ndarray]:
    """The sample numbers of a split in batches, in order."""
    return (np.arange(start, min(start + size, len(split))) for start in range(0, len(split), size))


def _targets(split: Split, size: int) -> Iterator[tuple[np.ndarray, Mapping[str, np.ndarray]]]:
    """`y` and `extra` of a split in batches, in order."""
    return (targets_of(split, rows) for rows in _rows(split, size))


def _batch_size(output_shape: tuple[int, ...]) -> int:
    """Samples per batch such that one batch of targets stays near 32 MiB."""
    return int(np.clip((1 << 23) // max(1, int(np.prod(output_shape))), 1, BATCH))


def _repeat(one: np.ndarray, count: int) -> np.ndarray:
    """`one` as the prediction for every test sample, without copying it."""
    return np.broadcast_to(one.astype(np.float32), (count, *one.shape))


def mean(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """The mean training target at every point, leaving out what `ignore` marks (0 where everything is ignored)."""
    total, count = np.zeros(output_shape), np.zeros(output_shape)
    for given, extra in _targets(train, _batch_size(output_shape)):
        y = given.astype(np.float64)
        keep = 1.0 - extra["ignore"] if "ignore" in extra else np.ones_like(y)
        total += (y * keep).sum(0)
        count += keep.sum(0)
    return _repeat(total / np.maximum(count, 1), len(test))


def median_field(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """The one field c with the least mean of ‖y_i − c‖ / ‖y_i‖ over training: what no constant beats in a relative error.

    From the mean on, Weiszfeld's steps to the weighted geometric median: c = Σ w_i y_i / Σ w_i with
    w_i = 1 / (‖y_i‖ ‖y_i − c‖), none of which makes it worse. Targets that are zero everywhere are left out.
    """
    field = mean(train, train, output_shape)[0].astype(np.float64)
    for _ in range(WEISZFELD):
        total, weights = np.zeros(output_shape), 0.0
        for given, _ in _targets(train, _batch_size(output_shape)):
            y = given.astype(np.float64)
            size = _norm(y)
            far = np.maximum(_norm(y - field), NEAR * size)
            weight = np.divide(1.0, size * far, out=np.zeros_like(size), where=size > 0)
            total += np.einsum("n,n...->...", weight, y)
            weights += weight.sum()
        field = total / max(weights, np.finfo(float).tiny)
    return _repeat(field, len(test))


def _norm(y: np.ndarray) -> np.ndarray:
    return np.linalg.norm(y.reshape(len(y), -1), axis=1)


def contact_distance(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """The one distance with the least MAE_8 on training: the median of its pairs, each weighed by 1 / pairs of its protein.

    Of at most `PROTEINS` training proteins, evenly spaced: a protein is laid out anew whenever it is read.
    """
    found, weights = [], []
    for i in np.unique(np.linspace(0, len(train) - 1, PROTEINS).astype(int)):
        y, extra = targets_of(train, np.array([i]))
        inside = slice(PAD, PAD + int(extra["length"][0]))
        known = np.where(np.asarray(extra["ignore"][0, 0], bool), np.inf, y[0, 0])[inside, inside]
        pairs = known[contacts(known)]
        found.append(pairs)
        weights.append(np.full(len(pairs), 1 / max(len(pairs), 1)))
    distances, weight = np.concatenate(found), np.concatenate(weights)
    if not len(distances):
        raise ValueError("no training protein has a pair of residues within 8 Å and 24 or more apart in the sequence")
    order = np.argsort(distances)
    middle = np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)
    return _repeat(np.full(output_shape, distances[order][middle]), len(test))


def majority(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """Log of the training class frequencies for every sample: always decides for the most frequent class."""
    labels = train.labels
    if labels is None:
        raise ValueError("the majority class needs class labels; use label_prior for multi-label tasks")
    counts = np.bincount(labels, minlength=output_shape[0]).astype(np.float64)
    return _repeat(np.log(np.maximum(counts, 1e-9) / max(counts.sum(), 1)), len(test))


def label_prior(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """Logit of each label's training frequency for every sample."""
    prior = np.sum([y.sum(0, dtype=np.float64) for y, _ in _targets(train, BATCH)], axis=0) / max(len(train), 1)
    with np.errstate(divide="ignore"):
        return _repeat(np.clip(np.log(prior) - np.log1p(-prior), -FAR, FAR), len(test))


def persistence(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """The input itself, in the units of the file, where input and output have the same shape."""
    if isinstance(test, ArraySplit):
        out = test.x  # as stored: `batch` would give them out standardised
    else:
        out = np.concatenate([test.batch(rows, None).x for rows in _rows(test, _batch_size(output_shape))])
    if out.shape[1:] != tuple(output_shape):
        raise ValueError(f"persistence needs inputs shaped like the output {output_shape}, not {out.shape[1:]}")
    return out.astype(np.float32)


def input_mean(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """Each input's own mean over its points, channel by channel: what is left of a field that has settled."""
    x = persistence(train, test, output_shape)
    return np.broadcast_to(x.mean(axis=tuple(range(2, x.ndim)), keepdims=True, dtype=np.float64), x.shape)


def all_negative(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """A far negative logit everywhere: nothing is ever found."""
    return _repeat(np.full(output_shape, -FAR), len(test))


PREDICTORS: dict[str, Callable[[Split, Split, tuple[int, ...]], np.ndarray]] = {
    "mean": mean,
    "median_field": median_field,
    "contact_distance": contact_distance,
    "majority": majority,
    "label_prior": label_prior,
    "persistence": persistence,
    "input_mean": input_mean,
    "all_negative": all_negative,
}
ALSO = {"mean": ("persistence", "input_mean"), "all_negative": ("persistence",)}
"""What else a task is measured against that names this predictor, where its inputs have the shape of its targets. A
field that has settled is its input's mean (Burgers), and the training mean alone would not show it; a pixel that is to be
marked is a bright one (Cosmic)."""
BEST_CONSTANT = {
    "nrmse": "median_field",
    "nrmse_normalised": "median_field",
    "relative_l2": "median_field",
    "mae8": "contact_distance",
    "mae8_paper": "contact_distance",
}
"""The constant that is best for a metric on the training data, where it is not the one that tasks name: for an error
rate the majority class is, for a ranking all constants tie."""


def names_for(own: str, metric: str, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> tuple[str, ...]:
    """The predictors that apply to a task which names `own` and is scored by `metric`, `own` first."""
    best = (BEST_CONSTANT[metric],) if metric in BEST_CONSTANT else ()
    same_shape = tuple(input_shape) == tuple(output_shape)
    return tuple(dict.fromkeys((own, *best, *(ALSO.get(own, ()) if same_shape else ()))))
