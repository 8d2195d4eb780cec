"""Cells one after another in this process."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from bench.launch.display import Display
from bench.launch.one import gpu_is_lost, run_one
from bench.launch.work import Job, Result, Work

LOST = (
    "not begun, the cell before took the GPU down with it; run the same command again, or with --executor local, "
    "where the others go on in a fresh process"
)


def run(todo: Sequence[Work], job: Job, show: Display) -> list[Result]:
    """Run the cells in order; a cell that fails does not stop the others. Ctrl-C leaves with its checkpoint kept.

    A cell that leaves this process without its GPU does: those after it are skipped, rather than fail one by one.
    """
    results: list[Result] = []
    for number, work in enumerate(todo):
        show.start(work.cell.id, str(work.cell))
        result = run_one(work, job, functools.partial(show.update, work.cell.id))
        show.end(work.cell.id, result.outcome, result.message)
        results.append(result)
        if gpu_is_lost():
            return results + [Result(later.cell, "skipped", LOST) for later in todo[number + 1 :]]
    return results
