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
from tasks.files.arrays import read_arrays

CurvesOf = Callable[[Record], Mapping[str, Any]]
"""Gives the losses and scores by epoch beside a record (`bench.records.layout.Curves`), {} if there are none."""
ArraysOf = Callable[[Record], Mapping[str, np.ndarray]]
"""Gives the arrays of the t-SNE beside a record (see `bench.analysis.summary`), {} if there are none."""


@dataclass(frozen=True)
class Evidence:
    """Records with their sidecars. Reading sidecars may add to `problems`."""

    records: Sequence[Record]
    curves: CurvesOf = lambda record: {}
    arrays: ArraysOf = lambda record: {}
    folder: Path | str = "results"
    """Where the records are, for the commands on the page."""
    problems: Sequence[Problem] = ()
    """Files that cannot be read."""

    @staticmethod
    def of(store: Store, records: Sequence[Record], problems: list[Problem]) -> Evidence:
        """The records of a store with the files beside them; those that cannot be read join `problems`, each once."""

        def arrays(record: Record) -> dict[str, np.ndarray]:
            found = read_arrays(store.sidecar(record, ".npz"), ("tsne_", "source_"))
            check_tsne(found)
            return found

        def reading(read: Callable[[Record], dict[str, Any]], suffix: str) -> Callable[[Record], dict[str, Any]]:
            def read_or_set_aside(record: Record) -> dict[str, Any]:
                try:
                    return read(record)
                except FileNotFoundError:
                    return {}
                except (ValueError, OSError) as error:
                    if (problem := Problem(store.sidecar(record, suffix), str(error))) not in problems:
                        problems.append(problem)
                    return {}

            return read_or_set_aside

        return Evidence(records, reading(store.curves, ".curves.json"), reading(arrays, ".npz"), store.folder, problems)


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
