"""What tests of cells and launchers share: one tiny cell, a job in a folder, cells run in this process, a kill -9."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import plan
from bench.launch import inline, local
from bench.launch.display import Display
from bench.launch.work import Job, Outcome, Result, works
from bench.plan import Cell, Selection
from bench.records.store import Store
from tests.fake_runner import PATH, make_cell

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


def run_locally(folder: Path, *cells: Cell, jobs: int = 2, watchdog: float = 60.0) -> list[Result]:
    """Run cells in worker processes, in silence."""
    job = job_in(folder)
    return local.run(works(cells, job.store), job, Display(), jobs, watchdog)


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


SCRIPT = """
import signal
import sys
from tests.fake_runner import make_cell
from tests.cell_helpers import run_cells, run_locally
from pathlib import Path
from bench import cli
# A shell's background job hands an ignored SIGINT down to whatever it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
run = {"inline": run_cells, "local": run_locally}[sys.argv[2]]
cli._dispatch = lambda _: run(Path(sys.argv[1]), make_cell(0, steps=int(sys.argv[3]), pause=0.01)) and 0
sys.exit(cli.main())
"""


def started(folder: Path, executor: str, steps: int, before: tuple[str, ...] = ()) -> subprocess.Popen:
    """A command that runs one cell by the command line's own `main`, at work on its first steps."""
    env = {**os.environ, "PYTHONPATH": PATH}
    command = [*before, sys.executable, "-c", SCRIPT, str(folder), executor, str(steps)]
    child = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    state = Store(folder / "results").work(make_cell(0, steps=steps, pause=0.01).id) / "state.json"
    deadline = time.monotonic() + 30
    while not state.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return child


def fill(folder: Path) -> Path:
    """Fill the disk to its last byte; the file to remove again."""
    ballast = folder / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as handle:
        while True:
            handle.write(b"x" * 4096)
    return ballast
