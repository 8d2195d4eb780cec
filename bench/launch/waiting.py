"""`--wait`: staying until nobody else runs a cell any more, neither another process nor a job of Slurm."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence

from bench.launch.status import rows
from bench.launch.work import Job, Result, Work, ended

OTHERS_SECONDS = 2.0
JOBS_SECONDS = 10.0
"""How often is looked; Slurm's controller answers many users."""


def for_others(
    todo: Sequence[Work], results: Sequence[Result], job: Job, launch: Callable[[Sequence[Work]], list[Result]]
) -> list[Result]:
    """Stay until nobody else runs any of the cells, and run here what others have left undone."""
    latest = {result.cell: result for result in results}
    while taken := [work for work in todo if latest[work.cell].outcome == "taken"]:
        while any(row.status == "running" for row in rows(job.store, [work.cell for work in taken])):
            time.sleep(OTHERS_SECONDS)
        latest.update({result.cell: result for result in launch(taken)})
    return list(latest.values())


def for_jobs(todo: Sequence[Work], job: Job) -> list[Result]:
    """Stay until each cell has a new record, or is in no queue and run by nobody any more."""
    waiting = {work.cell.id: work for work in todo}
    out: list[Result] = []
    gone: Counter[str] = Counter()
    while waiting:
        for row in rows(job.store, [work.cell for work in waiting.values()]):
            work = waiting[row.cell.id]
            record = job.store.get(work.cell.key())
            if row.status in ("running", "pending"):
                gone[work.cell.id] = 0
            elif record is not None and work.answered(record):
                out.append(ended(waiting.pop(work.cell.id).cell, record))
            else:
                # Twice in a row: a job that has just been requeued is for a moment nowhere.
                gone[work.cell.id] += 1
                if gone[work.cell.id] >= 2:
                    del waiting[work.cell.id]
                    out.append(Result(work.cell, "lost", f"no job and no record: {row.detail}"))
        if waiting:
            time.sleep(JOBS_SECONDS)
    return out
