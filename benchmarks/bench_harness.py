"""What the harness itself costs: start-up, a plan of 10,000 cells, and the trainer's step against a bare loop."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bench import data, plan, registry, settings
from bench.batches import Loader
from bench.checkpoint import Checkpoints
from bench.models.backbones import BACKBONES
from bench.models.target import build_target
from bench.plan import Selection
from bench.settings import ModelSettings, TrainerSettings
from bench.store import Store
from bench.trainer import Trainer, optimizer_for
from tasks.contract import ArraySplit
from tests.record_factory import make_record

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("arguments", [["--help"], ["list", "tasks"], ["plan", "--suite", "quick"]], ids=" ".join)
def test_start_up(benchmark, arguments, tmp_path):
    """A whole process, import to exit; the issue's limit is 0.4 s."""
    command = [sys.executable, "-m", "bench", *arguments]
    if arguments[0] == "plan":
        command += ["--data-dir", str(tmp_path), "--results-dir", str(tmp_path / "results")]
    benchmark.pedantic(lambda: subprocess.run(command, cwd=ROOT, capture_output=True, check=True), rounds=5)


def test_plan_of_10_000_cells_against_10_000_records(benchmark, tmp_path):
    """The issue's limit is 3 s."""
    chosen = Selection(suites=("quick",), seeds=tuple(range(2500)))
    cells = plan.cells(chosen, tmp_path)
    store = Store(tmp_path / "results")
    store.folder.mkdir()
    for cell in cells:
        code = {
            "task": registry.source_hash(registry.tasks()[cell.task]),
            "method": registry.source_hash(registry.methods()[cell.method]),
        }
        known = {"profile": cell.profile, "origin": cell.origin, "code": code}
        record = make_record(**cell.key(), **known, settings=settings.flatten(plan.resolve(cell), "identity"))
        store.path(cell.key()).write_text(json.dumps(record))

    def whole():
        return plan.to_run(plan.plan(plan.cells(chosen, tmp_path), store))

    assert benchmark.pedantic(whole, rounds=3) == []
    assert len(cells) == 10_000


@pytest.mark.parametrize("task", registry.suites()["quick"])
def test_making_the_data_of_a_quick_task(benchmark, task, tmp_path):
    """The issue's limit is 15 s each."""
    made = benchmark.pedantic(lambda: data.generate(registry.tasks()[task], tmp_path, "quick"), rounds=1)
    assert made and not data.generate(registry.tasks()[task], tmp_path, "quick")  # the second time it is there


@pytest.mark.parametrize("backbone", ["minilm", "swin_micro"])
def test_the_trainers_step_against_a_bare_loop(benchmark, backbone, tmp_path):
    """Both in turn within one run, epoch by epoch; the share of the harness is the median ratio minus one."""
    text = backbone == "minilm"
    shape = (1, 256) if text else (3, 32, 32)
    r = np.random.default_rng(0)
    x, y = r.normal(size=(64, *shape)).astype(np.float32), r.integers(0, 4, 64)
    source = BACKBONES[backbone].load()
    model = build_target(source, "classes", shape, (4,), ModelSettings(target_seq_len=32), 0)
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)
    loader = Loader(ArraySplit(x, y), torch.device("cpu"))
    config = TrainerSettings(batch_size=16, checkpoint_seconds=1e9)

    def gradient(batch):
        loss = torch.nn.functional.cross_entropy(model(batch.x), batch.y)
        loss.backward()
        return {"loss": loss.detach()}

    def bare():
        optimizer = optimizer_for(config, parameters, 1e-5)
        model.train()
        start = time.perf_counter()
        for i in range(0, 64, 16):
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.cross_entropy(
                model(torch.from_numpy(x[i : i + 16])), torch.from_numpy(y[i : i + 16])
            ).backward()
            optimizer.step()
        return time.perf_counter() - start

    def harness(k):
        trainer = Trainer(model, loader, config, 0, Checkpoints(tmp_path / str(k)), lambda word: None)
        start = time.perf_counter()
        trainer.fit("stage2", parameters, gradient, stage="stage2", epochs=1, lr=1e-5, lr_at=lambda e: 1.0)
        return time.perf_counter() - start

    bare(), harness("warm")
    pairs = [(harness(k), bare()) for k in range(9)]
    ratios = sorted(a / b for a, b in pairs)
    benchmark.extra_info |= {"ratio_median": ratios[4], "ratio_min": ratios[0], "ratio_max": ratios[-1]}
    batches = [np.arange(i, i + 16) for i in range(0, 64, 16)]
    start = time.perf_counter()
    for _ in range(10):
        for index in batches:
            loader.get(index, None)
    loading = (time.perf_counter() - start) / 10
    benchmark.extra_info |= {"loader_times_faster_than_step": min(b for _, b in pairs) / loading}
    benchmark.pedantic(lambda: harness("last"), rounds=1)
