"""What published cross-modal code does to the CFD files before it trains, for protocol `paper`, flaws included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tasks.files.pairs import Loaded
from tasks.files.splits import split

EPS = 1e-5
"""Added to the standard deviation, which divides by n - 1."""


def end_to_end(loaded: Loaded) -> Loaded:
    """The fields (n, C, L) laid one after the other, (n, 1, C L)."""

    def flat(a: np.ndarray) -> np.ndarray:
        return a.reshape(len(a), 1, -1)

    notes = {**loaded.notes, "fields": "laid end to end"}
    return replace(loaded, x=flat(loaded.x), y_train=flat(loaded.y_train), y_test=flat(loaded.y_test), notes=notes)


def normalise_by_inputs(loaded: Loaded, policy: str, limit: int | None) -> Loaded:
    """Inputs and targets z-scored per point by the statistics of the training inputs; never undone."""
    train = split(policy, len(loaded.x), validation=False)["train"][:limit]
    kept = "inputs and targets z-scored per point by the training inputs' statistics; scores are in that space"
    return _normalised(loaded, loaded.x[train], loaded.x[train], kept)


def normalise_each_frame(loaded: Loaded, first: int) -> Loaded:
    """Inputs and targets z-scored per point, each by the `first` samples of the file (train or test); never undone."""
    kept = f"inputs and targets z-scored per point by the first {first} samples of the file; scores are in that space"
    return _normalised(loaded, loaded.x[:first], loaded.y_train[:first], kept)


def _normalised(loaded: Loaded, for_x: np.ndarray, for_y: np.ndarray, kept: str) -> Loaded:
    def score(a: np.ndarray, by: np.ndarray) -> np.ndarray:
        return ((a - by.mean(axis=0)) / (by.std(axis=0, ddof=1) + EPS)).astype(np.float32)

    return replace(
        loaded, x=score(loaded.x, for_x), y_train=score(loaded.y_train, for_y), y_test=score(loaded.y_test, for_y),
        notes={**loaded.notes, "kept_defects": [kept]},
    )  # fmt: skip
