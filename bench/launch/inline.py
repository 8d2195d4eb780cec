"""Cells one after another in this process."""

from __future__ import annotations

from collections.abc import Sequence

from bench.launch.display import Display
from bench.launch.one import Job, Result, Work, run_one


def run(todo: Sequence[Work], job: Job, show: Display) -> list[Result]:
    """Run the cells in order; a cell that fails does not stop the others. Ctrl-C leaves with its checkpoint kept."""
    results = []
    for work in todo:
        show.start(work.cell.id, str(work.cell))
        result = run_one(work, job, lambda event, key=work.cell.id: show.update(key, event))  # type: ignore[misc]
        show.end(work.cell.id, result.outcome, result.message)
        results.append(result)
    return results
