"""What a cell keeps when it goes on from a checkpoint elsewhere: precision and commits; and what it does not go on from."""

from __future__ import annotations

import pytest
import torch

from bench import machine
from bench.cell import data as loading
from bench.cell import story as cells
from bench.cell import trainer
from bench.cell.checkpoint import load_checked
from bench.plan import Places
from tests.cell_helpers import one
from tests.fake_device import DEVICE, device_without_numbers
from tests.tiny_training import Killed, same, train


@pytest.fixture
def killed(shared_data, tmp_path, monkeypatch):
    """A cell that was killed in stage 2, on a CPU, at commit `first`: (cell, places)."""
    places, cell = Places(shared_data, tmp_path / "results"), one(shared_data)
    words = []

    def kill(word):
        words.append(word)
        if word["stage"] == "stage2" and len(words) > 3:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "TALK_SECONDS", 0.0)
        patch.setattr(machine, "git", lambda: {"commit": "first", "dirty": False})
        with pytest.raises(Killed):
            cells.run(cell, places, {"trainer.checkpoint_seconds": 0.0}, kill)
    return cell, places


def test_a_resume_keeps_the_precision_and_names_all_commits(killed, monkeypatch):
    asked = []

    def on_a_gpu(wanted, device):
        asked.append(wanted)
        return "bf16" if wanted == "auto" else wanted

    monkeypatch.setattr(machine, "choose_precision", on_a_gpu)
    monkeypatch.setattr(machine, "git", lambda: {"commit": "second", "dirty": False})
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    record = cells.run(*killed, {})
    assert record["status"] == "done" and record["precision"] == "fp32" and asked[-1] == "fp32"
    assert record["git"] == {"commit": "second", "dirty": False, "commits": ["first", "second"]}
    assert record["threads"] == 1 and torch.get_num_threads() == before
    assert len(record["body"]["sha256"]) == 64 and record["body"]["parameters"] == record["parameters"]["encoder"]


def test_a_checkpoint_of_other_data_is_not_gone_on_from(killed, monkeypatch, capfd):
    monkeypatch.setattr(loading, "fingerprint", lambda *_: "f" * 64)
    monkeypatch.setattr(machine, "git", lambda: {"commit": "second", "dirty": False})
    record = cells.run(*killed, {})
    assert record["status"] == "done" and record["git"]["commits"] == ["second"]
    assert "made with other data, code or weights" in capfd.readouterr().err


@pytest.mark.parametrize("kill_at", [5, 20], ids=["stage1", "stage2"])
def test_a_run_goes_on_on_another_device(tmp_path, monkeypatch, kill_at):
    """Weights, moments and sums of the epoch under way go there; on the new one nothing meets what is elsewhere."""
    with pytest.raises(Killed):
        train(tmp_path, kill_at=kill_at)
    with device_without_numbers(monkeypatch) as (_, moved):
        went_on, model = train(tmp_path, device=DEVICE, moved=moved, checkpoint_seconds=1e9)
    assert went_on.checkpoints.loaded is not None and went_on.state.finished == ["warm", "stage2"]
    assert {tensor.device for tensor in model.state_dict().values()} == {DEVICE}
    assert went_on.state.steps == {"stage1": 12, "stage2": 18}


def test_a_checkpoint_of_a_card_is_gone_on_from_where_there_is_none(tmp_path):
    _, whole = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "killed", kill_at=20)
    path = tmp_path / "killed" / "checkpoint.pt"
    torch.save(load_checked(path) | {"rng_device": torch.zeros(16, dtype=torch.uint8)}, path)
    resumed, model = train(tmp_path / "killed")
    assert resumed.checkpoints.loaded == path and same(model, whole)
