"""Three ways to run the same cells: in this process, in processes of this machine, as jobs of a Slurm cluster."""

from __future__ import annotations

import collections
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.launch.options import LaunchOptions

if TYPE_CHECKING:
    from bench.launch.manifest import Manifest
    from bench.launch.one import Result
    from bench.plan import Cell
    from bench.record import Record


@dataclass(frozen=True)
class Outcome:
    """What a run did: one result per cell that it had to do with."""

    results: Sequence[Result] = ()
    submitted: Manifest | None = field(default=None)
    """The jobs that a Slurm run left in the queue; their cells have no result yet."""

    @property
    def records(self) -> list[Record]:
        """Records that these cells left."""
        return [r.record for r in self.results if r.record is not None and r.outcome != "skipped"]

    @property
    def skipped(self) -> list[Result]:
        """Cells that somebody else runs or has run."""
        return [r for r in self.results if r.outcome == "skipped"]

    @property
    def failed(self) -> list[Result]:
        """Cells that did not end well."""
        return [r for r in self.results if r.outcome not in ("done", "skipped")]


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
    submitted, unless `options.wait`. KeyboardInterrupt is raised again with every checkpoint kept.
    """
    from bench.launch.one import Job, works
    from bench.launch.progress import display

    options = options or LaunchOptions()
    job = Job.of(places, runtime, command)
    todo = works(cells, job.store)
    if executor == "slurm":
        from bench.launch import slurm

        outcome = slurm.run(todo, job, options)
        if options.wait and not options.quiet:
            say(outcome)
        return outcome
    show = display(len(todo), options.quiet)
    try:
        if executor == "local":
            from bench.launch import local
            from bench.launch.prepare import make_standins

            # Once, before the workers: two of them making one stand-in at a time would do it twice.
            make_standins(cells, Path(job.data_dir))
            outcome = Outcome(local.run(todo, job, show, options.jobs, options.watchdog))
        else:
            from bench.launch import inline

            outcome = Outcome(inline.run(todo, job, show))
    finally:
        show.close()
    if not options.quiet:
        say(outcome)
    return outcome


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
        print(f"  {result.outcome}: {result.cell}: {result.message}")
