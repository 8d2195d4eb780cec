"""Which samples are for training, validation and test, by named policies, and what the training samples standardise by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tasks.contract import Request, Split

VALIDATION_SEED = 360
"""Seed of the validation split; a constant of the benchmark, not of a cell, so that all cells share one split."""
TEST_SHARE = 0.1


def test_rows(policy: str, n: int) -> np.ndarray:
    """`pdebench-first10`: the first int(0.1 n) samples (flat files); `pdebench-last10`: those from int(0.9 n) on (grouped).

    Cut as PDEBench and ORCA cut, so that of 25 samples the first way tests on 2 and the second on 3; but one at least.
    """
    if policy == "pdebench-first10":
        return np.arange(max(1, int(n * TEST_SHARE)))
    if policy == "pdebench-last10":
        return np.arange(min(n - 1, int(n * (1 - TEST_SHARE))), n)
    raise ValueError(f"split policy {policy!r}: pdebench-first10 or pdebench-last10")


def split(policy: str, n: int, validation: bool) -> dict[str, np.ndarray]:
    """Sorted sample numbers of `train`, `val` and `test`; `val` (a seeded tenth of the rest) only with `validation`."""
    test = test_rows(policy, n)
    rest = np.setdiff1d(np.arange(n), test)
    if not validation:
        return {"train": rest, "test": test}
    val = np.sort(np.random.default_rng(VALIDATION_SEED).choice(rest, max(1, len(rest) // 10), replace=False))
    return {"train": np.setdiff1d(rest, val), "val": val, "test": test}


def drawn(rows: np.ndarray, request: Request, labels: np.ndarray | None = None) -> np.ndarray:
    """Those of the sorted training `rows` that `request.limit` leaves, sorted and drawn by `request.seed`; else all.

    With the class `labels` (n,) of all samples, classes stay in proportion and each that there is comes at least once;
    with a limit below their number, each at most once. A smaller limit of the same seed draws some of a larger one's.
    """
    if request.limit is None or request.limit >= len(rows):
        return rows
    random = np.random.default_rng([VALIDATION_SEED, request.seed]).permutation(len(rows))
    if labels is None:
        return np.sort(rows[random[: request.limit]])
    # One order for every limit. The k-th sample of a class of n stands at (k + 1/2) / n, so that a limit takes of each
    # class what its share rounds to, but its first one stands before all others.
    place, mixed = np.empty(len(rows)), labels[rows[random]]
    for name in np.unique(mixed):
        own = np.flatnonzero(mixed == name)
        place[own] = (np.arange(len(own)) + 0.5) / len(own)
        place[own[0]] = 0
    return np.sort(rows[random[np.argsort(place, kind="stable")[: request.limit]]])


def subset_note(request: Request, train: Split) -> dict[str, Any]:
    """What the notes of a task say of the rule of `drawn`; nothing without a limit."""
    if request.limit is None:
        return {}
    classes = "" if train.labels is None else ", classes in proportion and each at least once where the limit allows it"
    return {"training_subset": f"at most {request.limit} samples drawn by seed {request.seed}{classes}"}


def indices_hash(parts: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over the names and sample numbers of a split, to see at a glance that two records used the same one."""
    digest = hashlib.sha256()
    for name, rows in sorted(parts.items()):
        digest.update(name.encode() + np.asarray(rows, "<i8").tobytes())
    return digest.hexdigest()


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per channel, (C, 1, ...) float32, for values (n, C, *space); no zero deviation."""
    axes = (0, *range(2, values.ndim))
    mean, std = (f(axis=axes, dtype=np.float64, keepdims=True)[0] for f in (values.mean, values.std))
    std = np.where(std > 1e-12 * np.maximum(1, abs(mean)), std, 1.0)
    return mean.astype(np.float32), std.astype(np.float32)
