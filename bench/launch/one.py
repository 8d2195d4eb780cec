"""One cell, by whatever launcher: claim it, see whether it is still to be done, run it, give it back."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import faults
from bench.launch.claim import Claim, ClaimLost, Held, acquire, replace_quickly
from bench.launch.progress import Progress, Reporter
from bench.launch.stage import staged
from bench.plan import Cell, Places
from bench.records.record import Record
from bench.records.store import Store
from bench.words import duration

RUNNER = "bench.cell.story"
"""Module with `run` and `failure_record`; tests put a quick one in its place."""


@dataclass(frozen=True)
class Work:
    """A cell to run, and what the store held of it when that was decided."""

    cell: Cell
    before: str | None = None
    """`end` of the record that is to be replaced (a retry), or None. Any other record means: it was done since."""

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
    runner: str = RUNNER
    command: str = ""
    """What the user typed, for the records; a worker's own command line says nothing."""
    stage: str = ""
    """Folder of the node's own disk for copies of the data files (see `stage`); empty: none."""

    @classmethod
    def of(cls, places: Places, runtime: Mapping[str, Any], command: str = "", stage: str = "") -> Job:
        """A job with absolute paths, since a process on another machine starts in a folder of its own choice."""
        folders = str(places.data_dir.absolute()), str(places.results_dir.absolute())
        return cls(*folders, dict(runtime), command=command, stage=stage)

    @property
    def on_cpu(self) -> bool:
        """Whether no cell may touch a GPU."""
        return self.runtime.get("trainer.device") == "cpu"

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


def works(cells: Sequence[Cell], store: Store) -> list[Work]:
    """The cells with what the store holds of each now."""
    out = []
    for cell in cells:
        record = store.get(cell.key())
        out.append(Work(cell, record["end"] if record else None))
    return out


def log_path(store: Store, cell_id: str) -> Path:
    """Where local and Slurm jobs put what a cell prints; it outlives the cell's work folder."""
    return store.work("logs") / f"{cell_id}.log"


def run_one(
    work: Work,
    job: Job,
    progress: Progress | None = None,
    *,
    slurm_job: str = "",
    passthrough: tuple[type[BaseException], ...] = (),
    log: bool = False,
) -> Result:
    """Run one cell unless somebody else runs it or has run it since it was planned.

    With `log`, what the cell prints goes to its log file. KeyboardInterrupt and `passthrough` leave with the claim given
    back and the checkpoint kept.
    """
    cell = work.cell
    try:
        claim = acquire(job.store.work(cell.id), slurm_job)
        if isinstance(claim, Held):
            return Result(cell, "taken", str(claim))
        with claim:
            found = _not_to_be_run(work, job.store) or _run_claimed(work, job, claim, progress, passthrough, log)
    except ClaimLost as error:
        return Result(cell, "taken", str(error))
    except OSError as error:
        return _unwritten(cell, error)
    if found.record is not None and found.record["status"] == "done":
        _tidy(claim.folder)
    return found


def _not_to_be_run(work: Work, store: Store) -> Result | None:
    """Why a cell that is free should be left alone all the same, or None."""
    record = store.get(work.cell.key())
    if record is not None and record["end"] != work.before:
        return Result(work.cell, "skipped", f"{record['status']} since, by {record['host']}", record)
    newer = _of_newer_version(store, work.cell) if record is None else None
    return Result(work.cell, "unwritten", newer) if newer else None


def _run_claimed(
    work: Work,
    job: Job,
    claim: Claim,
    progress: Progress | None,
    passthrough: tuple[type[BaseException], ...],
    log: bool,
) -> Result:
    cell, folder = work.cell, claim.folder
    replace_quickly(folder / "cell.json", json.dumps(work.to_dict()).encode())
    forward = [progress] if progress else []
    reporter = Reporter(folder, lambda _: claim.verify(), *forward)
    with _logged(log_path(job.store, cell.id)) if log else contextlib.nullcontext():
        runner = importlib.import_module(job.runner)
        places = staged(cell, job.places(), job.stage) if job.stage else job.places()
        record = runner.run(cell, places, job.runtime, reporter, passthrough, job.command)
    return ended(cell, record)


def _of_newer_version(store: Store, cell: Cell) -> str | None:
    """Why the file in the record's place must not be overwritten: a newer version of this project can read it."""
    path = store.path(cell.key())
    try:
        store.read(path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        return f"{path.name} is kept: {error}" if "is newer than" in str(error) else None
    return None


def _unwritten(cell: Cell, error: OSError) -> Result:
    """A fault of the machine: there is no record to say it, so the run does; what was checkpointed is kept."""
    return Result(
        cell, "unwritten", f"{error}; {faults.advice(error)}, then run it again: it goes on from its checkpoint"
    )


def ended(cell: Cell, record: Record) -> Result:
    """The result that a record stands for."""
    if record["status"] == "done":
        return Result(cell, "done", score_line(record), record)
    error = record["error"] or {}
    return Result(cell, record["status"], f"{error.get('type', '')}: {error.get('message', '')}".strip(": "), record)


def gpu_is_lost() -> bool:
    """Whether this process can use its GPU no more: after a device-side assert every call fails until it ends."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def score_line(record: Record) -> str:
    """What came out of a finished cell: `nrmse 0.777 (trivial 1), 44 s`."""
    unit = "" if record["unit"] == "1" else f" {record['unit']}"
    score = "not finite" if record["score"] is None else f"{record['score']:.3g}{unit}"
    trivial = record["trivial"].get("score")
    beside = "" if trivial is None else f" (trivial {trivial:.3g}{unit})"
    seconds = record["seconds_total"]
    return f"{record['metric']} {score}{beside}" + ("" if seconds is None else f", {duration(seconds)}")


def record_failure(cell: Cell, job: Job, status: str, error: BaseException) -> Result:
    """Record that a cell ended outside of its own run (`timeout`, `lost`)."""
    runner = importlib.import_module(job.runner)
    try:
        record = runner.failure_record(cell, job.places(), job.runtime, status, error, job.command)
    except OSError as problem:
        return Result(
            cell,
            "unwritten",
            f"{status} ({error}), and no record could be written: {problem}: {faults.advice(problem)}",
        )
    return ended(cell, record)


def _tidy(folder: Path) -> None:
    """Remove the work folder of a finished cell; what of it cannot be removed does no harm."""
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _logged(path: Path) -> Iterator[None]:
    """Send this process's stdout and stderr, also those of C code and children, to the end of a file."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o644)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        os.close(saved[0])
        os.close(saved[1])
