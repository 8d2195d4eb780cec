"""Predictors that learn nothing of how input and target hang together: the score that a trained model has to beat.

`PREDICTORS[name](train, test, output_shape)` returns predictions (n_test, *output_shape) in the form of a model's
output: logits for classes and labels, physical units for dense targets. Lazy splits are walked in batches; no predictor
holds all dense targets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tasks.contract import ArraySplit, Split

BATCH = 256
FAR = 20.0
"""Logit of a probability that is 0 or 1 for all purposes (2e-9)."""


def _batches(split: Split, size: int):
    """The split's batches, not augmented, in order."""
    for start in range(0, len(split), size):
        yield split.batch(np.arange(start, min(start + size, len(split))), None)


def _batch_size(output_shape: tuple[int, ...]) -> int:
    """Samples per batch such that one batch of targets stays near 32 MiB."""
    return int(np.clip((1 << 23) // max(1, int(np.prod(output_shape))), 1, BATCH))


def _repeat(one: np.ndarray, count: int) -> np.ndarray:
    """`one` as the prediction for every test sample, without copying it."""
    return np.broadcast_to(one.astype(np.float32), (count, *one.shape))


def mean(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """The mean training target at every point, leaving out what `ignore` marks (0 where everything is ignored)."""
    total, count = np.zeros(output_shape), np.zeros(output_shape)
    for batch in _batches(train, _batch_size(output_shape)):
        y = batch.y.astype(np.float64)
        keep = 1.0 - batch.extra["ignore"] if "ignore" in batch.extra else np.ones_like(y)
        total += (y * keep).sum(0)
        count += keep.sum(0)
    return _repeat(total / np.maximum(count, 1), len(test))


def majority(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """Log of the training class frequencies for every sample: always decides for the most frequent class."""
    labels = train.labels
    if labels is None:
        raise ValueError("the majority class needs class labels; use label_prior for multi-label tasks")
    counts = np.bincount(labels, minlength=output_shape[0]).astype(np.float64)
    return _repeat(np.log(np.maximum(counts, 1e-9) / max(counts.sum(), 1)), len(test))


def label_prior(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """Logit of each label's training frequency for every sample."""
    stored = train.y if isinstance(train, ArraySplit) else getattr(train, "targets", None)
    targets = [stored] if stored is not None else [batch.y for batch in _batches(train, BATCH)]
    prior = np.sum([t.sum(0, dtype=np.float64) for t in targets], axis=0) / max(len(train), 1)
    with np.errstate(divide="ignore"):
        return _repeat(np.clip(np.log(prior) - np.log1p(-prior), -FAR, FAR), len(test))


def persistence(train: Split, test: Split, output_shape: tuple[int, ...]) -> np.ndarray:
    """The input itself, in the units of the file, where input and output have the same shape."""
    # An in-memory split keeps its inputs as stored; `batch` would give them out standardised.
    stored = test.x if isinstance(test, ArraySplit) else None
    out = np.concatenate([b.x for b in _batches(test, _batch_size(output_shape))]) if stored is None else stored
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
    "majority": majority,
    "label_prior": label_prior,
    "persistence": persistence,
    "input_mean": input_mean,
    "all_negative": all_negative,
}
ALSO = {"mean": ("persistence", "input_mean")}
"""What else a task is measured against that names this predictor, where its inputs have the shape of its targets. A
field that has settled is its input's mean (Burgers), and the training mean alone would not show it."""


def names_for(own: str, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> tuple[str, ...]:
    """The predictors that apply to a task which names `own`, that one first."""
    return (own, *(ALSO.get(own, ()) if tuple(input_shape) == tuple(output_shape) else ()))
