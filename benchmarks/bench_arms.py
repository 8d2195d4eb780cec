"""What every method costs beside naive fine-tuning: a step of its stage 2, and its stage 1 as planned, in one run.

A tiny cell of a 1D and of a 2D task is lent to each method, on one thread and by CPU time. `step` is the median step of stage 2
over `vanilla`'s, all methods taking turns. `stage1_epochs` is what its stage 1 took, in epochs of `vanilla`'s stage 2, under the
tiny profile: one epoch wherever a method goes by the task's stage-1 epochs. 0: it has no stage 2, or no stage 1.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import plan, registry
from bench.cell import story
from bench.cell.determinism import determinism
from bench.cell.draft import Draft
from bench.cell.run import Run
from bench.fitting import takes
from bench.plan import Places, Selection
from bench.report.frame import METHOD_ORDER, ordered
from benchmarks.interleaved import cpu_seconds, seconds, table
from methods.contract import Position

TASKS = ("advection", "spherical")
ROUNDS = 7


def lend(method: str, task: str, folder: Path):
    """The context of a tiny cell, in training as after the start of stage 2."""
    selection = Selection(tasks=(task,), methods=(method,), profile="tiny", allow_random_weights=True)
    places = Places(folder / "data", folder / method)
    (cell,) = plan.cells(selection, places.data_dir)
    return story.lend(Run.of(cell, places, {}, Draft(cell, folder / method / "work", {}), lambda word: None))


def step_of(context):
    """One forward and backward pass of stage 2 over what the method moves, on the first batch; None without a stage 2."""
    method, model = context.run.config.method, context.model
    moved = list(method.trainable(model))
    if not moved:
        return None
    chosen, batch = {id(p) for p in moved}, context.batch(np.arange(context.batch_size))

    def step():
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in chosen)
            parameter.grad = None
        method.loss(context, model(batch.x), batch).backward()

    return step


@pytest.mark.parametrize("task", TASKS)
def test_cost_beside_vanilla(benchmark, monkeypatch, tmp_path, task):
    """All registered methods that are for the task."""
    names = ordered((name for name in registry.methods().items if takes(name, task)), METHOD_ORDER)
    position = property(lambda self: Position(0, 2, 0.0))
    rows: dict[str, dict[str, float]] = {}
    with determinism(0, {}):
        torch.set_num_threads(1)
        contexts = {name: lend(name, task, tmp_path) for name in names}
        stage1 = {name: seconds(partial(c.run.config.method.align, c)) for name, c in contexts.items()}
        monkeypatch.setattr("bench.cell.context.CellContext.position", position)
        steps = {name: step for name, c in contexts.items() if (step := step_of(c)) is not None}
        taken = cpu_seconds(steps, ROUNDS)
        vanilla = contexts["vanilla"]
        epoch = taken["vanilla"] * vanilla.train_size / vanilla.batch_size
        for name in names:
            rows[name] = {
                "stage1_epochs": stage1[name] / epoch,
                "step": taken.get(name, 0.0) / taken["vanilla"],
            }
        benchmark.extra_info |= {"task": task, "arms": rows, "epoch_cpu_seconds": epoch}
        benchmark.pedantic(steps["vanilla"], rounds=1, iterations=1)
    print(table(rows))
