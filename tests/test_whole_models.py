"""Whole models in one file: kept, loaded, scored again digit for digit; foreign and damaged files are refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import bench
from bench.cell.story import run
from bench.cell.whole import FORMAT
from bench.cli import main
from bench.errors import UsageError
from bench.plan import Places
from bench.records.store import Store
from tasks.metrics import METRICS
from tests.cell_helpers import one

KEEP = {"analysis.keep_weights": True}
ARMS = [
    ("darcy_pdebench", "vanilla"), ("spherical", "lora"), ("spherical", "small_supervised"), ("darcy_pdebench", "fno"),
    ("darcy_pdebench", "pare"), ("fsd50k", "vanilla"), ("ecg", "vanilla"), ("advection", "vanilla"),
]  # fmt: skip


def kept(places, task="darcy_pdebench", method="vanilla", **settings):
    """The record of a tiny cell, and the file of its model."""
    record = run(one(places.data_dir, task, method, **{"trainer.epochs": "2", **settings}), places, KEEP)
    assert record["status"] == "done", record["error"]
    return record, Store(places.results_dir).sidecar(record, ".safetensors")


@pytest.fixture
def places(shared_data, tmp_path):
    return Places(shared_data, tmp_path / "results")


@pytest.mark.parametrize(("task", "method"), ARMS, ids=lambda arm: "-".join(arm) if isinstance(arm, tuple) else arm)
def test_a_kept_model_scores_as_its_record_says_digit_for_digit(places, task, method):
    record, path = kept(places, task, method)
    assert bench.evaluate(path, data_dir=places.data_dir) == record["metrics"]


def test_the_reported_epoch_is_kept_and_the_last_ones_body_for_analyses(places, monkeypatch):
    monkeypatch.setattr("bench.cell.finetune.better", lambda a, b, higher: b is None)  # the first epoch is chosen
    record, path = kept(places)
    assert record["metrics"] != record["metrics_last"]
    assert bench.evaluate(path, data_dir=places.data_dir) == record["metrics"]
    state = load_file(path)
    body = [name for name in state if name.startswith("encoder.")]
    assert body and any(not torch.equal(state[name], state[f"last.{name}"]) for name in body)
    assert bench.load_model(path).about["epoch"] == 1


def test_a_loaded_model_maps_inputs_to_the_tasks_units(places):
    record, path = kept(places)
    model, data = bench.load_model(path), bench.task("darcy_pdebench", places.data_dir).load("tiny")
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    batch = data.test.batch(range(len(data.test)), None)
    with torch.inference_mode():
        out = model(torch.as_tensor(batch.x))
    assert METRICS["nrmse"](out.numpy(), batch.y, batch.extra) == pytest.approx(record["metrics"]["nrmse"]["value"])
    raw = model.normalised(torch.as_tensor(data.test.x))
    torch.testing.assert_close(raw, torch.as_tensor(batch.x))
    assert model.about["task"] == "darcy_pdebench" and model.about["settings"]["trainer.epochs"] == 2


def test_the_command_prints_the_scores_and_refuses_other_kinds_of_tasks(places, capsys):
    record, path = kept(places)
    assert main(["evaluate", str(path), "--data-dir", str(places.data_dir), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["metrics"] == record["metrics"]
    assert main(["evaluate", str(path), "--task", "spherical", "--data-dir", str(places.data_dir)]) == 2
    assert "is for dense, spherical has classes" in capsys.readouterr().err
    assert main(["evaluate", str(path), "--task", "darcy_nb360", "--data-dir", str(places.data_dir)]) == 2
    assert "it cannot be scored there" in capsys.readouterr().err


def test_a_model_scored_on_another_task_is_said_to_be_of_its_own(places, capsys):
    _, path = kept(places, **{"trainer.epochs": "1"})
    command = ["evaluate", str(path), "--task", "shallow_water", "--data-dir", str(places.data_dir)]
    assert main(command) == 0
    assert "trained on darcy_pdebench, only scored on shallow_water" in capsys.readouterr().out
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["task"], said["trained_on"]) == ("shallow_water", "darcy_pdebench") and said["metrics"]


def test_a_model_that_other_code_trained_is_scored_with_a_warning(places, capsys):
    _, path = kept(places, **{"trainer.epochs": "1"})
    damaged(path, code={"task": "0" * 16, "method": json.loads(about_of(path))["code"]["method"]})
    assert main(["evaluate", str(path), "--data-dir", str(places.data_dir)]) == 0
    assert "was trained before task darcy_pdebench was edited" in capsys.readouterr().err


def test_a_closed_form_has_no_weights_to_keep(places, capsys):
    _, path = kept(places, "darcy_pdebench", "ridge")
    assert not path.exists() and "a closed form has no weights" in capsys.readouterr().err


def about_of(path):
    """What the file says of its model, as JSON."""
    with safe_open(path, "pt") as file:
        return file.metadata()["about"]


def damaged(path, state=None, **changes):
    """The file with another state or other words about it."""
    about = json.loads(about_of(path)) | changes
    metadata = {"format": FORMAT, "about": json.dumps(about)}
    save_file(load_file(path) if state is None else state, path, metadata)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: p.write_bytes(b"\x80\x04 a pickle"), "no safetensors file"),
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "cut short"),
        (lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n"), "Git LFS pointer"),
        (lambda p: save_file({"x": torch.zeros(2)}, p), "weights without what they were trained as"),
        (lambda p: damaged(p, method=7), "method"),
        (lambda p: damaged(p, method="no_such"), "no_such"),
        (lambda p: damaged(p, backbone="no_such"), "no_such"),
        (lambda p: damaged(p, input_shape=[10**9, 10**9]), "input_shape"),
        (lambda p: damaged(p, input_shape=[5, 64, 64]), "embedder"),
        (lambda p: damaged(p, dict([*load_file(p).items()][1:])), "has shape none"),
        (lambda p: damaged(p, load_file(p) | {"encoder.more": torch.zeros(2)}), "encoder.more has shape"),
        (lambda p: damaged(p, {k: v.long() for k, v in load_file(p).items()}), "is torch.int64, expected torch.float32"),
        (lambda p: damaged(p, {k: v / (k[0] != "e") for k, v in load_file(p).items()}), "values that are not finite"),
        (lambda p: p.unlink(), "cannot be read"),
        (lambda p: damaged(p, {k: v for k, v in load_file(p).items() if k != "output.shift"}), "in other units"),
        (lambda p: damaged(p, {k: v for k, v in load_file(p).items() if not k.startswith("in")}), "in other units"),
        (lambda p: p.write_bytes(p.read_bytes().replace(b'"F32"', b'"Q32"', 1)), "cannot be read"),
    ],
)  # fmt: skip
def test_what_is_no_whole_model_is_refused_with_the_reason(places, damage, message):
    _, path = kept(places, **{"trainer.epochs": "1"})
    damage(path)
    with pytest.raises(UsageError, match=message):
        bench.load_model(path)
