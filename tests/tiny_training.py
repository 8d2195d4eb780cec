"""A tiny network, its data and two phases of training, for tests of the trainer; and checkpoints of something else."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from bench.cell.batches import Loader
from bench.cell.checkpoint import Checkpoints
from bench.cell.phase import Phase, warmup_decay
from bench.cell.trainer import Trainer
from bench.settings import TrainerSettings
from tasks.contract import ArraySplit

CPU = torch.device("cpu")


class Killed(BaseException):
    """Stands in for kill -9: nothing in the trainer may catch it."""


def data(n=22, device=CPU):
    r = np.random.default_rng(0)
    x = r.normal(size=(n, 3)).astype(np.float32)
    noise = lambda x, g: x + 0.1 * torch.randn(x.shape, generator=g).to(x.device)  # noqa: E731
    return Loader(ArraySplit(x, (x.sum(1, keepdims=True) ** 2).astype(np.float32), augment=noise), device)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))


def squared_error(model):
    def gradient(batch):
        loss = ((model(batch.x) - batch.y) ** 2).mean()
        loss.backward()
        return {"loss": loss}

    return gradient


def train(folder, *, kill_at=None, device=CPU, moved=lambda model: model, **changes):
    """Two phases of a small run; killed after `kill_at` optimiser steps. Returns (trainer, model).

    Elsewhere than on the CPU, `moved` brings the model to the `device`."""
    model = moved(network())
    settings = TrainerSettings(**{"lr": 1e-2, "batch_size": 4, "checkpoint_seconds": 0.0, **changes})
    trainer = Trainer(model, data(device=device), settings, 7, Checkpoints(folder), lambda word: None)
    steps, gradient = [0], squared_error(model)

    def counted(batch):
        if kill_at is not None and steps[0] >= kill_at:
            raise Killed
        steps[0] += 1
        return gradient(batch)

    def after(epoch, row):
        row["val"] = row["loss"]
        if trainer.state.best_val is None or row["val"] < trainer.state.best_val:
            trainer.state.best_epoch, trainer.state.best_val = epoch, row["val"]
            trainer.best_weights = copy.deepcopy(model.state_dict())

    if trainer.state.phase is None:
        torch.manual_seed(1)  # dropout draws from the global generator; a checkpoint brings its own state
    trainer.fit(Phase("warm", "stage1", list(model[0].parameters()), counted, 2, lambda e: 5e-3 * 0.2 ** int(e)))
    rate = lambda e: 1e-2 * warmup_decay(e, 0.5, 3)  # noqa: E731
    trainer.fit(Phase("stage2", "stage2", model.parameters(), counted, 3, rate, after_epoch=after))
    return trainer, model


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


FOREIGN = {
    "list": lambda c: [1, 2],
    "empty": lambda c: {},
    "no_weights": lambda c: c | {"model": {}},
    "other_shapes": lambda c: c | {"model": {k: v[:1] for k, v in c["model"].items()}},
    "unknown_key_of_state": lambda c: c | {"state": c["state"] | {"surprise": 1}},
    "state_lacks_a_key": lambda c: c | {"state": {k: v for k, v in c["state"].items() if k != "steps"}},
    "text_for_a_number": lambda c: c | {"state": c["state"] | {"epoch": "two"}},
    "other_phase": lambda c: c | {"state": c["state"] | {"phase": "prologue"}},
    "other_optimiser": lambda c: c | {"optimizer": {"state": {}, "param_groups": []}},
    "moments_of_other_shapes": lambda c: c | {"optimizer": c["optimizer"] | {"state": {
        k: {n: t[..., :1] if t.ndim else t for n, t in v.items()} for k, v in c["optimizer"]["state"].items()}}},
    "random_state_too_short": lambda c: c | {"rng": c["rng"][:7]},
    "sums_are_a_number": lambda c: c | {"sums": 3},
}  # fmt: skip
