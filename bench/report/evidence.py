"""What a page is made of: records, and what lies beside them, read when a page needs it.

A file that is not what it should be is set aside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.records.record import Record
from bench.records.store import Problem, Store
from bench.search.space import is_trial
from tasks.files.arrays import read_arrays

CurvesOf = Callable[[Record], Mapping[str, Any]]
"""Gives the curves beside a record, {} if there are none."""
ArraysOf = Callable[[Record], Mapping[str, np.ndarray]]
"""Gives the arrays beside a record, {} if there are none."""


def _nothing(record: Record) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Evidence:
    """Records with their sidecars. Reading sidecars may add to `problems`."""

    records: Sequence[Record]
    curves: CurvesOf = _nothing
    arrays: ArraysOf = _nothing
    folder: Path | str = "results"
    """Where the records are, for the commands on the page."""
    problems: Sequence[Problem] = ()
    """Files that cannot be read."""
    trials: Sequence[Record] = ()
    """Records of trials of searches, which are among no results."""

    @staticmethod
    def of(store: Store, records: Sequence[Record], problems: list[Problem]) -> Evidence:
        """The records of a store with the files beside them."""
        beside = Sidecars(store, problems)
        trials = [record for record in records if is_trial(record)]
        results = [record for record in records if not is_trial(record)]
        return Evidence(results, beside.curves, beside.arrays, store.folder, problems, trials)


class Sidecars:
    """Curves and arrays of the records of a store. Files that cannot be read join `problems`, each once."""

    def __init__(self, store: Store, problems: list[Problem]):
        self._store, self._problems = store, problems

    def curves(self, record: Record) -> dict[str, Any]:
        """Losses and scores by epoch, as `bench.records.layout.Curves` has them; {} if there are none."""
        try:
            return self._store.curves(record)
        except (ValueError, OSError) as error:
            return self._set_aside(record, ".curves.json", error)

    def arrays(self, record: Record) -> dict[str, np.ndarray]:
        """The arrays of the t-SNE (see `bench.analysis.summary`), which fit each other; {} if there are none."""
        try:
            arrays = read_arrays(self._store.sidecar(record, ".npz"), ("tsne_", "source_"))
            check_tsne(arrays)
            return arrays
        except FileNotFoundError:
            return {}
        except (ValueError, OSError) as error:
            return self._set_aside(record, ".npz", error)

    def _set_aside(self, record: Record, suffix: str, error: Exception) -> dict[str, Any]:
        problem = Problem(self._store.sidecar(record, suffix), str(error))
        if problem not in self._problems:
            self._problems.append(problem)
        return {}


def check_tsne(arrays: dict[str, np.ndarray]) -> None:
    """ValueError if there are t-SNE coordinates whose rows, labels or names of classes do not fit them."""
    if "tsne_rows" not in arrays:
        return
    kinds = {"tsne_rows": "iu", "source_labels": "iu", "source_test": "b", "source_classes": "U"}
    kinds |= {"tsne_pretrained": "f", "tsne_last": "f"}
    for name, kind in kinds.items():
        if name not in arrays or arrays[name].dtype.kind not in kind:
            raise ValueError(f"has no array {name} of kind {kind}")
    rows, labels, test, classes = (
        arrays[name] for name in ("tsne_rows", "source_labels", "source_test", "source_classes")
    )
    if not all(map(str.isprintable, map(str, classes.ravel()))):
        raise ValueError("a name of its classes has control characters")
    if {a.ndim for a in (rows, labels, test, classes)} != {1} or len(labels) != len(test):
        raise ValueError("its rows, labels and classes are no lists of one length")
    for indices, end in ((rows, int(test.sum())), (labels, len(classes))):
        if len(indices) and not 0 <= indices.min() <= indices.max() < end:
            raise ValueError("a row or label lies outside of what it counts")
    for name in ("tsne_pretrained", "tsne_last"):
        if arrays[name].shape != (len(rows), 2) or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is no finite pair of coordinates for each row")
