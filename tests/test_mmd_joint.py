"""MMD beside the task's loss: its value by hand, what it does to the embedder, and that its batches are not cut."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from bench.cell.memory import Memory, OutOfMemory
from methods.contract import MethodError, TorchBatch
from methods.mmd_joint import MmdJoint
from methods.transport.kernels import mmd
from tests.fake_context import fake_context


def test_mmd_of_two_points_and_one_by_hand():
    """Squared distances 1 (the sources), 4 and 1 (to the target): σ² is their mean, 2."""
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])

    def kernel(squared):
        return sum(math.exp(-squared / (2 * factor)) for factor in (0.25, 0.5, 1, 2, 4))

    within, across = (5 + kernel(1)) / 2, (kernel(4) + kernel(1)) / 2
    assert float(mmd(x, y)) == pytest.approx(within + 5 - 2 * across, rel=1e-6)


def test_the_loss_is_the_tasks_plus_the_weighted_distance_of_token_means():
    context = fake_context()
    first = context.batch(context.rng("warmup 0").permutation(context.train_size)[: context.batch_size])
    with torch.no_grad():
        task = F.cross_entropy(context.model(first.x), first.y)
        distance = mmd(context.source.features(30)[0], context.model.embedder(first.x).mean(1))
    MmdJoint(weight=3.0, source_samples=30, epochs=1).align(context)
    row = context.logs["warmup"][0]
    assert row["task"] == pytest.approx(float(task)) and row["term"] == pytest.approx(3 * float(distance), rel=1e-5)
    assert row["loss"] == pytest.approx(float(task + 3 * distance), rel=1e-6)


def test_the_distance_falls_further_with_it_than_without():
    def distance_after(weight):
        context = fake_context()
        MmdJoint(weight=weight, epochs=8, lr=0.05).align(context)
        with torch.no_grad():
            return float(mmd(context.source.features(40)[0], context.model.embedder(context.x).mean(1)))

    assert distance_after(10.0) < 0.8 * distance_after(0.0)


def test_its_batches_are_not_cut_where_memory_runs_out():
    context = fake_context()

    def exhausted(batch):
        raise MemoryError

    batch = TorchBatch(context.x[:8], context.y[:8], {})
    with pytest.raises(OutOfMemory, match="the method's loss couples its samples"):
        Memory(True).sparing(exhausted, [], context.model, "stage1" in MmdJoint.couples)(batch)


@pytest.mark.parametrize(
    "options", [{"weight": -1.0}, {"epochs": -1}, {"source_samples": 1}, {"lr": 0.0}], ids=lambda o: next(iter(o))
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(MethodError, match=next(iter(options))):
        MmdJoint(**options).check()
