"""What launchers hand on and give back, as plain data: a cell to run, what the cells of a run share, how each one went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.plan import Cell, Places
from bench.records.record import Record
from bench.records.store import Store
from bench.words import duration

ELSEWHERE = ("taken", "skipped")
"""Outcomes of cells that were not run here: somebody else runs them or has run them."""


@dataclass(frozen=True)
class Work:
    """A cell to run, and what the store held of it when that was decided."""

    cell: Cell
    before: str | None = None
    """`end` of the record that is to be replaced (a retry), or None. Any other record means: it was done since."""

    def answered(self, record: Record | None) -> bool:
        """Whether this record, the cell's in the store now, is another than the one that was to be replaced."""
        return record is not None and record["end"] != self.before

    def to_dict(self) -> dict[str, Any]:
        return {"cell": self.cell.to_dict(), "before": self.before}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Work:
        return cls(Cell.from_dict(plain["cell"]), plain["before"])


@dataclass(frozen=True)
class Job:
    """What every cell of a run shares, as plain data."""

    data_dir: str
    results_dir: str
    runtime: Mapping[str, Any]
    command: str = ""
    """What the user typed, for the records; a worker's own command line says nothing."""
    stage: str = ""
    """Folder of the node's own disk for copies of the data files (see `stage`); empty: none."""
    slurm: str = ""
    """Slurm's id of the job that runs the cells (`123_4`), or empty."""

    @classmethod
    def of(cls, places: Places, runtime: Mapping[str, Any], command: str = "", stage: str = "") -> Job:
        """A job with absolute paths, since a process on another machine starts in a folder of its own choice."""
        folders = str(places.data_dir.absolute()), str(places.results_dir.absolute())
        return cls(*folders, dict(runtime), command=command, stage=stage)

    @property
    def device(self) -> str:
        """What was asked for: `auto`, `cpu`, `cuda`, or a card by its number."""
        return str(self.runtime.get("trainer.device", "auto"))

    @property
    def on_cpu(self) -> bool:
        """Whether no cell may touch a GPU."""
        return self.device == "cpu"

    @property
    def store(self) -> Store:
        return Store(self.results_dir)

    def places(self) -> Places:
        """The folders of this job."""
        return Places(Path(self.data_dir), Path(self.results_dir))


@dataclass(frozen=True)
class Result:
    """How one cell went here."""

    cell: Cell
    outcome: str
    """A record's status; `taken` (somebody else runs it); `skipped` (somebody has run it, or nobody could); `unwritten`
    (the machine's fault: no record)."""
    message: str = ""
    record: Record | None = None


@dataclass(frozen=True)
class Outcome:
    """What a run did: one result per cell that it had to do with, but for those that Slurm has yet to run."""

    results: Sequence[Result] = ()

    @property
    def records(self) -> list[Record]:
        """Records that these cells left."""
        return [r.record for r in self.results if r.record is not None and r.outcome not in ELSEWHERE]

    @property
    def skipped(self) -> list[Result]:
        """Cells that were not run here: somebody else runs them or has run them."""
        return [r for r in self.results if r.outcome in ELSEWHERE]

    @property
    def failed(self) -> list[Result]:
        """Cells that did not end well here."""
        return [r for r in self.results if r.outcome not in ("done", *ELSEWHERE)]

    @property
    def unfinished(self) -> list[Result]:
        """Cells that are not done: those that failed, and those elsewhere that nobody has done yet."""
        return [r for r in self.results if r.record is None or r.record["status"] != "done"]


def works(cells: Sequence[Cell], store: Store) -> list[Work]:
    """The cells with what the store holds of each now."""
    out = []
    for cell in cells:
        record = store.get(cell.key())
        out.append(Work(cell, record["end"] if record else None))
    return out


def ended(cell: Cell, record: Record) -> Result:
    """The result that a record stands for."""
    if record["status"] == "done":
        return Result(cell, "done", score_line(record), record)
    error = record["error"] or {}
    return Result(cell, record["status"], f"{error.get('type', '')}: {error.get('message', '')}".strip(": "), record)


def score_line(record: Record) -> str:
    """What came out of a finished cell: `nrmse 0.777 (trivial 1), 44 s`."""
    unit = "" if record["unit"] == "1" else f" {record['unit']}"
    score = "not finite" if record["score"] is None else f"{record['score']:.3g}{unit}"
    trivial = record["trivial"].get("score")
    beside = "" if trivial is None else f" (trivial {trivial:.3g}{unit})"
    seconds = record["seconds_total"]
    return f"{record['metric']} {score}{beside}" + ("" if seconds is None else f", {duration(seconds)}")
