"""Three ways to run the same cells: in this process, in processes of this machine, as jobs of a Slurm cluster."""

from __future__ import annotations

import collections
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.launch.options import LaunchOptions
from bench.words import printable

if TYPE_CHECKING:
    from bench.launch.work import Job, Outcome, Result, Work
    from bench.plan import Cell, Places


def run(
    cells: Sequence[Cell],
    places: Places,
    runtime: Mapping[str, Any],
    executor: str = "inline",
    options: LaunchOptions | None = None,
    command: str = "",
) -> Outcome:
    """Run cells by one of the executors (`inline`, `local`, `slurm`).

    `command` is what the user typed. A failing cell stops no other. Slurm returns as soon as the jobs are submitted,
    unless `options.wait`, which also stays for the cells that other processes run. KeyboardInterrupt is raised again
    with every checkpoint kept.
    """
    from bench.launch.work import Job, Outcome, works

    options = options or LaunchOptions()
    job = Job.of(places, runtime, command, options.stage or "")
    todo = works(cells, job.store)
    outcome = _by_slurm(todo, job, options) if executor == "slurm" else Outcome(_here(todo, job, executor, options))
    if not options.quiet and (options.wait or executor != "slurm"):
        say(outcome)
    return outcome


def _here(todo: Sequence[Work], job: Job, executor: str, options: LaunchOptions) -> list[Result]:
    """Run the cells on this machine."""
    from bench import cost
    from bench.launch import inline, local, waiting
    from bench.launch.display import display
    from bench.launch.remaining import Remaining

    cells = [work.cell for work in todo]
    known = cost.of_plan(cells, job.store).by_cell
    show = display(Remaining(cells, known, options.jobs if executor == "local" else 1), options.quiet)
    launch = functools.partial(inline.run, job=job, show=show)
    try:
        if executor == "local":
            make_standins(cells, Path(job.data_dir))
            launch = functools.partial(local.run, job=job, show=show, jobs=options.jobs, watchdog=options.watchdog)
        results = launch(todo)
        return waiting.for_others(todo, results, job, launch) if options.wait else results
    finally:
        show.close()


def _by_slurm(todo: Sequence[Work], job: Job, options: LaunchOptions) -> Outcome:
    """Submit the cells, and stay if that is wanted."""
    from bench.launch import slurm, waiting
    from bench.launch.work import Outcome

    slurm.ready(job)
    made = make_standins([work.cell for work in todo], Path(job.data_dir))
    if made and not options.quiet:
        print(f"stand-ins generated for {', '.join(made)}")
    taken = slurm.submit(todo, job, options)
    return Outcome(waiting.for_jobs(todo, job) if options.wait else taken)


def make_standins(cells: Sequence[Cell], data_dir: Path) -> list[str]:
    """Generate the stand-ins that these cells read; the names of the tasks for which one was made.

    Once, before any worker or job starts: two of them making one stand-in at a time would do it twice.
    """
    from bench import plan, registry, standins

    made, seen = [], set()
    for cell in cells:
        key = (cell.task, cell.profile, plan.resolve(cell).data.samples)
        if cell.origin == "generated" and key not in seen:
            seen.add(key)
            if standins.generate(registry.tasks()[cell.task], data_dir, *key[1:]):
                made.append(cell.task)
    return made


def describe_submission(
    cells: Sequence[Cell], places: Places, runtime: Mapping[str, Any], options: LaunchOptions | None = None
) -> str:
    """What `run(..., executor="slurm")` would submit, in words; submits nothing."""
    from bench.launch import slurm
    from bench.launch.work import Job, Work

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
