"""What runs inside a Slurm job: the cells of one array element, one after another, through the same function as inline.

submitit brings `CellJob` here in a pickle that the submitting user made and only that user can change; it holds plain
data, and the cell's state is in the trainer's checkpoint, not in it. So any restart resumes: after a time limit, a
preemption, or a plain requeue that no signal announced.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from bench import beside, streams
from bench.launch.one import Job, Result, Work, gpu_is_lost, log_path, record_failure, run_one

REQUEUE_SECONDS = 120.0
"""How long Slurm may take to end a job that it was told to requeue (KillWait is 30 s by default)."""


class OutOfTime(BaseException):
    """The job's last permitted time limit is near. Not an Exception: no code of a cell may swallow it."""


class CannotRequeue(BaseException):
    """Slurm did not take the job back into the queue."""


class Hung(Exception):
    """The cell showed no progress for too long."""


@dataclass(frozen=True)
class CellJob:
    """The callable that submitit pickles; every field is plain data."""

    works: tuple[str, ...]
    """JSON of each `Work`."""
    job: str
    """JSON of the `Job`."""
    git: str
    """Commit at submission, to warn when the code has changed in the meantime."""
    umask: int
    """The submitter's own; the job files had a stricter one."""
    watchdog: float
    gpus: int = 1
    """GPUs that the job has asked for."""

    def __call__(self) -> list[str]:
        """Run the cells; what each one did, for submitit's result file, which nothing reads."""
        return run_element(self)

    def checkpoint(self) -> Any:
        """What submitit requeues: the same cells. Those that are done will be skipped."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(replace(self))


def run_element(cells: CellJob) -> list[str]:
    """Run the cells of an element; ends the process with status 1 if its time ran out or it could not be requeued."""
    strict = os.umask(cells.umask)
    streams.secure()
    if not cells.gpus:
        # srun hides none from a step that asked for none: unless the node does, a cell would take the first card.
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    try:
        return _run_all(cells)
    finally:
        os.umask(strict)  # submitit's result file is nobody else's business either


def _run_all(cells: CellJob) -> list[str]:
    from submitit import JobEnvironment

    environment = JobEnvironment()
    _clear_stale(environment)
    _warn_of_other_code(cells.git)
    signal_as_base_exception()
    job, todo = Job(**json.loads(cells.job)), [Work.from_dict(json.loads(text)) for text in cells.works]
    said: list[str] = []
    for number, work in enumerate(todo):
        more = number + 1 < len(todo)
        try:
            result = _run(work, job, environment, cells.watchdog, more)
        except OutOfTime as error:
            result = record_failure(work.cell, job, "timeout", error)
            print(f"{work.cell.id} {work.cell}: {result.outcome}", flush=True)
            sys.exit(1)
        except CannotRequeue as error:
            print(f"{work.cell.id} {work.cell}: stopped, and not requeued: {error}", flush=True)
            sys.exit(1)
        said.append(f"{work.cell.id} {work.cell}: {result.outcome} {result.message}".rstrip())
        print(said[-1], flush=True)
        if more and gpu_is_lost():
            _leave(environment, more)
    return said


def _run(work: Work, job: Job, environment: Any, watchdog: float, more: bool) -> Result:
    slurm_job = environment.job_id if environment.name() == "slurm" else ""

    def hung() -> None:
        with log_path(job.store, work.cell.id).open("a") as log:
            faulthandler.dump_traceback(log, all_threads=True)
        record_failure(work.cell, job, "lost", Hung(f"no progress for {watchdog:g} s; `bench logs` shows where it was"))
        _leave(environment, more)

    with _watched(watchdog, hung) as fed:
        return run_one(work, job, fed, slurm_job=slurm_job, log=True)


def _leave(environment: Any, more: bool) -> NoReturn:
    """End this process, which is of no use any more; the element's other cells go on in a fresh one."""
    if more:
        environment._requeue(0)
        time.sleep(REQUEUE_SECONDS)  # Slurm ends this process: leaving before it does counts as a failure
    os._exit(1)


@contextlib.contextmanager
def _watched(seconds: float, hung: Callable[[], None]) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Call `hung` in a thread of its own when the function given was not called for `seconds` (0: never)."""
    last = time.monotonic()
    over = threading.Event()

    def feed(_: Mapping[str, Any]) -> None:
        nonlocal last
        last = time.monotonic()

    def watch() -> None:
        while not over.wait(min(seconds / 4, 10.0)):
            if time.monotonic() - last > seconds:
                hung()

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    if seconds > 0:
        thread.start()
    try:
        yield feed
    finally:
        over.set()


def signal_as_base_exception() -> None:
    """Let submitit's handler speak in exceptions that no `except Exception` between it and us can swallow.

    The handler runs between two bytecodes of whatever the main thread does, a library's own error handling included.
    Processes that a cell has forked got the signal, too, and ignore it.
    """
    from submitit.core.job_environment import JobEnvironment
    from submitit.core.utils import UncompletedJobError

    number, owner = JobEnvironment._usr_sig(), os.getpid()
    before = signal.getsignal(number)

    def handler(signum: int, frame: Any) -> None:
        if os.getpid() != owner or not callable(before):
            return
        try:
            before(signum, frame)
        except UncompletedJobError as error:
            raise OutOfTime(str(error)) from None
        # Slurm's tools failing must not look like a failure of the cell, which would be recorded as such.
        except Exception as error:
            raise CannotRequeue(f"{type(error).__name__}: {error}") from None

    signal.signal(number, handler)


def _clear_stale(environment: Any) -> None:
    """Remove what a kill in the middle of a save left: submitit refuses to save while such a file is there."""
    for path in Path(environment.paths.folder).glob(f"{environment.job_id}_*.save_tmp"):
        path.unlink(missing_ok=True)


def _warn_of_other_code(submitted: str) -> None:
    from bench.machine import git

    now = git().get("commit", "")
    if submitted and now != submitted:
        print(
            f"warning: submitted at commit {submitted[:12]}, running at {now[:12]} in {beside.ROOT}: the records say the latter",
            flush=True,
        )
