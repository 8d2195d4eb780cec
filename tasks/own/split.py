"""Who trains, validates and tests in a user's own data: as the file says, else drawn with the benchmark's seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tasks.contract import DataError
from tasks.files.splits import VALIDATION_SEED
from tasks.own.arrays import PARTS, Arrays


def rows_of(path: Path, arrays: Arrays) -> tuple[dict[str, np.ndarray], str]:
    """Sorted sample numbers of train, val and test, and the policy in words.

    A tenth (at least one sample) each validates and tests. Groups stay whole; classes are spread evenly where no group
    forbids it. DataError where a class would have no training sample, or three groups are not to be had.
    """
    if arrays.split is not None:
        rows, policy = {part: np.flatnonzero(arrays.split == part) for part in PARTS}, "as the file's own split says"
        _refuse_shared_groups(path, arrays, rows)
    elif arrays.group is not None:
        rows, policy = (
            _by_group(path, arrays.group),
            "whole groups, drawn with a fixed seed: a tenth each, val and test",
        )
    else:
        rows, policy = _by_sample(arrays), "drawn with a fixed seed, classes evenly: a tenth each validates and tests"
    if arrays.classes:
        absent = np.setdiff1d(np.arange(len(arrays.classes)), arrays.y[rows["train"]])
        if len(absent):
            raise DataError(path, f"no training sample of class {arrays.classes[absent[0]]}", "every class in training",
                            "Give more samples of it, drop it, or say the split yourself.")  # fmt: skip
    return rows, policy


def _by_sample(arrays: Arrays) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(VALIDATION_SEED)
    strata = arrays.y if arrays.classes else np.zeros(len(arrays.x), np.int64)
    place = np.full(len(strata), "train")
    tenth = max(1, round(len(strata) / 10))
    # Within each class in random order; every class gives in turn, so that each is in a part by its share.
    order = rng.permutation(len(strata))
    order = order[np.argsort(strata[order], kind="stable")]
    step = len(order) / tenth
    for part, shift in (("test", 0.0), ("val", 0.5)):
        place[order[((np.arange(tenth) + shift) * step).astype(np.int64)]] = part
    return {part: np.flatnonzero(place == part) for part in PARTS}


def _by_group(path: Path, group: np.ndarray) -> dict[str, np.ndarray]:
    names, member = np.unique(group.astype(str), return_inverse=True)
    if len(names) < len(PARTS):
        raise DataError(path, f"{len(names)} group(s)", "three or more, for three parts share none",
                        "Leave group out, or say the split yourself.")  # fmt: skip
    sizes, rng = np.bincount(member), np.random.default_rng(VALIDATION_SEED)
    part_of = np.full(len(names), "train")
    waiting = list(rng.permutation(len(names)))
    for part in ("test", "val"):
        taken = 0
        # Always one group, then more until a tenth is reached; training keeps at least one.
        while len(waiting) > 1 + (part == "test") and (taken == 0 or taken < len(group) / 10):
            chosen = waiting.pop()
            part_of[chosen], taken = part, taken + sizes[chosen]
    return {part: np.flatnonzero(part_of[member] == part) for part in PARTS}


def _refuse_shared_groups(path: Path, arrays: Arrays, rows: dict[str, np.ndarray]) -> None:
    if arrays.group is None:
        return
    names = {part: set(arrays.group[index].astype(str)) for part, index in rows.items()}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        if shared := sorted(names[one] & names[other]):
            raise DataError(path, f"group {shared[0]} in {one} and in {other}", "each group in one part",
                            "Mend split, or leave group out.")  # fmt: skip
