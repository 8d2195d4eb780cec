"""What runs inside a Slurm job: the cells of one array element, one after another, in a worker that is watched.

submitit brings `CellJob` here in a pickle that the submitting user made and only that user can change; it holds plain
data, and the cell's state is in the trainer's checkpoint, not in it. So any restart resumes: after a time limit, a
preemption, or a plain requeue that no signal announced. Slurm's warnings reach this process and its worker; this one
answers them, as submitit does, and the worker leaves with its checkpoint kept when this one closes its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import beside, faults, streams
from bench.launch.local import environment
from bench.launch.one import record_failure
from bench.launch.watched import Worker
from bench.launch.work import Job, Work

WARNINGS = ("TERM", "USR2")
"""Signals before a time limit or a preemption."""


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
    """Run the cells of an element; ends the process with status 1 if its time has run out for good."""
    from submitit import JobEnvironment

    strict = os.umask(cells.umask)
    streams.secure()
    here = JobEnvironment()
    _clear_stale(here)
    _warn_of_other_code(cells.git)
    job = Job(**json.loads(cells.job))
    job = replace(job, slurm=here.job_id if here.name() == "slurm" else "")
    # srun hides no GPU from a step that asked for none: unless the node does, a cell would take the first card.
    worker = Worker(environment(0, "auto" if cells.gpus else "cpu"), cells.watchdog, WARNINGS)
    try:
        with contextlib.closing(worker):
            return [_run(worker, Work.from_dict(json.loads(text)), job) for text in cells.works]
    finally:
        os.umask(strict)  # submitit's result file is nobody else's business either


def _run(worker: Worker, work: Work, job: Job) -> str:
    from submitit.core.utils import UncompletedJobError

    try:
        result = worker.run(work, job, lambda _: None)
    except UncompletedJobError as error:  # from submitit's handler of the signal: the job may not be requeued once more
        worker.close()
        result = record_failure(work.cell, job, "timeout", error)
        print(f"{work.cell.id} {work.cell}: {result.outcome}", flush=True)
        sys.exit(1)
    assert result is not None  # nobody interrupts it
    said = f"{work.cell.id} {work.cell}: {result.outcome} {result.message}".rstrip()
    print(said, flush=True)
    return said


def _clear_stale(here: Any) -> None:
    """Remove what a kill in the middle of a save left: submitit refuses to save while such a file is there."""
    for path in Path(here.paths.folder).glob(f"{here.job_id}_*.save_tmp"):
        path.unlink(missing_ok=True)


def _warn_of_other_code(submitted: str) -> None:
    from bench.machine import git

    now = git().get("commit", "")
    if submitted and now != submitted:
        there = f"running at {now[:12]} in {beside.ROOT}"
        faults.warn(f"submitted at commit {submitted[:12]}, {there}: the records say the latter")
