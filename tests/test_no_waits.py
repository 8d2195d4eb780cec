"""An epoch of every task and of every method on a device that holds no numbers: nothing is elsewhere, and no host waits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorDeviceMismatchError

from bench import registry
from bench.plan import Places
from tests.cell_helpers import one
from tests.fake_device import DEVICE, device_without_numbers, run_without_numbers

SMALL = {"trainer.epochs": 2, "trainer.eval_every": 2, "trainer.batch_size": 2, "trainer.optimizer": "sgd"}
SMALL |= {"stage1.epochs": 2, "data.limit": 2}
"""Two epochs of one step."""
OWN = {"recraft": {"recraft.source_samples": 2}, "orca": {"data.limit": 11, "trainer.batch_size": 11}}
"""ORCA needs two samples of a cluster, of which there are ten."""
BOTH = ("ecg", "darcy_pdebench")
"""Tasks on which every method runs."""
WHOLE = [(task, "vanilla") for task in BOTH]
"""Cells with a whole body. Elsewhere one block stands for all, and none where only the task is another."""
TRANSPORT = {"transport", "_unread", "diameters", "_self_distances", "backward"}
"""A transport asks for the clouds' widths, and whether points, sums in float32, duals and gradient are finite."""
WAITS = {"orca": TRANSPORT, "recraft": TRANSPORT}
CELLS: list[Any] = [(task, "vanilla") for task in registry.tasks().items]
CELLS += [pytest.param(task, name, marks=pytest.mark.slow) for name, kind in registry.methods().items.items() for task in BOTH
          if registry.tasks()[task].kind in kind.kinds and name != "vanilla"]  # fmt: skip


@pytest.mark.parametrize("task, method", CELLS)
def test_an_epoch_is_wholly_on_its_device_and_the_host_does_not_wait_for_it(
    shared_data, tmp_path, monkeypatch, task, method
):
    cell = one(shared_data, task, method, **SMALL | OWN.get(method, {}))
    depth = 6 if (task, method) in WHOLE else int(method != "vanilla")
    assert run_without_numbers(cell, Places(shared_data, tmp_path), monkeypatch, depth) == WAITS.get(method, set())


def nothing_waits(x):
    return (x * torch.zeros(3).to(DEVICE, non_blocking=True)).sum()


def reads(x):
    return float(x.sum())


def comes_back(x):
    return x.cpu()


def goes_up(x):
    return torch.ones(3).to(DEVICE)


@pytest.mark.parametrize("work", [nothing_waits, reads, comes_back, goes_up])
def test_the_watch_sees_what_makes_the_host_wait(monkeypatch, work):
    with device_without_numbers(monkeypatch) as (watch, moved):
        work(moved(torch.ones(3)))
    assert watch.seen == {work.__name__} - {"nothing_waits"}


@pytest.mark.parametrize(
    "error, work",
    [(FakeTensorDeviceMismatchError, lambda x: x + torch.ones(3)), (DynamicOutputShapeException, lambda x: x[x > 0])],
)
def test_what_the_device_cannot_do_is_an_error(monkeypatch, error, work):
    with device_without_numbers(monkeypatch) as (_, moved), pytest.raises(error):
        work(moved(torch.ones(3)))
