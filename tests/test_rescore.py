"""Predictions beside a record: kept where asked for, scored again digit for digit, refused where they are another's."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from bench.cell.rescore import reproduce, rescore
from bench.cell.story import run
from bench.cli import main
from bench.plan import Places
from bench.records import predictions
from bench.records.store import Store
from tests.cell_helpers import one

KEEP = {"analysis.keep_predictions": True}


@pytest.fixture(scope="module")
def kept(shared_data, tmp_path_factory):
    """A store of three tiny cells, classes, labels and fields, that kept their predictions."""
    places = Places(shared_data, tmp_path_factory.mktemp("kept"))
    for task, method in (("spherical", "vanilla"), ("deepsea", "ridge"), ("darcy_pdebench", "vanilla")):
        record = run(one(shared_data, task, method, **{"trainer.epochs": "2"}), places, KEEP)
        assert record["status"] == "done", record["error"]
    return places


@pytest.fixture
def places(kept, tmp_path):
    """A copy of the store that a test may damage."""
    return Places(kept.data_dir, shutil.copytree(kept.results_dir, tmp_path / "results"))


def rescored(places, **names):
    store = Store(places.results_dir)
    return {found.record["task"]: found for found in rescore(store, store.scan()[0], places.data_dir, **names)}


def file_of(places, task):
    return next(places.results_dir.glob(f"{task}.*{predictions.SUFFIX}"))


def test_every_score_comes_out_of_the_predictions_digit_for_digit(places):
    found = rescored(places, names=["rmse"])
    assert {task: (o.word, o.reason.partition(":")[0]) for task, o in found.items()} == {
        "spherical": ("yes", "rmse"), "deepsea": ("yes", ""), "darcy_pdebench": ("yes", "")
    }  # fmt: skip
    dense = found["darcy_pdebench"]
    assert dense.scores["rmse"] == dense.record["metrics"]["rmse"]
    assert main(["rescore", str(places.results_dir), "--data-dir", str(places.data_dir)]) == 0


def test_the_reported_epochs_predictions_are_there_beside_the_last_ones(shared_data, tmp_path, monkeypatch):
    monkeypatch.setattr("bench.cell.finetune.better", lambda a, b, higher: b is None)  # the first epoch is chosen
    places = Places(shared_data, tmp_path)
    record = run(one(shared_data, "darcy_pdebench", **{"trainer.epochs": "2"}), places, KEEP)
    assert record["status"] == "done" and record["metrics"] != record["metrics_last"]
    read = predictions.read(file_of(places, "darcy_pdebench"))
    assert read.selected is not None and not np.array_equal(read.selected, read.last) and read.reported is read.selected
    assert read.last.dtype == np.float32
    assert rescored(places)["darcy_pdebench"].word == "yes"


def test_a_record_that_disagrees_is_named(places, capsys):
    store = Store(places.results_dir)
    (record,) = (r for r in store.scan()[0] if r["task"] == "spherical")
    record["metrics"]["error"]["value"] += 1e-9
    store.write(record)
    assert main(["rescore", str(places.results_dir), "--data-dir", str(places.data_dir), "--json"]) == 1
    rows = {row["record"].partition(".")[0]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert rows["spherical"]["rescored"] == "no" and "metrics.error" in rows["spherical"]["reason"]
    assert rows["deepsea"]["rescored"] == rows["darcy_pdebench"]["rescored"] == "yes"


@pytest.mark.parametrize(
    ("damage", "word", "reason"),
    [
        (lambda path, other: path.write_bytes(b"no archive"), "no", "damaged"),
        (lambda path, other: path.write_bytes(path.read_bytes()[:-80]), "no", "damaged"),
        (lambda path, other: path.unlink(), "no", "it is not there"),
        (lambda path, other: shutil.copy(other, path), "unknown", "not those that it was scored against"),
        (lambda path, other: np.savez(path.open("wb"), a=np.zeros(2)), "no", "expected last, target"),
        (lambda path, other: np.savez(path.open("wb"), last=np.array(["x"]), target="y"), "no", "expected numbers"),
    ],
    ids=["foreign", "cut", "lost", "swapped", "other arrays", "text"],
)
def test_a_damaged_or_foreign_file_has_a_reason_and_hides_no_other(places, damage, word, reason):
    damage(file_of(places, "spherical"), file_of(places, "darcy_pdebench"))
    found = rescored(places)
    assert found["spherical"].word == word and reason in found["spherical"].reason
    assert found["deepsea"].word == found["darcy_pdebench"].word == "yes"


def test_predictions_are_kept_in_the_profile_quick_and_where_asked_for_alone(shared_data, places):
    cell = one(shared_data, "darcy_pdebench", **{"trainer.epochs": "2"})
    run(cell, places, {})  # without, and those of the attempt before go
    assert not list(places.results_dir.glob(f"darcy_pdebench.*{predictions.SUFFIX}"))
    found = rescored(places)["darcy_pdebench"]
    assert found.word == "unknown" and "kept no predictions" in found.reason


def test_verify_has_three_tiers(places, capsys):
    command = ["verify", str(places.results_dir), "--data-dir", str(places.data_dir), "--reproduce"]
    assert main(command) == 0
    assert "reproduced: 3 yes" in capsys.readouterr().out
    next(places.results_dir.glob("deepsea.*.curves.json")).unlink()
    assert main(command[:-1]) == 1
    out = capsys.readouterr().out
    assert "complete: 1 no, 2 yes" in out and "reproduced: 3 not tried" in out


def test_a_cell_that_does_not_come_out_again_says_what_is_other(places):
    store = Store(places.results_dir)
    (record,) = (r for r in store.scan()[0] if r["task"] == "deepsea")
    score = record["metrics"]["error"] if "error" in record["metrics"] else next(iter(record["metrics"].values()))
    score["value"] += 0.125
    found = reproduce(record | {"packages": {}}, places.data_dir)
    assert found.word == "no" and "metrics." in found.reason and "other packages than the record's" in found.reason
