"""Cells submitted to the Slurm of the tests, and waiting for what becomes of them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.launch import slurm
from bench.launch.options import LaunchOptions
from bench.launch.slurm import manifest, queue
from bench.launch.work import Job, works

PACKED = {"cpus": 1, "memory_gb": 1}
UNPACKED = {**PACKED, "pack_minutes": 0}


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            shown = subprocess.run(["squeue", "-t", "all", "-r"], capture_output=True, text=True, check=False).stdout
            raise AssertionError(f"not within {seconds} s\n{shown}")
        time.sleep(0.2)


def submit(job: Job, *cells, options: Mapping[str, Any] = UNPACKED, **others):
    """Submit cells; those that were `taken`, and the `manifest` of the others, None if there are none."""
    launch, known = LaunchOptions(quiet=True, slurm=options, **others), len(manifest.load_all(job.store))
    taken = slurm.submit(works(cells, job.store), job, launch)
    return SimpleNamespace(taken=taken, manifest=next(iter(manifest.load_all(job.store)[known:]), None))


def submit_quietly(job: Job, cells) -> None:
    """What `bench run` would submit, in a process that talks to nobody."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        submit(job, *(work.cell for work in works(cells, job.store) if work.before is None))


def records(job: Job, *cells):
    return [job.store.get(cell.key()) for cell in cells]


def wait_for_records(job: Job, *cells, seconds: float = 60):
    wait_for(lambda: all(record is not None for record in records(job, *cells)), seconds)
    return records(job, *cells)


def jobs_of(outcome) -> dict[str, str]:
    """Cell id -> job id."""
    return {cell: job for job, cells, _ in outcome.manifest.jobs() for cell in cells}


def step_of(job: Job, cell) -> int:
    path = job.store.work(cell.id) / "state.json"
    return json.loads(path.read_text())[0] if path.exists() else 0


def start_again(name: str) -> None:
    """Slurm holds a requeued job for 120 s; an operator may say: sooner.

    Not at once: a node refuses a job ("credential revoked") in the very second in which it ended it, and the job fails.
    """
    wait_for(lambda: (queue.squeue() or {})[name].waits, 30)
    subprocess.run(["scontrol", "update", f"JobId={name}", "StartTime=now+2"], check=True)
