"""Checks that every analysis makes on its features and labels, so that a wrong array ends in one clear message."""

from __future__ import annotations

import numpy as np

from bench.errors import BenchError, Exit


class AnalysisError(BenchError):
    """Features or labels on which an analysis has no meaning: what was given, what is needed, what to do."""

    code = Exit.SOME_FAILED


class NotKept(BenchError):
    """A finished cell did not keep what an analysis needs: it must run again."""

    code = Exit.SOME_FAILED


def check_features(features: np.ndarray, what: str = "features") -> np.ndarray:
    """`features` as a floating (n, d) array, float16 widened to float32; AnalysisError if empty or not finite."""
    array = np.asarray(features)
    if array.ndim != 2 or 0 in array.shape:
        raise AnalysisError(
            f"{what} have shape {array.shape}, expected (samples, dimensions) with at least one of each"
        )
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise AnalysisError(
            f"{what}: {int(bad.sum())} of {len(array)} rows hold NaN or infinity (first: row {int(bad.argmax())}); "
            "the encoder diverged or float16 overflowed, look at the cell's loss curve"
        )
    return array


def check_labels(labels: np.ndarray, n: int, what: str = "labels") -> np.ndarray:
    """`labels` as (n,) int64 with at least two classes and no fewer samples than classes, or AnalysisError."""
    array = np.asarray(labels)
    if array.shape != (n,) or not np.issubdtype(array.dtype, np.integer):
        raise AnalysisError(
            f"{what} are {array.dtype} of shape {array.shape}, expected {n} whole numbers, one per row of features"
        )
    classes = len(np.unique(array))
    if classes < 2:
        raise AnalysisError(f"{what} hold {classes} class, expected at least 2: use source data with several classes")
    return array.astype(np.int64)
