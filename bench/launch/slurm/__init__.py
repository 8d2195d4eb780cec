"""Cells as array jobs of a Slurm cluster, through submitit, which launches them and nothing more.

No pickled result is a record, nothing waits on a job object, nothing asks `sacct`, and the submitter may end as soon as
it has submitted. What is submitted is written down first (`manifest`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from bench import cost
from bench.errors import SetupError, UsageError
from bench.launch.options import LaunchOptions
from bench.launch.slurm import manifest, profile, queue, sbatch
from bench.launch.slurm.array import Array, arrays
from bench.launch.slurm.element import CellJob
from bench.launch.slurm.manifest import Manifest
from bench.launch.slurm.needs import Needs, needs_of
from bench.launch.work import Job, Result, Work
from bench.words import counted, say


def submission(
    todo: Sequence[Work], job: Job, options: LaunchOptions, max_array_size: int | None = None
) -> list[Array]:
    """Group, pack and cut the cells as `run` would submit them. Touches nothing but the profile and the store."""
    tables = profile.read(options.slurm_profile)
    by_kind = {kind: profile.options_for(kind, tables, options) for kind in (True, False)}
    grouped: dict[Needs, list[Work]] = {}
    estimates: dict[tuple[Any, ...], Needs] = {}
    speeds = cost.measured(job.store, [work.cell for work in todo])
    for work in todo:
        cell = work.cell
        kind = (cell.task, cell.method, cell.backbone, cell.profile, cell.overrides)
        if kind not in estimates:
            estimates[kind] = needs_of(cell, speeds)
        need = replace(estimates[kind], gpus=0) if job.on_cpu else estimates[kind]
        asked = by_kind[True].gpus
        own = by_kind[bool(need.gpus if asked is None else asked)]
        final = Needs(
            gpus=need.gpus if own.gpus is None else own.gpus,
            cpus=own.cpus or need.cpus,
            memory_gb=own.memory_gb or need.memory_gb,
            minutes=own.time or need.minutes,
        )
        grouped.setdefault(final, []).append(work)
    return arrays(grouped, max_array_size or queue.max_array_size(), by_kind)


def describe(plan: Sequence[Array]) -> str:
    """The arrays of a submission in words, one line each."""
    cells = sum(array.cells for array in plan)
    elements = sum(len(array.elements) for array in plan)
    lines = [
        f"slurm: {counted(cells, 'cell')} in {counted(elements, 'array element')}, {counted(len(plan), 'sbatch call')}"
    ]
    for index, array in enumerate(plan):
        packed = max(map(len, array.elements))
        places = " ".join(f"{name}={value}" for name, value in array.own.names().items())
        lines.append(
            f"  array {index}: {counted(array.cells, 'cell')}, {counted(len(array.elements), 'element')} of up to {counted(packed, 'cell')}, "
            f"{array.parallelism} at once, limit {array.minutes} min ({array.needs}) {places}".rstrip()
        )
    return "\n".join(lines)


def ready(job: Job) -> None:
    """UsageError or SetupError where cells cannot be submitted, before anything is made for it."""
    for name, folder in (("--results-dir", job.results_dir), ("--data-dir", job.data_dir)):
        if any(c in folder for c in "\n%") or not folder.isprintable():
            raise UsageError(f"{name} {folder!r}: sbatch cannot take a path with '%' or control characters")
    _answering()


def submit(todo: Sequence[Work], job: Job, options: LaunchOptions) -> list[Result]:
    """Submit the cells that no earlier submission has in the queue; those that one has.

    Their data and weights are known to be here.
    """
    fresh, taken = _not_queued(todo, job)
    if not options.quiet:
        for result in taken:
            say(f"  taken: {result.cell}: {result.message}")
    if not fresh:
        return taken
    plan = submission(fresh, job, options)
    written = _submit(plan, job, options)
    if not options.quiet:
        print(describe(plan))
        print(f"manifest: {written.path}")
        if not options.wait:
            print(
                "nothing has to stay alive for it: you may log out; `python -m bench status` says where every cell is"
            )
    return taken


def _answering() -> dict[str, queue.Entry]:
    """The queue of a Slurm that works; SetupError where there is none."""
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise SetupError("--executor slurm: no sbatch here; use a login node, or --executor local")
    entries = queue.squeue()
    if entries is None:
        raise SetupError(
            "squeue does not answer, so nothing can tell which cells are in the queue already; nothing was submitted "
            "(`scontrol ping` says whether the controller is up, `bench doctor` what is configured here)"
        )
    return entries


def _not_queued(todo: Sequence[Work], job: Job) -> tuple[list[Work], list[Result]]:
    """Cells that no job of an earlier submission waits for or runs, and the others as taken."""
    entries = _answering()
    queued: dict[str, queue.Entry] = {}
    for earlier in manifest.load_all(job.store):
        for name, cells, _ in earlier.jobs(entries):
            if name in entries and entries[name].active:
                queued.update(dict.fromkeys(cells, entries[name]))
    fresh, taken = [], []
    for work in todo:
        entry = queued.get(work.cell.id)
        # In a running job of several cells, one that has ended is free to be retried.
        if entry is None or (entry.state == "RUNNING" and work.before is not None):
            fresh.append(work)
        else:
            taken.append(Result(work.cell, "taken", f"in the queue as job {entry.job} ({entry.state.lower()})"))
    return fresh, taken


def _submit(plan: Sequence[Array], job: Job, options: LaunchOptions) -> Manifest:
    """Write the manifest, call sbatch for each array, and write down the job ids after each call."""
    from bench.machine import git

    state = git()
    written = manifest.new(plan, job, state)
    for index, array in enumerate(plan):
        with sbatch.private_folder(written.folder(index)) as umask:
            callables = [
                CellJob(
                    tuple(json.dumps(work.to_dict()) for work in element),
                    json.dumps(asdict(job)),
                    state.get("commit", ""),
                    umask,
                    options.watchdog,
                    array.needs.gpus,
                )
                for element in array.elements
            ]
            chosen = sbatch.parameters(array, written.job_name(index))
            try:
                jobs = sbatch.submit_array(callables, written.folder(index), chosen, array.own.requeues)
            except sbatch.Unanswered:
                raise
            except SetupError as error:
                written.refused(index, str(error).partition(". ")[0])
                raise
        written.submitted(index, jobs)
    return written
