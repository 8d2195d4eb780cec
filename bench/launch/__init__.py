"""Three ways to run the same cells: in this process, in processes of this machine, as jobs of a Slurm cluster."""

from __future__ import annotations

import collections
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.launch.options import LaunchOptions
from bench.words import printable

if TYPE_CHECKING:
    from bench.launch.one import Job, Result, Work
    from bench.launch.slurm.manifest import Manifest
    from bench.plan import Cell
    from bench.records.record import Record


ELSEWHERE = ("taken", "skipped")
WAIT_SECONDS = 2.0


@dataclass(frozen=True)
class Outcome:
    """What a run did: one result per cell that it had to do with."""

    results: Sequence[Result] = ()
    submitted: Manifest | None = field(default=None)
    """The jobs that a Slurm run left in the queue; their cells have no result yet."""

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


def run(
    cells: Sequence[Cell],
    places: Any,
    runtime: Mapping[str, Any],
    executor: str = "inline",
    options: LaunchOptions | None = None,
    command: str = "",
) -> Outcome:
    """Run cells by one of the executors (`inline`, `local`, `slurm`).

    `places` has `data_dir` and `results_dir`; `command` is what the user typed. A failing cell stops no other. Slurm returns as soon as the jobs are
    submitted, unless `options.wait`, which also stays for the cells that other processes run. KeyboardInterrupt is raised again with every checkpoint kept.
    """
    from bench import cost
    from bench.launch.display import display
    from bench.launch.one import Job, works
    from bench.launch.remaining import Remaining

    options = options or LaunchOptions()
    job = Job.of(places, runtime, command, options.stage or "")
    todo = works(cells, job.store)
    if executor == "slurm":
        from bench.launch import slurm

        outcome = slurm.run(todo, job, options)
        if options.wait and not options.quiet:
            say(outcome)
        return outcome
    known = cost.of_plan(cells, job.store).by_cell
    show = display(Remaining(cells, known, options.jobs if executor == "local" else 1), options.quiet)
    try:
        if executor == "local":
            from bench.launch import local
            from bench.launch.prepare import make_standins

            # Once, before the workers: two of them making one stand-in at a time would do it twice.
            make_standins(cells, Path(job.data_dir))
            launch = functools.partial(local.run, job=job, show=show, jobs=options.jobs, watchdog=options.watchdog)
        else:
            from bench.launch import inline

            launch = functools.partial(inline.run, job=job, show=show)
        results = launch(todo)
        if options.wait:
            results = _wait_for_others(todo, results, job, launch)
        outcome = Outcome(results)
    finally:
        show.close()
    if not options.quiet:
        say(outcome)
    return outcome


def _wait_for_others(
    todo: Sequence[Work], results: Sequence[Result], job: Job, launch: Callable[[Sequence[Work]], list[Result]]
) -> list[Result]:
    """Stay until nobody else runs any of the cells, and run here what others have left undone."""
    from bench.launch.status import rows

    latest = {result.cell: result for result in results}
    while taken := [work for work in todo if latest[work.cell].outcome == "taken"]:
        while any(row.status == "running" for row in rows(job.store, [work.cell for work in taken])):
            time.sleep(WAIT_SECONDS)
        latest.update({result.cell: result for result in launch(taken)})
    return list(latest.values())


def describe_submission(
    cells: Sequence[Cell], places: Any, runtime: Mapping[str, Any], options: LaunchOptions | None = None
) -> str:
    """What `run(..., executor="slurm")` would submit, in words; submits nothing."""
    from bench.launch import slurm
    from bench.launch.one import Job, Work

    job = Job.of(places, runtime)
    return slurm.describe(slurm.submission([Work(cell) for cell in cells], job, options or LaunchOptions()))


def say(outcome: Outcome) -> None:
    """Sum up a run: how many cells ended how, and each one that did not end well."""
    counts = collections.Counter(result.outcome for result in outcome.results)
    print(", ".join(f"{number} {name}" for name, number in counts.most_common()) or "no cells")
    for result in (*outcome.skipped, *outcome.failed):
        print(printable(f"  {result.outcome}: {result.cell}: {result.message}"))
    if any(result.outcome == "taken" for result in outcome.results):
        print("  (--wait stays until cells that others run are done, too)")
