"""A cell from data to record: what it leaves, how it fails, how it resumes."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from bench import plan, registry
from bench import standins as data
from bench.cell import story as cells
from bench.plan import Places, Selection
from bench.records.store import Store
from tests.cell_helpers import one


@pytest.fixture
def places(shared_data, tmp_path):
    return Places(shared_data, tmp_path / "results")


def test_a_strict_record_reports_the_epoch_best_on_validation_and_keeps_the_last(places):
    cell = one(places.data_dir)
    record = cells.run(cell, places, {})
    assert record["status"] == "done" and record["protocol"] == "strict"
    assert record["score"] == record["score_best_val"] and record["score_last"] is not None
    assert record["score_best_test"] is None  # the test set was read at the end alone
    assert record["trivial"]["name"] in record["trivial"]["all"] and record["beats_trivial"] in (True, False)
    assert record["origin"] == "generated" and len(record["data"]["fingerprint"]) == 64
    assert set(record["metrics"]) == set(record["metrics_last"]) >= {"nrmse", "rmse"}
    curves = Store(places.results_dir).curves(record)
    assert [row["epoch"] for row in curves["stage2"]] == [1, 2]
    assert all("val" in row and "test" not in row for row in curves["stage2"])
    best = min(curves["stage2"], key=lambda row: row["val"])
    assert record["epoch_best_val"] == best["epoch"] and record["val_score"] == best["val"]
    assert Store(places.results_dir).get(cell.key()) == json.loads(json.dumps(record))


def test_a_paper_record_has_no_validation_and_reports_the_last_epoch_beside_the_oracle(places):
    record = cells.run(one(places.data_dir, protocol="paper"), places, {})
    assert record["score"] == record["score_last"] and record["score_best_val"] is None
    assert record["score_best_test"] <= record["score_last"]
    assert record["data"]["sizes"]["val"] == 0 and record["precision"] == "fp32"


def test_one_seed_gives_every_method_the_same_limited_samples_and_another_seed_others(places):
    few = {"data.limit": 12, "trainer.epochs": 1}
    vanilla, linear = (one(places.data_dir, "spherical", method, **few) for method in ("vanilla", "linear"))
    records = [cells.run(cell, places, {}) for cell in (vanilla, linear, replace(vanilla, seed=1))]
    first, paired, other = (record["data"] for record in records)
    assert first["sizes"]["train"] == 12 and first["fingerprint"] == other["fingerprint"]
    assert first["notes"] == paired["notes"] and "drawn by seed 0" in first["notes"]["training_subset"]
    assert first["notes"]["indices_sha256"] != other["notes"]["indices_sha256"]


def test_track_test_adds_the_oracle_and_selects_nothing_by_it(places):
    plain = cells.run(one(places.data_dir), places, {})
    tracked = cells.run(one(places.data_dir, **{"trainer.track_test": "true"}), places, {})
    assert tracked["score"] == plain["score"] and plain["score_best_test"] is None
    assert tracked["score_best_test"] <= tracked["score"]


def test_a_killed_cell_resumes_to_the_same_scores(places, tmp_path):
    whole = cells.run(one(places.data_dir, method="embedder_warmup"), places, {})
    other = Places(places.data_dir, tmp_path / "killed")

    class Killed(BaseException):
        pass

    for after in (2, 3):
        words = []

        def kill(word, words=words, after=after):
            words.append(word)
            if word["stage"].startswith("stage") and len(words) > after:
                raise Killed

        from bench.cell import trainer

        before, trainer.TALK_SECONDS = trainer.TALK_SECONDS, 0.0
        try:
            with pytest.raises(Killed):
                cells.run(
                    one(places.data_dir, method="embedder_warmup"), other, {"trainer.checkpoint_seconds": 0.0}, kill
                )
        finally:
            trainer.TALK_SECONDS = before
    resumed = cells.run(one(places.data_dir, method="embedder_warmup"), other, {})
    assert resumed["attempts"] == 3
    for key in ("score", "score_last", "metrics", "epoch_best_val", "steps_stage1", "steps_stage2"):
        assert resumed[key] == whole[key], key


def test_a_loss_that_explodes_is_a_diverged_record_with_a_cure(places):
    record = cells.run(one(places.data_dir, **{"trainer.lr": "1e30", "trainer.optimizer": "sgd"}), places, {})
    assert record["status"] == "diverged" and record["score"] is None
    assert "lower trainer.lr" in record["error"]["message"]


def test_data_that_changed_between_two_cells_are_refused_in_a_copy_of_the_store_too(tmp_path):
    places = Places(tmp_path / "data", tmp_path / "results")
    assert cells.run(one(places.data_dir), places, {})["status"] == "done"
    path = next(p for p in (tmp_path / "data").rglob("*") if p.name.endswith(".hdf5"))
    import h5py

    with h5py.File(path, "r+") as h5:
        h5["tensor"][0] += 1
    (done,) = Store(places.results_dir).files()
    clone = Places(places.data_dir, tmp_path / "clone")
    clone.results_dir.mkdir()
    shutil.copy(done, clone.results_dir)
    record = cells.run(one(places.data_dir, method="linear"), clone, {})
    assert record["status"] == "failed" and record["error"]["type"] == "DataError"
    assert f"which {done.name} was made on" in record["error"]["message"]
    assert not (places.results_dir / "work" / "data").exists()
    done.unlink()
    assert cells.run(one(places.data_dir, method="linear"), places, {})["status"] == "done"


def test_a_damaged_file_is_named_and_its_replacement_is_taken(tmp_path):
    places = Places(tmp_path / "data", tmp_path / "results")
    cell, task = one(places.data_dir), registry.tasks()["darcy_pdebench"]
    data.generate(task, places.data_dir, "tiny")
    file = data.standin_root(places.data_dir, "tiny") / task.files[0].path
    file.write_bytes(file.read_bytes()[:-1000])
    record = cells.run(cell, places, {})
    assert record["status"] == "failed" and record["error"]["type"] == "DataError"
    assert file.name in record["error"]["message"] and "truncated" in record["error"]["message"]
    file.unlink()
    assert cells.run(cell, places, {})["status"] == "done"


def test_a_failing_method_is_a_record_with_its_traceback(places, monkeypatch):
    def broken(self, context):
        raise ValueError("seven is not a prime")

    monkeypatch.setattr(registry.methods()["embedder_warmup"], "align", broken)
    record = cells.run(one(places.data_dir, method="embedder_warmup"), places, {})
    assert record["status"] == "failed" and record["error"]["message"] == "seven is not a prime"
    assert "Traceback" in record["error"]["traceback"]


@pytest.mark.slow
@pytest.mark.parametrize("task", registry.suites()["quick"])
def test_the_quick_suite_learns(task, shared_data, tmp_path):
    chosen = Selection(suites=("quick",), methods=("vanilla",))
    cell = next(c for c in plan.cells(chosen, shared_data) if c.task == task)
    record = cells.run(cell, Places(shared_data, tmp_path), {})
    # Every metric of the quick suite is an error: clearly better means at most 85 % of its own trivial predictor's.
    assert record["score"] < 0.85 * record["trivial"]["all"][registry.tasks()[task].trivial]
