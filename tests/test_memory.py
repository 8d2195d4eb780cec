"""Where memory runs out: the same experiment in smaller pieces, or the reason why there is none."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from bench.cell import build as building
from bench.cell import story as cells
from bench.cell import trainer
from bench.cell.memory import Memory, OutOfMemory
from bench.cell.steps import accumulate
from bench.plan import Places
from bench.records.store import Store
from methods.contract import TorchBatch
from tasks.losses import LOSSES, share
from tests.cell_helpers import one

RETRY = {"trainer.retry_out_of_memory": True}


@pytest.fixture
def places(shared_data, tmp_path):
    return Places(shared_data, tmp_path / "results")


def full() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")


def small_memory(monkeypatch, training=10**9, evaluation=10**9):
    """A model that runs out for more samples at once than it is given, in training or in evaluation."""
    real = building.build_target

    def build(*args):
        model = real(*args)

        def check(module, inputs):
            if len(inputs[0]) > (training if module.training else evaluation):
                raise full()

        model.register_forward_pre_hook(check)
        return model

    monkeypatch.setattr(building, "build_target", build)


def curves(places, record):
    """Every logged number but the seconds."""
    found = Store(places.results_dir).curves(record)
    return [{k: v for k, v in row.items() if k not in ("seconds", "phase")} for stage in found for row in found[stage]]


@pytest.mark.parametrize("method", ["vanilla", "embedder_warmup"])
def test_a_retry_takes_the_same_steps_on_the_same_batches(places, tmp_path, monkeypatch, method):
    cell = one(places.data_dir, method=method, **{"trainer.batch_size": "7"})
    whole = cells.run(cell, places, {})
    small_memory(monkeypatch, training=2)
    other = Places(places.data_dir, tmp_path / "retried")
    assert cells.run(cell, other, {})["status"] == "out_of_memory"
    again = cells.run(cell, other, RETRY)
    assert again["status"] == "done" and again["retries"] == {"micro_batch": 2}
    assert again["id"] == whole["id"]
    for a, b in zip(curves(other, again), curves(places, whole), strict=True):
        assert a == pytest.approx(b, rel=1e-3), "sums in another order, and nothing else"


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_the_pieces_is_that_of_the_whole_batch(name):
    """In float64; masked losses by how much each piece leaves unmasked."""
    torch.manual_seed(0)
    labels = name == "cross_entropy"
    model = nn.Conv2d(1, 3 if labels else 1, 3, padding=1).double()
    x, ignore = torch.randn(7, 1, 6, 6).double(), (torch.rand(7, 1, 6, 6) > torch.linspace(0, 1, 7).view(-1, 1, 1, 1))
    y = torch.randint(3, (7,)) if labels else torch.rand(7, 1, 6, 6).double()
    batch = TorchBatch(x, y, {"ignore": ignore.double()} if "masked" in name else {})
    moving = list(model.parameters())

    def gradient(part):
        output = model(part.x).mean((2, 3)) if labels else model(part.x)
        loss = LOSSES[name](output, part.y, part.extra)
        loss.backward()
        return {"loss": loss}

    found = []
    weight = lambda part, whole: share(name, (part.y, part.extra), (whole.y, whole.extra))  # noqa: E731
    for memory in (Memory(True), Memory(True, {"micro_batch": 3}, weight)):
        logged = accumulate([(batch, 1.0)], moving, memory.sparing(gradient, moving, model))
        found.append([logged["loss"], *(p.grad for p in moving)])
    for whole, split in zip(*found, strict=True):
        torch.testing.assert_close(split, whole, rtol=1e-10, atol=1e-12)


def test_evaluation_halves_its_own_batch_and_trains_once(places, monkeypatch):
    small_memory(monkeypatch, evaluation=1)
    fits = []
    real = trainer.Trainer.fit
    monkeypatch.setattr(trainer.Trainer, "fit", lambda self, *a, **k: fits.append(1) or real(self, *a, **k))
    record = cells.run(one(places.data_dir), places, RETRY)
    assert record["status"] == "done" and len(fits) == 1
    assert set(record["retries"]) == {"eval_batch_size"} and record["retries"]["eval_batch_size"] == 1


@pytest.mark.parametrize("method", ["mona", "orca"])
def test_batches_whose_samples_are_coupled_are_not_cut(places, monkeypatch, method):
    def exhausted(*args, **kwargs):
        raise full()

    monkeypatch.setattr("methods.mona.Mona._meta_step", exhausted)
    monkeypatch.setattr("methods.orca.backward", exhausted)
    record = cells.run(one(places.data_dir, method=method), places, RETRY)
    assert record["status"] == "out_of_memory" and record["retries"] == {}
    assert "couples its samples" in record["error"]["message"] and "20.00 GiB" in record["error"]["message"]


def test_batch_normalisation_is_not_cut():
    def exhausted(batch):
        raise full()

    model = nn.BatchNorm1d(3)
    spare = Memory(True).sparing(exhausted, list(model.parameters()), model)
    with pytest.raises(OutOfMemory, match="batch normalisation couples its samples"):
        spare(TorchBatch(torch.zeros(4, 3), torch.zeros(4), {}))


def test_a_single_sample_that_does_not_fit_ends_in_what_torch_says(places, monkeypatch):
    small_memory(monkeypatch, training=0)
    record = cells.run(one(places.data_dir), places, RETRY)
    assert record["status"] == "out_of_memory" and record["retries"] == {"micro_batch": 1}


def test_the_time_of_checkpoints_is_in_the_record(places, monkeypatch):
    real = trainer.Checkpoints.save
    monkeypatch.setattr(trainer.Checkpoints, "save", lambda *a: time.sleep(0.05) or real(*a))
    record = cells.run(one(places.data_dir), places, {"trainer.checkpoint_seconds": 0.0})
    assert record["seconds_checkpoints"] > 0.1
    parts = [record[f"seconds_{part}"] for part in ("data", "stage1", "stage2", "eval", "checkpoints")]
    assert sum(parts) <= record["seconds_total"] + 1e-6
