"""The metrics of PSICOV, FSD50K and DeepSEA on random predictions of the size of the published test sets."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.metrics import METRICS


def psicov():
    """150 maps of 512², distances in Å, of proteins of 50 to 490 residues."""
    r = np.random.default_rng(0)
    shape = (150, 1, 512, 512)
    target = r.uniform(3, 25, shape).astype(np.float32)
    return target + r.normal(size=shape).astype(np.float32), target, {"length": r.integers(50, 491, len(target))}


def scores(n, labels, share):
    """`n` × `labels` scores that know something, with a share of positives."""
    r = np.random.default_rng(0)
    target = (r.random((n, labels)) < share).astype(np.float32)
    return target + r.normal(size=target.shape).astype(np.float32), target, {}


CASES = {
    "mae8": psicov,
    "one_minus_map": lambda: scores(10_231, 200, 0.02),
    "one_minus_auroc": lambda: scores(149_400, 36, 0.05),
}
"""Metric -> predictions, targets, side arrays: PSICOV, FSD50K, DeepSEA."""


@pytest.mark.parametrize("name", CASES)
def test_metric_at_true_size(benchmark, name):
    """One metric over a whole test set."""
    pred, target, extra = CASES[name]()
    value = benchmark.pedantic(lambda: METRICS[name](pred, target, extra), rounds=3, iterations=1, warmup_rounds=1)
    assert np.isfinite(value)
    benchmark.extra_info |= {"shape": list(target.shape), "value": value}
