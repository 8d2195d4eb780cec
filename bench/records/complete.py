"""Whether what a record names beside it is there and whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from bench.records import predictions
from bench.records.store import Store
from tasks.files.arrays import read_arrays

READERS: dict[str, Callable[[Store, dict[str, Any], Path], Any]] = {
    "curves": lambda store, record, path: store.curves(record),
    "arrays": lambda store, record, path: read_arrays(path),
    "predictions": lambda store, record, path: predictions.read(path),
}
"""Kind of file -> what reads it whole."""


def damaged_sidecars(store: Store, records: Iterable[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], Path, str]]:
    """(record, file, what is the matter) for every file that a record names and that is not there or not readable."""
    for record in records:
        for kind, name in record["sidecars"].items():
            if name is None:
                continue
            path = store.folder / name
            if Path(name).name != name:
                yield record, path, "its record names it outside of the store"
            elif not path.is_file():
                yield record, path, "its record names it, and it is not there"
            elif kind in READERS:
                try:
                    READERS[kind](store, record, path)
                except (ValueError, OSError) as error:
                    yield record, path, str(error)
