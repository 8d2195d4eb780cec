"""The training loop: accumulation, schedules, budgets, divergence, and resuming bit for bit."""

from __future__ import annotations

import copy
import errno
import io
import os
import re
import resource
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from bench.cell.batches import Loader, order, rng
from bench.cell.budget import Span
from bench.cell.checkpoint import Checkpoints, Unfit, load_checked, save_checked
from bench.cell.phase import Phase, warmup_decay
from bench.cell.steps import accumulate
from bench.cell.trainer import Diverged, Trainer
from bench.settings import TrainerSettings
from methods.contract import MethodError
from tasks.contract import ArraySplit

CPU = torch.device("cpu")


class Killed(BaseException):
    """Stands in for kill -9: nothing in the trainer may catch it."""


def data(n=22):
    r = np.random.default_rng(0)
    x = r.normal(size=(n, 3)).astype(np.float32)
    noise = lambda x, g: x + 0.1 * torch.randn(x.shape, generator=g)  # noqa: E731
    return Loader(ArraySplit(x, (x.sum(1, keepdims=True) ** 2).astype(np.float32), augment=noise), CPU)


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.3), nn.Linear(8, 1))


def squared_error(model):
    def gradient(batch):
        loss = ((model(batch.x) - batch.y) ** 2).mean()
        loss.backward()
        return {"loss": loss}

    return gradient


def train(folder, *, kill_at=None, **changes):
    """Two phases of a small run; killed after `kill_at` optimiser steps. Returns (trainer, model)."""
    model = network()
    settings = TrainerSettings(**{"lr": 1e-2, "batch_size": 4, "checkpoint_seconds": 0.0, **changes})
    trainer = Trainer(model, data(), settings, 7, Checkpoints(folder), lambda word: None)
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


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys):
    _, model = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "hurt", kill_at=20)
    newest = tmp_path / "hurt" / "checkpoint.pt"
    newest.write_bytes(newest.read_bytes()[:-100])
    assert same(train(tmp_path / "hurt")[1], model)
    assert re.search(r"checkpoint.pt is passed over: .*damaged", capsys.readouterr().err)


def test_a_checkpoint_with_a_flipped_bit_is_noticed(tmp_path):
    save_checked(tmp_path / "c.pt", {"a": torch.arange(100)})
    raw = bytearray((tmp_path / "c.pt").read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "c.pt").write_bytes(raw)
    with pytest.raises(ValueError, match="damaged"):
        load_checked(tmp_path / "c.pt")


def enveloped(content) -> bytes:
    """A whole checkpoint file of any content."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    return b"bench-checkpoint 1 " + f"{zlib.crc32(payload):08x} {len(payload):016x}\n".encode() + payload


class Payload:
    """Opens a file when it is unpickled by something that runs code."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_checkpoint_never_runs_code_and_is_passed_over(tmp_path, capsys):
    (tmp_path / "checkpoint.pt").write_bytes(enveloped({"state": Payload(tmp_path / "pwned")}))
    assert Checkpoints(tmp_path).load() is None
    assert "checkpoint.pt is passed over" in capsys.readouterr().err
    assert not (tmp_path / "pwned").exists()


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
        (folder / name).write_bytes(enveloped(FOREIGN[how](content)))
    assert same(resume(folder)[1], model)


def test_best_weights_of_something_else_are_not_found_out_at_the_end(tmp_path, killed):
    whole, _ = train(tmp_path / "whole")
    folder = Path(shutil.copytree(killed, tmp_path / "foreign"))
    for path in folder.glob("best-*.pt"):
        path.write_bytes(enveloped({"weights": {}}))
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


def test_a_checkpoint_of_a_machine_with_eight_gpus_resumes_with_one(tmp_path, killed, monkeypatch):
    """The format of old holds every GPU's random state; the cell's own is taken, and no GPU is asked for another."""
    folder = Path(shutil.copytree(killed, tmp_path / "there"))
    content = load_checked(folder / "checkpoint.pt")
    states = [torch.full((16,), k, dtype=torch.uint8) for k in range(8)]
    given = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: given.append((int(state[0]), device)))
    trainer, _ = train(tmp_path / "fresh")
    for device, expected in (("cuda:0", 0), ("cuda:3", 3), ("cuda", 0), ("cuda:9", 7)):
        trainer.train.device = torch.device(device)
        trainer._restore_device_rng(content | {"rng_cuda": states})
        assert given.pop() == (expected, torch.device(device))
    trainer.train.device = CPU
    trainer._restore_device_rng(content | {"rng_cuda": states})
    assert given == []


@given(st.integers(1, 12), st.integers(1, 12))
@hypothesis_settings(max_examples=25)
def test_accumulation_leaves_the_gradient_of_the_whole_group(n, micro):
    model, loader = network().eval(), data()
    index = np.arange(n)
    parts = np.split(index, range(micro, n, micro))
    group = [(loader.get(p, None), len(p) / n) for p in parts]
    parameters = list(model.parameters())
    logs = accumulate(group, parameters, squared_error(model))
    got = [p.grad.clone() for p in parameters]
    whole = accumulate([(loader.get(index, None), 1.0)], parameters, squared_error(model))
    for g, p in zip(got, parameters, strict=True):
        torch.testing.assert_close(g, p.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logs["loss"], whole["loss"], rtol=1e-5, atol=1e-6)


def test_what_a_phase_does_not_train_stays_frozen_bit_for_bit(tmp_path):
    model = network()
    before = copy.deepcopy(model.state_dict())
    trainer = Trainer(model, data(), TrainerSettings(batch_size=4), 0, Checkpoints(tmp_path), lambda word: None)
    trainer.fit(Phase("only the first", "stage1", model[0].parameters(), squared_error(model), 2, lambda e: 0.1))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("0.")), name


def test_the_schedule_rises_falls_and_never_goes_below_zero():
    assert warmup_decay(0, 5, 60) == 0
    assert warmup_decay(2.5, 5, 60) == 0.5
    assert warmup_decay(5, 5, 60) == 1
    assert warmup_decay(32.5, 5, 60) == pytest.approx(0.5)
    assert warmup_decay(60, 5, 60) == 0 == warmup_decay(80, 5, 60)
    assert warmup_decay(1000, 5, None) == 1


def test_a_loss_that_is_not_finite_is_divergence_with_a_cure(tmp_path):
    model = network()
    trainer = Trainer(model, data(), TrainerSettings(optimizer="sgd"), 0, Checkpoints(tmp_path), lambda word: None)
    with pytest.raises(Diverged, match=r"stage2, epoch \d+: loss = (nan|inf); a lower trainer.lr"):
        trainer.fit(Phase("stage2", "stage2", model.parameters(), squared_error(model), 50, lambda e: 1e9))


@pytest.mark.parametrize("budget", [5, 13, 40])
def test_a_budget_in_steps_is_shared_by_both_stages_and_met_exactly(tmp_path, budget):
    trainer, _ = train(tmp_path, batch_size=22, budget_steps=budget)
    assert trainer.state.steps["stage1"] == 2
    assert sum(trainer.state.steps.values()) == budget
    assert trainer.state.curves["stage2"][0]["lr"] < 1e-2


def test_a_budget_that_stage_1_used_up_is_an_error_with_a_cure():
    with pytest.raises(MethodError, match="the whole budget of 10"):
        Span(5).within(10, None, 12, 3.0)
    with pytest.raises(MethodError, match="raise --budget"):
        Span(5).within(None, 2.0, 12, 3.0)


def test_a_budget_in_seconds_ends_the_run_in_time(tmp_path):
    trainer, _ = train(tmp_path, budget_seconds=0.5)
    assert 0.4 < trainer.state.seconds["stage1"] + trainer.state.seconds["stage2"] < 5


def test_every_epoch_sees_every_sample_once_in_another_order():
    orders = [order(3, "stage2", epoch, 50) for epoch in range(3)]
    assert all(sorted(o) == list(range(50)) for o in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[1], order(3, "stage2", 1, 50))


def test_generators_of_different_names_and_seeds_differ():
    draws = {rng(*key).integers(2**62) for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1), (0, "a", "b")]}
    assert len(draws) == 5


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


def three_of_its_own(epoch):
    return (batch for batch in data(20).batches([np.array([i]) for i in range(3)], [0, 0, 0]))


@pytest.mark.parametrize("own_batches", [None, three_of_its_own])
def test_a_phase_says_which_part_of_its_steps_is_over_from_the_first_one_on(tmp_path, monkeypatch, own_batches):
    monkeypatch.setattr("bench.cell.trainer.TALK_SECONDS", 0.0)
    said, model = [], network()
    settings = TrainerSettings(batch_size=4)
    trainer = Trainer(model, data(20), settings, 0, Checkpoints(tmp_path), lambda word: said.append(word["done"]))
    trainer.fit(Phase("phase", "stage2", model.parameters(), squared_error(model), 2, lambda e: 1e-2, own_batches))
    if own_batches is None:
        assert said == pytest.approx([step / 10 for step in range(1, 11)])
    else:  # a generator does not tell its length: taken for the task's until an epoch is over
        assert said == pytest.approx([0.1, 0.2, 0.3, 4 / 6, 5 / 6, 1.0])
