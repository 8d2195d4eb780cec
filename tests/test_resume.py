"""What a cell keeps when it goes on from a checkpoint elsewhere: precision and commits; and what it does not go on from."""

from __future__ import annotations

import pytest
import torch

from bench import machine
from bench.cell import data as loading
from bench.cell import story as cells
from bench.cell import trainer
from bench.plan import Places
from tests.cell_helpers import one


class Killed(BaseException):
    pass


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
