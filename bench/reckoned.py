"""What a published cell takes on a GPU, reckoned from what it computes: for cells of whose kind none has run on one.

`counted.csv` is what benchmarks/count_work.py counted: operations and kernels of one micro-batch of stage 2 and of the
whole stage 1, per body, task and method at the published settings. Imports nothing heavy.
"""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from bench import plan, registry
from bench.plan import Cell
from bench.settings import TrainerSettings

FILE = Path(__file__).parent / "counted.csv"
REPAYING_STEPS = 2_000
"""Steps of stage 2 from which `trainer.compile=auto` compiles on a GPU. Measured on an H200: a program takes some 40 s to make,
there are two (full batches and the last), and a step then takes 38 to 75 ms less (docs/performance.md)."""


@dataclass(frozen=True)
class Device:
    """Speeds of code on a GPU. A stage takes its arithmetic or its kernels, whichever is longer."""

    name: str
    rate: float
    """Operations of matrix products per second."""
    launch: float
    """Seconds from one kernel to the next where Python starts each: stage 1, evaluations, and stage 2 that is not compiled."""
    replay: float
    """The same where a graph replays them: stage 2 that is compiled."""

    def seconds(self, operations: float, launches: float, compiled: bool = False) -> float:
        """Of so much work."""
        return max(operations / self.rate, launches * (self.replay if compiled else self.launch))


H200 = Device("an H200", 160e12, 35e-6, 5e-6)
"""Measured by benchmarks/bench_published_steps.py (docs/performance.md): eager steps take 27 to 38 µs a counted kernel behind
Swin-B and 36 to 48 behind RoBERTa, compiled ones 3 to 5, and the one that arithmetic bounds reaches 161 TFLOP/s."""

CAUTIOUS = Device("a data-centre GPU", 30e12, 70e-6, 10e-6)
"""For time limits: an older card and a slower host, about half of those speeds. Assumed."""


@dataclass(frozen=True)
class Row:
    """What was counted of a cell. Operations are those of matrix products and convolutions, twice the multiply-adds."""

    backbone: str
    task: str
    method: str
    batch: int
    """Samples of a micro-batch."""
    step_flop: float
    step_launches: float
    """Of a micro-batch of stage 2, forward and backward."""
    stage1_flop: float
    stage1_launches: float
    """Of the whole stage 1."""


def write(rows: Iterable[Row], path: Path) -> None:
    """The table, with four digits."""
    with path.open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(f.name for f in fields(Row))
        out.writerows([f"{v:.4g}" if isinstance(v, float) else v for v in astuple(row)] for row in rows)


@functools.cache
def table() -> Mapping[tuple[str, str, str], Row]:
    """(task, method, backbone) -> what was counted."""
    with FILE.open(newline="") as file:
        kinds = [{"int": int, "float": float}.get(str(f.type), str) for f in fields(Row)]
        rows = [Row(*(kind(v) for kind, v in zip(kinds, row))) for row in list(csv.reader(file))[1:]]
    return {(row.task, row.method, row.backbone): row for row in rows}


def seconds(cell: Cell, device: Device = H200) -> float:
    """Both stages and the evaluations of a published cell, by its settings.

    Settings that differ from the published ones change stage 1 as the method's `stage1_cost` says. A method that was not
    counted takes what `stage1_cost` and `step_cost` say beside naive fine-tuning; a task that was not counted takes as
    much per sample as the dearest behind the same body.
    """
    row = table().get((cell.task, cell.method, cell.backbone))
    plain = table().get((cell.task, "vanilla", cell.backbone)) or _dearest(cell.backbone)
    trainer, samples, micros = _sizes(cell)
    said = _stage1_said(cell, plain)
    if row is None:
        cost = plan.resolve(cell).method.step_cost
        step, stage1 = replace(plain, step_flop=plain.step_flop * cost, step_launches=plain.step_launches * cost), said
    else:
        published = _stage1_said(replace(cell, overrides=()), plain)
        ratio = [now / then if then else 1.0 for now, then in zip(said, published)]
        step, stage1 = row, (row.stage1_flop * ratio[0], row.stage1_launches * ratio[1])
    sample = step.step_flop / step.batch
    seen = registry.tasks()[cell.task].splits.get("val", 0) / 3  # forward alone is a third of a step
    passes = math.ceil(trainer.epochs / trainer.eval_every)
    planned = trainer.epochs * micros / trainer.accumulation
    compiled = trainer.compile == "on" or (trainer.compile == "auto" and planned >= REPAYING_STEPS)
    return (
        device.seconds(*stage1)
        + trainer.epochs * device.seconds(sample * samples, step.step_launches * micros, compiled)
        + passes * device.seconds(sample * seen, step.step_launches * seen / trainer.eval_batch_size)
    )


def _sizes(cell: Cell) -> tuple[TrainerSettings, int, int]:
    """Settings of the trainer, and the samples and micro-batches of an epoch."""
    config, whole = plan.resolve(cell), registry.tasks()[cell.task].splits["train"]
    samples = min(whole, config.data.limit or whole)
    return config.trainer, samples, math.ceil(samples / config.trainer.batch_size)


def _stage1_said(cell: Cell, plain: Row) -> tuple[float, float]:
    """Operations and launches of stage 1 by the method's own word, beside those of naive fine-tuning."""
    trainer, samples, micros = _sizes(cell)
    config = plan.resolve(cell)
    worked, launched = config.method.stage1_cost(config.stage1, trainer.batch_size, samples)
    return worked * plain.step_flop / plain.batch * samples, launched * plain.step_launches * micros


def _dearest(backbone: str) -> Row:
    """The task whose sample costs most behind a body."""
    rows = [row for row in table().values() if row.backbone == backbone and row.method == "vanilla"]
    return max(rows, key=lambda row: row.step_flop / row.batch)
