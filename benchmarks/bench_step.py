"""A step of stage 2 for every backbone and kind of task, against the same forward and backward in a bare loop.

The two take turns in one process, first one ahead, then the other. `paired_share` is the median ratio of their CPU times
minus one, with its quartiles: honest, but the memory allocator alone moves it by several percent. `share` is the trainer's
own CPU time over that of the forward pass, backward pass and optimiser step inside it (goal: at most 3 %), which has no
such noise. `loader_times_faster` says how much faster the batches alone are than the step (goal: 10). Backbones whose
weights are not here have random ones, which cost the same.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from statistics import median, quantiles

import numpy as np
import pytest
import torch
from torch.optim import optimizer as hooks

from bench.backbones import BACKBONES
from bench.cell.batches import Loader
from bench.cell.checkpoint import Checkpoints
from bench.cell.phase import Phase, optimizer_for
from bench.cell.trainer import Trainer
from bench.models.source import load_source_model
from bench.models.target import build_target
from bench.settings import ModelSettings, TrainerSettings
from benchmarks.interleaved import seconds
from tasks.contract import ArraySplit
from tasks.losses import LOSSES

KINDS = {
    ("text", "classes"): ((1, 1000), (4,), "cross_entropy"),
    ("text", "multilabel"): ((4, 1000), (36,), "bce"),
    ("text", "dense"): ((1, 256), (1, 256), "nrmse"),
    ("vision", "classes"): ((3, 32, 32), (100,), "cross_entropy"),
    ("vision", "multilabel"): ((1, 96, 101), (200,), "bce"),
    ("vision", "dense"): ((1, 64, 64), (1, 64, 64), "nrmse"),
}
"""Input, output and loss of ECG, DeepSEA, Advection, CIFAR-100, FSD50K and Darcy flow."""
SIZES = {"minilm": (4, 6, 12), "swin_micro": (16, 12, 16), "roberta_base": (2, 3, 6), "swin_base": (1, 3, 6)}
"""Samples per step, steps per turn, turns (even)."""
TOKENS = 64


def split(kind: str, shape: tuple[int, ...], out: tuple[int, ...], n: int) -> ArraySplit:
    """Random samples of a kind of task."""
    r = np.random.default_rng(0)
    x = r.normal(size=(n, *shape)).astype(np.float32)
    if kind == "classes":
        return ArraySplit(x, r.integers(0, out[0], n))
    y = r.normal(size=(n, *out)).astype(np.float32)
    return ArraySplit(x, y if kind == "dense" else (y > 0).astype(np.float32))


@contextmanager
def stopwatch_on_optimizers(inside: list[float]):
    """Adds the CPU time of each optimiser step to the last entry of `inside`."""
    begun: list[float] = []
    before = hooks.register_optimizer_step_pre_hook(lambda *_: begun.append(time.process_time()))

    def add(*_):
        inside[-1] += time.process_time() - begun.pop()

    after = hooks.register_optimizer_step_post_hook(add)
    yield
    before.remove(), after.remove()


@pytest.mark.parametrize("kind", ["classes", "multilabel", "dense"])
@pytest.mark.parametrize("name", SIZES)
def test_step(benchmark, name, kind, tmp_path):
    """One backbone on one kind of task."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    spec = BACKBONES[name]
    shape, out, loss_name = KINDS[spec.modality, kind]
    size, steps, turns = SIZES[name]
    body = load_source_model(spec, random_weights=spec.missing() is not None)
    model = build_target(body, kind, shape, out, ModelSettings(target_seq_len=TOKENS), 0)
    parameters = list(model.parameters())
    data = split(kind, shape, out, size * steps)
    loader = Loader(data, torch.device("cpu"))
    config = TrainerSettings(batch_size=size, checkpoint_seconds=1e9)
    x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)

    inside: list[float] = []
    """CPU seconds of each run of the harness that went into the model and the optimiser."""

    def gradient(batch):
        since = time.process_time()
        loss = LOSSES[loss_name](model(batch.x), batch.y, batch.extra)
        loss.backward()
        inside[-1] += time.process_time() - since
        return {"loss": loss.detach()}

    def bare():
        optimizer = optimizer_for(config, parameters, 1e-6)  # its moments are made in both loops
        model.train()
        for i in range(0, len(x), size):
            optimizer.zero_grad(set_to_none=True)
            LOSSES[loss_name](model(x[i : i + size]), y[i : i + size], {}).backward()
            optimizer.step()

    def harness():
        inside.append(0.0)
        trainer = Trainer(model, loader, config, 0, Checkpoints(tmp_path / f"{time.monotonic_ns()}"), lambda word: None)
        with stopwatch_on_optimizers(inside):
            trainer.fit(Phase("stage2", "stage2", parameters, gradient, 1, lambda epoch: 1e-6))

    bare(), harness()
    pairs: list[tuple[float, float]] = []
    inside.clear()
    for turn in range(turns):
        times = {run: seconds(run) for run in ((harness, bare) if turn % 2 else (bare, harness))}
        pairs.append((times[harness], times[bare]))
    own = median(total - part for (total, _), part in zip(pairs, inside, strict=True))
    index = [np.arange(i, i + size) for i in range(0, len(x), size)]
    loading = min(seconds(lambda: [None for _ in range(10) for _ in loader.batches(index, [None] * steps)]) for _ in range(3))  # fmt: skip
    step = median(b for _, b in pairs) / steps
    benchmark.extra_info |= {
        "samples_per_cpu_second": size / step,
        "share": own / median(inside),
        "paired_share": [q - 1 for q in quantiles((a / b for a, b in pairs), n=4)],
        "loader_times_faster": step / (loading / (10 * steps)),
        "batch": size,
        "weights": body.weights,
        "limits": {"share": 0.03, "loader_times_faster": 10},
    }
    benchmark.pedantic(harness, rounds=1, iterations=1)
    torch.set_num_threads(threads)
