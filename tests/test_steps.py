"""How micro-batches become steps: the mean over samples, and what published code does instead."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from bench import plan
from bench.cell.batches import Loader, order
from bench.cell.checkpoint import Checkpoints
from bench.cell.phase import Phase, warmup_decay
from bench.cell.steps import Steps
from bench.cell.trainer import Trainer
from bench.errors import UsageError
from bench.plan import Cell
from bench.settings import TrainerSettings
from tasks.contract import ArraySplit

SEED = 7
X = np.random.default_rng(0).normal(size=(22, 3)).astype(np.float32)
Y = (X.sum(1, keepdims=True) ** 2).astype(np.float32)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))


def trained(folder, epochs: int, warmup: float, decay: float, **changes) -> nn.Module:
    model = network()

    def gradient(batch):
        loss = ((model(batch.x) - batch.y) ** 2).mean()
        loss.backward()
        return {"loss": loss.detach()}

    settings = TrainerSettings(**changes)
    trainer = Trainer(model, Loader(ArraySplit(X, Y), torch.device("cpu")), settings, SEED, Checkpoints(folder),
                      lambda word: None)  # fmt: skip
    rate = lambda epoch: settings.lr * warmup_decay(epoch, warmup, decay)  # noqa: E731
    trainer.fit(Phase("stage2", "stage2", model.parameters(), gradient, epochs, rate))
    return model


def published_loop(model, optimizer, batch: int, each: int, clip: float | None, epochs: int, warmup: int, decay: int):
    """The loop as section 6 of the protocol notes tells it, written independently of the trainer."""
    micros = math.ceil(len(X) / batch)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda k: k / (warmup * micros) if k < warmup * micros else (decay * micros - k) / ((decay - warmup) * micros),
    )
    for epoch in range(epochs):
        optimizer.zero_grad()
        indices = order(SEED, "stage2", epoch, len(X))
        for i in range(micros):
            rows = indices[i * batch : (i + 1) * batch]
            ((model(torch.from_numpy(X[rows])) - torch.from_numpy(Y[rows])) ** 2).mean().backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            if (i + 1) % each == 0:
                optimizer.step()
                optimizer.zero_grad()
            scheduler.step()
    return model


@pytest.mark.filterwarnings("ignore:Detected call of")  # published code steps the schedule before the first step too
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("batch, each, clip", [(4, 1, None), (4, 4, None), (4, 5, 0.5), (3, 2, 0.5)])
def test_the_published_sum_is_the_published_loop_step_by_step(tmp_path, optimizer, batch, each, clip):
    how = {"lr": 1e-2, "weight_decay": 0.1}
    mine = trained(tmp_path, 4, 2, 6, optimizer=optimizer, batch_size=batch, accumulation=each, clip=clip,
                   accumulate="published_sum", **how)  # fmt: skip
    model = network()
    parameters = model.parameters()
    theirs = {
        "sgd": lambda: torch.optim.SGD(parameters, momentum=0.9, **how),
        "adam": lambda: torch.optim.Adam(parameters, betas=(0.9, 0.98), **how),
        "adamw": lambda: torch.optim.AdamW(parameters, betas=(0.9, 0.98), **how),
    }[optimizer]()
    published_loop(model, theirs, batch, each, clip, 4, 2, 6)
    for a, b in zip(mine.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("task, times", [("cifar100", 32), ("ecg", 16)])
def test_the_published_step_of_sgd_is_as_many_times_larger_as_micro_batches_are_summed(tmp_path, task, times):
    settings = plan.resolve(Cell(task, "vanilla", "swin_base", protocol="paper")).trainer
    assert (settings.optimizer, settings.accumulation, settings.accumulate) == ("sgd", times, "published_sum")
    assert plan.resolve(Cell(task, "vanilla", "swin_base")).trainer.accumulate == "mean"
    start = network()
    far = {}
    for how in ("mean", "published_sum"):
        model = copy.deepcopy(start)
        steps = Steps.of(TrainerSettings(batch_size=1, accumulation=times, accumulate=how), times)
        (micros,) = steps.cut(np.arange(times) % len(X))
        for rows, weight in zip(micros, steps.weights(micros), strict=True):
            (weight * ((model(torch.from_numpy(X[rows])) - torch.from_numpy(Y[rows])) ** 2).mean()).backward()
        far[how] = torch.cat([p.grad.ravel() for p in model.parameters()])
    torch.testing.assert_close(far["published_sum"], times * far["mean"])


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 7))
def test_no_sample_is_lost_by_the_mean_and_only_left_over_micro_batches_by_published_code(samples, batch, each):
    indices = np.random.default_rng(samples).permutation(samples)
    mean = Steps(samples, batch, each)
    assert sorted(np.concatenate([m for step in mean.cut(indices) for m in step])) == list(range(samples))
    assert len(mean.cut(indices)) == mean.per_epoch
    published = Steps(samples, batch, each, published=True)
    steps = published.cut(indices)
    assert len(steps) == math.ceil(samples / batch) // each and all(len(step) == each for step in steps)
    kept = np.concatenate([m for step in steps for m in step]) if steps else np.array([], int)
    assert np.array_equal(kept, indices[: len(kept)])


def test_published_code_that_would_never_step_is_an_error_with_a_cure():
    with pytest.raises(UsageError, match=r"22 training samples make 6 micro-batches of 4.*Lower trainer.accumulation"):
        Steps.of(TrainerSettings(batch_size=4, accumulation=7, accumulate="published_sum"), 22)
