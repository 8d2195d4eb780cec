"""Resuming bit for bit; checkpoints that are damaged, or of something else; disks that fail."""

from __future__ import annotations

import copy
import errno
import os
import re
import resource
import shutil
import threading
from pathlib import Path

import pytest
import torch

from bench.cell.checkpoint import Checkpoints, Unfit, load_checked, save_checked
from bench.cell.phase import Phase
from bench.cell.trainer import Trainer
from bench.settings import TrainerSettings
from tests.tiny_training import FOREIGN, Killed, data, network, same, train


@pytest.mark.parametrize("changes", [{}, {"accumulation": 3}, {"optimizer": "sgd"}, {"clip": 0.1}])
def test_a_run_killed_at_any_step_resumes_to_the_same_bits(tmp_path, changes):
    whole, model = train(tmp_path / "whole", **changes)
    for kill_at in range(0, 30, 4):  # of 30 micro-batches
        folder = tmp_path / f"killed-{kill_at}"
        with pytest.raises(Killed):
            train(folder, kill_at=kill_at, **changes)
        resumed, again = train(folder, **changes)
        assert same(again, model), f"killed at step {kill_at}"
        for stage in ("stage1", "stage2"):
            strip = [{k: v for k, v in row.items() if k != "seconds"} for row in resumed.state.curves[stage]]
            assert strip == [{k: v for k, v in row.items() if k != "seconds"} for row in whole.state.curves[stage]]
        assert resumed.state.best_epoch == whole.state.best_epoch
        assert all(torch.equal(resumed.best_weights[k], whole.best_weights[k]) for k in whole.best_weights)


def test_being_killed_twice_is_no_worse_than_once(tmp_path):
    _, model = train(tmp_path / "whole")
    for kill_at in (5, 9, 4, 0):
        with pytest.raises(Killed):
            train(tmp_path / "again", kill_at=kill_at)
    assert same(train(tmp_path / "again")[1], model)


@pytest.mark.parametrize("kill_at", range(18, 30))
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_its_best_weights(tmp_path, capsys, kill_at):
    whole, model = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "hurt", kill_at=kill_at)
    newest = tmp_path / "hurt" / "checkpoint.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed, again = train(tmp_path / "hurt")
    assert same(again, model)
    assert all(torch.equal(resumed.best_weights[k], whole.best_weights[k]) for k in whole.best_weights)
    assert re.search(r"checkpoint.pt is passed over: .*damaged", capsys.readouterr().err)
    assert len(list((tmp_path / "hurt").glob("best-*.pt"))) <= 2


def test_a_checkpoint_with_a_flipped_bit_is_noticed(tmp_path):
    save_checked(tmp_path / "c.pt", {"a": torch.arange(100)})
    raw = bytearray((tmp_path / "c.pt").read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "c.pt").write_bytes(raw)
    with pytest.raises(ValueError, match="damaged"):
        load_checked(tmp_path / "c.pt")


class Payload:
    """Opens a file when it is unpickled by something that runs code."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_checkpoint_never_runs_code_and_is_passed_over(tmp_path, capsys):
    torch.save({"state": Payload(tmp_path / "pwned")}, tmp_path / "checkpoint.pt")
    assert Checkpoints(tmp_path).load() is None
    assert "checkpoint.pt is passed over" in capsys.readouterr().err
    assert not (tmp_path / "pwned").exists()


def resume(folder):
    """Train as a cell does: what does not fit is set aside, and all is built anew."""
    while True:
        try:
            return train(folder)
        except Unfit as error:
            Checkpoints(folder).set_aside(error.path)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    with pytest.raises(Killed):
        train(folder, kill_at=20)
    return folder


@pytest.mark.parametrize("how", FOREIGN)
@pytest.mark.parametrize("both", [False, True], ids=["newest", "both"])
def test_a_whole_checkpoint_of_something_else_is_passed_over(tmp_path, killed, how, both):
    _, model = train(tmp_path / "whole")
    folder = Path(shutil.copytree(killed, tmp_path / "foreign"))
    for name in ("checkpoint.pt", "checkpoint.previous.pt")[: 1 + both]:
        content = load_checked(folder / name)
        torch.save(FOREIGN[how](content), folder / name)
    assert same(resume(folder)[1], model)


def test_best_weights_of_something_else_are_not_found_out_at_the_end(tmp_path, killed):
    whole, _ = train(tmp_path / "whole")
    folder = Path(shutil.copytree(killed, tmp_path / "foreign"))
    for path in folder.glob("best-*.pt"):
        torch.save({"weights": {}}, path)
    resumed, _ = resume(folder)
    assert all(torch.equal(resumed.best_weights[k], whole.best_weights[k]) for k in whole.best_weights)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EMFILE])
def test_a_passing_fault_of_the_disk_costs_one_checkpoint(tmp_path, monkeypatch, capsys, number):
    _, model = train(tmp_path / "whole")
    calls, fsync = [], os.fsync

    def fails_once(handle):
        calls.append(handle)
        if len(calls) == 4:
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", fails_once)
    assert same(train(tmp_path / "hurt")[1], model)
    said = capsys.readouterr().err
    assert said.count("no checkpoint could be written") == 1 and os.strerror(number) in said
    assert Checkpoints(tmp_path / "hurt").load() is not None
    assert not list((tmp_path / "hurt").glob(".*"))


def test_a_limit_on_the_size_of_files_costs_the_checkpoints_only(tmp_path, capsys):
    _, model = train(tmp_path / "whole")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        assert same(train(tmp_path / "limited")[1], model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.strerror(errno.EFBIG) in capsys.readouterr().err


def test_a_disk_that_fails_while_a_checkpoint_is_read_loses_no_training(tmp_path, killed, monkeypatch):
    folder = Path(shutil.copytree(killed, tmp_path / "there"))

    def fails(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr("bench.cell.checkpoint.load_checked", fails)
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            train(folder)
    assert Checkpoints(folder).load() is not None


def test_a_phase_with_its_own_batches_resumes_too(tmp_path):
    def phases(folder, kill_at=None):
        model = network()
        trainer = Trainer(
            model, data(), TrainerSettings(checkpoint_seconds=0.0), 0, Checkpoints(folder), lambda word: None
        )
        seen = []

        def gradient(item):
            if kill_at is not None and len(seen) == kill_at:
                raise Killed
            seen.append(item)
            loss = (model[0].weight * item).pow(2).sum()
            loss.backward()
            return {"loss": loss}

        three = lambda epoch: iter([epoch + 1.0, epoch + 2.0, epoch + 3.0])  # noqa: E731
        trainer.fit(Phase("own", "stage1", model[0].parameters(), gradient, 4, lambda e: 0.1, three))
        return model

    expected = phases(tmp_path / "whole")
    with pytest.raises(Killed):
        phases(tmp_path / "killed", kill_at=7)
    assert same(phases(tmp_path / "killed"), expected)


class Beside:
    """A run whose checkpoints are written beside its steps, at a disk that waits to be told."""

    def __init__(self, folder, monkeypatch):
        self.disk, self.started = threading.Event(), threading.Event()
        self.model, self.folder = network(), folder
        settings = TrainerSettings(checkpoint_seconds=60.0)
        self.trainer = Trainer(self.model, data(), settings, 0, Checkpoints(folder), lambda word: None)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1)
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, handle):
        self.started.set()
        assert self.disk.wait(10)

    def save(self):
        self.started.clear()
        self.trainer.save(self.optimizer)
        assert self.started.wait(10)


def test_a_checkpoint_written_beside_the_training_holds_what_was_when_it_began(tmp_path, monkeypatch):
    run = Beside(tmp_path, monkeypatch)
    before = copy.deepcopy(run.model.state_dict())
    run.save()
    with torch.no_grad():
        run.model[0].weight.zero_()
    run.trainer.state.epoch = 9
    assert not run.trainer._save_is_due()
    run.disk.set()
    run.trainer.checkpoints.wait()
    content, _ = Checkpoints(tmp_path).load()
    assert content["state"]["epoch"] == 0
    assert all(torch.equal(content["model"][name], value) for name, value in before.items())


def test_while_one_is_written_the_one_before_is_whole(tmp_path, monkeypatch):
    run = Beside(tmp_path, monkeypatch)
    run.disk.set()
    run.save()
    run.trainer.checkpoints.wait()
    run.disk.clear()
    run.trainer.state.epoch = 1
    run.save()
    content, _ = Checkpoints(tmp_path).load()  # what a process would find that was killed now
    assert content["state"]["epoch"] == 0
    run.disk.set()
    run.trainer.checkpoints.wait()
    assert Checkpoints(tmp_path).load()[0]["state"]["epoch"] == 1


def test_whatever_ends_a_phase_waits_for_the_checkpoint_and_says_what_was_wrong_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "_save_is_due", lambda self: True)
    with pytest.raises(Killed):
        train(tmp_path / "killed", kill_at=20, checkpoint_seconds=60.0)
    assert not list((tmp_path / "killed").glob(".*.tmp")) and Checkpoints(tmp_path / "killed").load() is not None
    monkeypatch.setattr("bench.cell.checkpoint.save_checked", lambda path, content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tmp_path / "broken", checkpoint_seconds=60.0)


def test_checkpoints_are_as_far_apart_as_their_cost_demands(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("bench.cell.trainer.time.monotonic", lambda: now[0])
    model = network()
    trainer = Trainer(model, data(), TrainerSettings(), 0, Checkpoints(tmp_path), lambda word: None)

    def slow(content, best):
        now[0] += 3.0

    monkeypatch.setattr(trainer.checkpoints, "save_beside", slow)
    due = []
    for second in (59, 61):
        now[0] = second
        due.append(trainer._save_is_due())
    trainer.save(torch.optim.SGD(model.parameters(), 0.1))
    for second in (149, 151):  # 3 s are 2 % of 150
        now[0] = 64 + second
        due.append(trainer._save_is_due())
    assert due == [False, True, False, True]
