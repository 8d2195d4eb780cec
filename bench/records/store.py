"""A folder of records: one JSON file per cell, written atomically, readable for ever. Knows nothing of training.

Layout below the results folder:

    <task>.<method>.<backbone>.s<seed>.<id>.json          the record
    <task>.<method>.<backbone>.s<seed>.<id>.curves.json   losses and scores by epoch
    <task>.<method>.<backbone>.s<seed>.<id>.npz           arrays of the analyses (features, coordinates)
    <task>.<method>.<backbone>.s<seed>.<id>.predictions.npz   predictions on the test split, where they were kept
    <task>.<method>.<backbone>.s<seed>.<id>.safetensors   weights, only where `analysis.keep_weights` asked for them
    work/<id>/                                            checkpoints, claim, log of a cell that has not ended

The folder is the only state: no index can disagree with it. Files that cannot be read are set aside by name, never fatal.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import SetupError
from bench.records.layout import Curves
from bench.records.record import Record, Shared, check
from bench.records.schema import checker
from tasks.files.atomic import write_atomically
from tasks.files.regular import read_file

SIDECARS = (".curves.json", ".npz", ".predictions.npz", ".safetensors")
LARGEST_RECORD, LARGEST_CURVES = 16 << 20, 256 << 20
"""Bytes. A record is some 10 kB, curves some 150 bytes an epoch."""


def default_dir() -> Path:
    """`$BENCH_RESULTS`, or `results`."""
    return Path(os.environ.get("BENCH_RESULTS") or "results").expanduser()


def to_json(value: Any) -> bytes:
    """`value` as readable JSON. Non-finite numbers are refused: a record holds None instead, and says why.

    Bytes of a path that are no text come back from it as they were: they are escaped as JSON escapes them.
    """
    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode(errors="backslashreplace")


@dataclass(frozen=True)
class Problem:
    """A file in a store that is not a readable record, and why."""

    path: Path
    reason: str


class Store:
    """The records below one folder."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)

    @staticmethod
    def stem(cell: Mapping[str, Any]) -> str:
        """File name without suffix, from anything with task, method, backbone, seed and id."""
        return "{task}.{method}.{backbone}.s{seed}.{id}".format(**cell)

    def path(self, cell: Mapping[str, Any]) -> Path:
        """Where the record of `cell` is or will be."""
        return self.folder / f"{self.stem(cell)}.json"

    def work(self, cell_id: str) -> Path:
        """The folder of a cell that has not ended."""
        return self.folder / "work" / cell_id

    def sidecar(self, cell: Mapping[str, Any], suffix: str) -> Path:
        """Path of `.curves.json` or `.npz` beside the record."""
        return self.folder / f"{self.stem(cell)}{suffix}"

    def write(self, record: Record, curves: Mapping[str, Any] | None = None) -> Path:
        """Check and write a record; its curves go first, so that a record never points to a missing file."""
        written = to_json(record)
        check(json.loads(written))  # what a reader will see: tuples as lists, numbers of any library as plain ones
        if curves is not None:
            write_atomically(self.sidecar(record, ".curves.json"), to_json(curves))
        path = self.path(record)
        write_atomically(path, written)
        return path

    def read(self, path: Path, shared: Shared | None = None) -> Record:
        """The record in `path`; ValueError with the reason if it is not one. `shared` saves memory over many."""
        record = _json(read_file(path, LARGEST_RECORD), "delete it to rerun the cell")
        check(record, shared)
        expected = self.stem(record)
        if path.name != f"{expected}.json":
            raise ValueError(f"is called {path.name} but holds the record of {expected}")
        return record

    def get(self, cell: Mapping[str, Any]) -> Record | None:
        """The record of `cell`, or None if there is none or it cannot be read."""
        try:
            return self.read(self.path(cell))
        except (FileNotFoundError, ValueError):
            return None  # `scan` and `bench doctor` report what cannot be read; the cell counts as missing and is run again

    def curves(self, record: Record) -> dict[str, Any]:
        """Losses and scores by epoch of a record; {} if it has none, ValueError if what is there is something else."""
        try:
            curves = _json(read_file(self.sidecar(record, ".curves.json"), LARGEST_CURVES), "delete it")
        except FileNotFoundError:
            return {}
        checker(Curves)(curves, "curves")
        return curves

    def files(self) -> Iterator[Path]:
        """Every file that should be a record."""
        return (self.folder / name for name in self._names())

    def _names(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        with os.scandir(self.folder) as entries:
            names = sorted(e.name for e in entries if e.name.endswith(".json") and not e.name.startswith("."))
        return [name for name in names if not name.endswith(SIDECARS)]

    def scan(
        self, keys: Collection[str] | None = None, names: Collection[str] | None = None
    ) -> tuple[list[Record], list[Problem]]:
        """All records, and all files that are not readable ones; with `names` only of files that are called so.

        With `keys` a record is reduced to them: of many thousands, that decides the memory. What several records have in
        common (settings, packages, ...) is one object in all of them, so nothing in them may be changed.
        """
        records, problems, shared = [], [], Shared()
        for name in self._names():
            if names is not None and name not in names:
                continue
            path = self.folder / name
            try:
                record = self.read(path, shared)
            except (ValueError, OSError) as error:
                problems.append(Problem(path, str(error)))
                continue
            records.append(record if keys is None else _reduced(record, keys))
        return records, problems

    def delete(self, record: Mapping[str, Any]) -> None:
        """Remove a record with everything that belongs to it."""
        for suffix in (".json", *SIDECARS):
            (self.folder / f"{self.stem(record)}{suffix}").unlink(missing_ok=True)
        shutil.rmtree(self.work(record["id"]), ignore_errors=True)

    def ensure_writable(self, need_bytes: int = 64 << 20) -> None:
        """Raise SetupError before any work starts if records and `need_bytes` of checkpoints could not be written here."""
        ensure_writable(self.folder, "results folder", "--results-dir")
        free = shutil.disk_usage(self.folder).free
        if free < need_bytes:
            raise SetupError(
                f"results folder {self.folder} has {free >> 20} MiB free, checkpoints and records need about "
                f"{need_bytes >> 20} MiB: free some space or choose another folder with --results-dir"
            )


def _reduced(record: Record, keys: Collection[str]) -> Record:
    """A record with some of its keys; of an error the traceback and the log are left out, too."""
    kept = {key: record[key] for key in keys}
    if kept.get("error"):
        kept["error"] = {name: text for name, text in record["error"].items() if name in ("type", "message")}
    return kept


def _refuse(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


STRICT = json.JSONDecoder(parse_constant=_refuse)


def _json(data: bytes, cure: str) -> Any:
    """`data` as JSON, strictly: NaN and infinity are none. ValueError with the reason, and what to do, if it is not."""

    try:
        return STRICT.decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error}): truncated or edited; {cure}") from None


def ensure_writable(folder: Path, what: str, option: str) -> None:
    """Raise SetupError if no file can be written in `folder`, which is made if need be; `option` chooses another."""
    probe = folder / f".probe.{os.getpid()}"
    try:
        write_atomically(probe, b"x" * 4096)
        probe.unlink()
    except OSError as error:
        raise SetupError(
            f"{what} {folder} cannot be written ({error.strerror}): choose another with {option}"
        ) from None
