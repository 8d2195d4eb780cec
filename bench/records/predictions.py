"""Predictions beside a record: what its scores were computed from, so that anybody can compute them again.

One compressed file of plain arrays: `last` and, where validation chose an earlier epoch, `selected`, (n, *output) in the
order of the test split, in the type and the units in which they were scored; `target`, the fingerprint of the targets that
they were scored against. The targets themselves are the task's, and stay there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.records.arrays import write_arrays
from tasks.files.arrays import read_arrays

SUFFIX = ".predictions.npz"


@dataclass(frozen=True)
class Predictions:
    """Of one cell, on its test split."""

    last: np.ndarray
    """After the last epoch."""
    selected: np.ndarray | None
    """Of the epoch that validation chose; None where that is the last one, or where the protocol chooses none."""
    target: str
    """`fingerprint` of the targets."""

    @property
    def reported(self) -> np.ndarray:
        """Those behind the record's score."""
        return self.last if self.selected is None else self.selected


def fingerprint(target: np.ndarray, extra: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over targets and side arrays: names, types, shapes and every byte."""
    digest = hashlib.sha256()
    for name, array in (("target", target), *sorted(extra.items())):
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write(path: Path, kept: Predictions) -> None:
    """Write the file, whole or not at all."""
    arrays = {"last": kept.last, "target": np.array(kept.target)}
    if kept.selected is not None:
        arrays["selected"] = kept.selected
    write_arrays(path, arrays)


def read(path: Path) -> Predictions:
    """What `write` wrote. FileNotFoundError where there is none, ValueError with the reason for any other file."""
    arrays = read_arrays(path)
    if not {"last", "target"} <= arrays.keys() <= {"last", "target", "selected"}:
        raise ValueError(f"holds {', '.join(sorted(arrays)) or 'nothing'}, expected last, target and perhaps selected")
    selected = arrays.get("selected")
    for array in (arrays["last"], *([] if selected is None else [selected])):
        if array.dtype.kind != "f" or array.ndim < 1:
            raise ValueError(f"its predictions are {array.dtype} of shape {array.shape}, expected numbers with a point")
    return Predictions(arrays["last"], selected, str(arrays["target"]))
