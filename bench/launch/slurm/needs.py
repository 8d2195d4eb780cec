"""What a cell needs of a machine: a pure estimate from what it computes (`bench.reckoned`), which options override.

An estimate for a scheduler, not a measurement: rounded up, twice what is expected. Where cells of the same kind have
run with this results folder, their measured time is used instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench import cost, reckoned, registry
from bench.plan import STANDINS, Cell

LADDER = (15, 30, 60, 120, 240, 480, 1440, 2880, 4320)
"""Minutes that a cell may be given. Few steps, so that cells share arrays; none of 10 or less, for submitit takes every
signal in such a job for a timeout."""

SAFETY = 2.0
START_MINUTES = 2.0
"""Importing torch from a shared file system, reading the data, building the model."""


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
    """What this cell should be given. Cells of stand-in sizes run on a CPU, published ones on one GPU."""
    if cell.profile in STANDINS:
        return Needs(0, 2, 4, step_up(_measured(cell, speeds) or LADDER[0]))
    task = registry.tasks()[cell.task]
    gigabytes = sum(file.size or 0 for file in task.files) / 1e9
    # Twice the files: as read, and as float32 tensors; at least what torch and a body want for themselves.
    memory = int(min(max(16.0, 8 + 2 * gigabytes), 120.0))
    return Needs(
        1, 8, memory, step_up(_measured(cell, speeds) or _with_safety(reckoned.seconds(cell, reckoned.CAUTIOUS)))
    )


def _measured(cell: Cell, speeds: Sequence[cost.Speed]) -> float | None:
    """Minutes with safety from cells of this kind whose speed is known, or None."""
    known = cost.estimate([cell], speeds)
    return _with_safety(known.seconds) if known.unknown == 0 else None


def _with_safety(seconds: float) -> float:
    """Minutes for what is expected to take so long."""
    return START_MINUTES + SAFETY * seconds / 60
