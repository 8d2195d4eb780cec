"""A stand-in for `bench.cell.story` in tests of the launchers (fixture `fake_cells`): no torch, no data, milliseconds.

A cell's `overrides` say what happens: `fake.steps` and `fake.pause` (seconds per step), and `fake.do`, one of `fail`,
`die` (kills its process), `die_once`, `hang`, `gpu` (its
record says which it was given), `poison` (fails, and its process can use its GPU no more). Its score depends on every step, so that a lost or repeated step
shows; a checkpoint is written after each step.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from bench import plan, registry, settings
from bench.launch.work import Work
from bench.plan import Cell
from bench.records.store import Store
from tasks.files.atomic import write_atomically
from tests.record_factory import make_record

HERE = Path(__file__).resolve().parent
PATH = os.pathsep.join([str(HERE / "fake_cells"), str(HERE.parent)])
"""PYTHONPATH of a process whose cells, and those of all that it starts, are these."""


def make_cell(number: int = 0, do: str = "", steps: int = 3, pause: float = 0.0) -> Cell:
    """A cell that no registry needs to know; `number` is its seed."""
    overrides = {"fake.do": do, "fake.pause": pause, "fake.steps": steps}
    return Cell("fake", "none", "nothing", number, profile="tiny", overrides=tuple(overrides.items()))


def some(count: int, start: int = 0) -> list[Work]:
    """So many of these cells, to be run."""
    return [Work(make_cell(start + i)) for i in range(count)]


def options_of(cell: Cell) -> dict:
    """What the cell is to do; a cell of the registry makes three steps."""
    return {"fake.do": "", "fake.pause": 0.0, "fake.steps": 3} | dict(cell.overrides)


def score_after(steps: int) -> float:
    """The score of a cell that made every step once."""
    value = 1
    for step in range(steps):
        value = (value * 31 + step) % 1_000_003
    return value / 1_000_003


def attempts_of(work: Path) -> int:
    return len((work / "attempts").read_text().splitlines())


def run(cell, places, runtime, progress=None, command=""):
    store, options = Store(places.results_dir), options_of(cell)
    work = store.work(cell.id)
    work.mkdir(parents=True, exist_ok=True)
    with (work / "attempts").open("a") as handle:
        handle.write("x\n")
    try:
        score = _steps(cell, work, options, progress)
    except ValueError as error:
        return _write(store, cell, "failed", {"type": "ValueError", "message": str(error), "traceback": "", "log": ""})
    return _write(store, cell, "done", None, score, command)


def _steps(cell, work, options, progress):
    state_file = work / "state.json"
    step, value = json.loads(state_file.read_text()) if state_file.exists() else (0, 1)
    print(f"attempt {attempts_of(work)} starts at step {step}")
    sys.stdout.flush()
    while step < options["fake.steps"]:
        _misbehave(options["fake.do"], work, step)
        value, step = (value * 31 + step) % 1_000_003, step + 1
        write_atomically(state_file, json.dumps([step, value]).encode())
        if progress:
            progress(
                {
                    "stage": "stage2",
                    "epoch": step,
                    "epochs": options["fake.steps"],
                    "seconds": float(step),
                    "done": step / options["fake.steps"],
                    "steps": step,
                }
            )
        time.sleep(options["fake.pause"])
    return value / 1_000_003


def _misbehave(do, work, step):
    if step == 1 and do == "fail":
        raise ValueError("this cell fails")
    if step == 1 and (do == "die" or (do == "die_once" and attempts_of(work) == 1)):
        os.kill(os.getpid(), signal.SIGKILL)
    if step == 1 and do == "poison":
        sys.modules["torch"] = SimpleNamespace(
            cuda=SimpleNamespace(is_initialized=lambda: True, synchronize=_assertion)
        )
        _assertion()
    if step == 1 and do == "hang":
        time.sleep(3600)


def _assertion():
    raise Poisoned("CUDA error: device-side assert triggered")


class Poisoned(RuntimeError, ValueError):
    """What torch raises, for `run` a failure of the cell."""


def failure_record(cell, places, runtime, status, error, command=""):
    plain = {"type": type(error).__name__, "message": str(error), "traceback": "", "log": ""}
    return _write(Store(places.results_dir), cell, status, plain, command=command)


def _record(cell, status, error, score, attempts, command):
    plain = {
        **cell.key(),
        "overrides": dict(cell.overrides),
        "search": cell.search and cell.search.to_dict(),
        "settings": settings_of(cell),
        "status": status,
        "attempts": attempts,
        "profile": cell.profile,
        "protocol": cell.protocol,
        "origin": cell.origin,
        "host": f"pid{os.getpid()}",
        "command": command or "python -m bench run",
    }
    if options_of(cell)["fake.do"] == "gpu":
        plain["device"] = os.environ.get("CUDA_VISIBLE_DEVICES", "none")
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    if status != "done":
        return make_record(**plain, error=error, end=now)
    if cell.search:
        plain["code"] = registry.code_of(cell.task, cell.method, cell.origin)
        score = loss_at(plain["settings"]["trainer.lr"])
    return make_record(**plain, score=score, end=now)


def settings_of(cell):
    """The resolved settings of a cell of the registry."""
    if cell.task == "fake":
        return {}
    return settings.flatten(plan.resolve(cell), "identity")


def loss_at(lr: float) -> float:
    """The validation score, lower being better, that a cell of a search has at this learning rate."""
    return abs(math.log10(lr) + 2.5) + 0.1


def _write(store, cell, status, error, score=None, command=""):
    record = _record(cell, status, error, score, attempts_of(store.work(cell.id)), command)
    store.write(record)
    return record
