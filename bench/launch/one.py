"""One cell, by whatever launcher: claim it, see whether it is still to be done, run it, give it back."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bench import faults
from bench.launch.claim import Claim, ClaimLost, Held, acquire
from bench.launch.progress import Progress, Reporter
from bench.launch.stage import staged
from bench.launch.work import Job, Result, Work, ended
from bench.plan import Cell
from bench.records.store import Store
from tasks.files.atomic import write_quickly


def log_path(store: Store, cell_id: str) -> Path:
    """Where local and Slurm jobs put what a cell prints; it outlives the cell's work folder."""
    return store.work("logs") / f"{cell_id}.log"


def run_one(work: Work, job: Job, progress: Progress | None = None, *, log: bool = False) -> Result:
    """Run one cell unless somebody else runs it or has run it since it was planned.

    With `log`, what the cell prints goes to its log file. KeyboardInterrupt leaves with the claim given back and the
    checkpoint kept.
    """
    cell = work.cell
    try:
        claim = acquire(job.store.work(cell.id), job.slurm)
        if isinstance(claim, Held):
            return Result(cell, "taken", str(claim))
        with claim:
            found = _not_to_be_run(work, job.store) or _run_claimed(work, job, claim, progress, log)
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
    if record is not None and work.answered(record):
        return Result(work.cell, "skipped", f"{record['status']} since, by {record['host']}", record)
    newer = _of_newer_version(store, work.cell) if record is None else None
    return Result(work.cell, "unwritten", newer) if newer else None


def _run_claimed(work: Work, job: Job, claim: Claim, progress: Progress | None, log: bool) -> Result:
    cell, folder = work.cell, claim.folder
    write_quickly(folder / "cell.json", json.dumps(work.to_dict()).encode())
    forward = [progress] if progress else []
    reporter = Reporter(folder, lambda _: claim.verify(), *forward)
    with _logged(log_path(job.store, cell.id)) if log else contextlib.nullcontext():
        from bench.cell import story  # here, for it brings torch: what it says belongs to the cell's log, too

        places = staged(cell, job.places(), job.stage) if job.stage else job.places()
        record = story.run(cell, places, job.runtime, progress=reporter, command=job.command)
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


def record_failure(cell: Cell, job: Job, status: str, error: BaseException) -> Result:
    """Record that a cell ended outside of its own run (`timeout`, `lost`)."""
    from bench.cell import story

    try:
        record = story.failure_record(cell, job.places(), job.runtime, status, error, job.command)
    except OSError as problem:
        said = f"{status} ({error}), and no record could be written: {problem}: {faults.advice(problem)}"
        return Result(cell, "unwritten", said)
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
