"""What tests of cells and launchers share: one tiny cell, a job in a folder, cells run in this process, a kill -9."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

from bench import plan
from bench.launch import inline
from bench.launch.display import Display
from bench.launch.work import Job, Outcome, works
from bench.plan import Cell, Selection

FORK = multiprocessing.get_context("fork")


def one(folder: Path, task="darcy_pdebench", method="vanilla", protocol="strict", **settings) -> Cell:
    """A cell on the tiny stand-in of a task."""
    chosen = Selection(tasks=(task,), methods=(method,), profile="tiny", protocol=protocol, set=tuple(settings.items()))
    return plan.cells(chosen, folder)[0]


def job_in(folder: Path) -> Job:
    """A job whose data and results lie in `folder`."""
    return Job(str(folder / "data"), str(folder / "results"), {})


def run_cells(folder: Path, *cells: Cell) -> Outcome:
    """Run cells inline, in silence."""
    job = job_in(folder)
    return Outcome(inline.run(works(cells, job.store), job, Display()))


def killed_after(seconds: float, work: Callable, *args) -> bool:
    """Run `work` in a process of its own and kill it -9 after a while; whether it was still at it."""
    process = FORK.Process(target=work, args=args)
    process.start()
    process.join(seconds)
    alive = process.is_alive()
    if alive:
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return alive
