"""What a cell needs of a machine: a pure estimate from task, backbone and recipe, which options override.

An estimate for a scheduler, not a measurement: rounded up, twice what is expected. Where cells of the same kind have
run with this results folder, their measured time is used instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench import cost, plan, registry
from bench.plan import Cell

LADDER = (15, 30, 60, 120, 240, 480, 1440, 2880, 4320)
"""Minutes that a cell may be given. Few steps, so that cells share arrays; none of 10 or less, for submitit takes every
signal in such a job for a timeout."""

SAFETY = 2.0
GPU_FLOPS = 30e12
"""Sustained by fine-tuning on a data-centre GPU, a cautious figure."""

LAUNCH_SECONDS = 0.02
"""Least time of one micro-batch, however small: some two thousand kernels forward and backward (counted on Swin-B and
RoBERTa-base), launched one by one, and those of accumulation and of deterministic mode."""
START_MINUTES = 2.0
"""Importing torch from a shared file system, reading the data, building the model."""

FORWARD_FLOPS = {"swin_base": 2 * 15.4e9, "swin_micro": 2 * 0.02e9}
"""One sample's forward pass: twice the multiply-adds (Swin-B at 224 x 224: 15.4e9, Liu et al. 2021, table 1)."""
TEXT_PARAMETERS = {"roberta_base": 85e6, "minilm": 10.6e6}
"""Weights that every token passes: 2 FLOP each."""


@dataclass(frozen=True, order=True)
class Needs:
    """What one cell is given; cells of equal needs share array jobs."""

    gpus: int
    cpus: int
    memory_gb: int
    minutes: int

    def __str__(self) -> str:
        gpu = f"{self.gpus} GPU, " if self.gpus else ""
        return f"{gpu}{self.cpus} CPU, {self.memory_gb} GB, {self.minutes} min per cell"


def step_up(minutes: float) -> int:
    """The smallest step of the ladder that holds so many minutes; the largest one if none does."""
    return next((step for step in LADDER if step >= minutes), LADDER[-1])


def needs_of(cell: Cell, speeds: Sequence[cost.Speed]) -> Needs:
    """What this cell should be given. Quick and tiny cells run on a CPU, published ones on one GPU."""
    if cell.profile in ("quick", "tiny"):
        return Needs(0, 2, 4, step_up(_measured(cell, speeds) or LADDER[0]))
    task = registry.tasks()[cell.task]
    gigabytes = sum(file.size or 0 for file in task.files) / 1e9
    # Twice the files: as read, and as float32 tensors; at least what torch and a body want for themselves.
    memory = int(min(max(16.0, 8 + 2 * gigabytes), 120.0))
    return Needs(1, 8, memory, step_up(_measured(cell, speeds) or _reckoned(cell)))


def _measured(cell: Cell, speeds: Sequence[cost.Speed]) -> float | None:
    """Minutes with safety from cells of this kind whose speed is known, or None."""
    known = cost.estimate([cell], speeds)
    return START_MINUTES + SAFETY * known.seconds / 60 if known.unknown == 0 else None


def _reckoned(cell: Cell) -> float:
    """Minutes with safety from sample counts, epochs of both stages and the size of the body.

    An epoch takes its arithmetic or the launches of its micro-batches, whichever is longer.
    """
    task, config = registry.tasks()[cell.task], plan.resolve(cell)
    samples = min(task.splits["train"], config.data.limit or task.splits["train"])
    forward = FORWARD_FLOPS.get(cell.backbone)
    if forward is None:
        forward = 2 * TEXT_PARAMETERS.get(cell.backbone, 100e6) * config.model.target_seq_len
    arithmetic = 3 * forward * samples / GPU_FLOPS  # backward costs twice the forward pass
    launches = math.ceil(samples / config.trainer.batch_size) * LAUNCH_SECONDS
    worked, launched = config.method.stage1_cost(config.stage1, config.trainer.batch_size, samples)
    stage1 = max(worked * arithmetic, launched * launches)
    stage2 = config.method.step_cost * config.trainer.epochs * max(arithmetic, launches)
    return START_MINUTES + SAFETY * (stage1 + stage2) / 60
