"""`trainer.patience`: stage 2 ends where validation no longer improves, the record says so, and a kill changes nothing of it."""

from __future__ import annotations

import pytest

from bench.cell import story as cells
from bench.cell import trainer
from bench.plan import Places
from bench.records.store import Store
from tests.cell_helpers import one

SAME = ("score", "score_last", "epoch_best_val", "epoch_best_val_at", "epochs_stage2", "stopped_early", "steps_stage2")


@pytest.fixture
def places(shared_data, tmp_path):
    return Places(shared_data, tmp_path / "results")


def test_a_rate_of_zero_stops_after_as_many_evaluations_as_patience_says(places):
    still = {"trainer.lr": 0.0, "trainer.epochs": 20}
    record = cells.run(
        one(places.data_dir, "advection", "small_supervised", **still, **{"trainer.patience": 2}), places, {}
    )
    assert record["epochs_stage2"] == 3 and record["stopped_early"] is True
    assert record["epoch_best_val"] == 1 and record["epoch_best_val_at"] == pytest.approx(1 / 20)
    thinned = {"trainer.patience": 1, "trainer.eval_every": 3}
    record = cells.run(one(places.data_dir, "advection", "small_supervised", **still, **thinned), places, {})
    assert (record["epochs_stage2"], record["epoch_best_val"]) == (6, 3), "evaluations count, not epochs"
    spent = {"trainer.patience": 1, "trainer.budget_steps": 40}
    record = cells.run(one(places.data_dir, "advection", "small_supervised", **still, **spent), places, {})
    share = record["steps_stage2"] / record["epochs_stage2"] / 40
    assert record["epochs_stage2"] == 2 and record["epoch_best_val_at"] == pytest.approx(share)


def test_without_patience_every_epoch_is_run(places):
    record = cells.run(
        one(places.data_dir, "advection", "small_supervised", **{"trainer.lr": 0.0, "trainer.epochs": 4}), places, {}
    )
    assert record["epochs_stage2"] == 4 and record["stopped_early"] is False and record["epoch_best_val_at"] == 0.25
    curve = Store(places.results_dir).curves(record)["stage2"]
    assert [row["done"] for row in curve] == [0.25, 0.5, 0.75, 1.0]


def test_patience_that_the_last_epoch_uses_up_is_no_early_stop(places):
    changed = {"trainer.lr": 0.0, "trainer.epochs": 3, "trainer.patience": 2}
    record = cells.run(one(places.data_dir, "advection", "small_supervised", **changed), places, {})
    assert record["epochs_stage2"] == 3 and record["stopped_early"] is False


def test_a_killed_cell_stops_where_it_would_have(places, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "TALK_SECONDS", 0.0)
    cell = one(
        places.data_dir,
        "advection",
        "small_supervised",
        **{"trainer.lr": 0.02, "trainer.epochs": 30, "trainer.patience": 1},
    )
    whole = cells.run(cell, places, {})
    assert whole["stopped_early"] and 1 < whole["epochs_stage2"] < 30
    words = []
    cells.run(cell, Places(places.data_dir, tmp_path / "counted"), {"trainer.checkpoint_seconds": 0.0}, words.append)

    class Killed(BaseException):
        pass

    evaluation = next(k for k, word in enumerate(words) if word["stage"] == "eval")
    for number, last in enumerate((evaluation // 2, evaluation - 1, evaluation)):  # in stage 2, and when it is over
        heard = []

        def kill(word, heard=heard, last=last):
            heard.append(word)
            if len(heard) > last:
                raise Killed

        elsewhere = Places(places.data_dir, tmp_path / str(number))
        with pytest.raises(Killed):
            cells.run(cell, elsewhere, {"trainer.checkpoint_seconds": 0.0}, kill)
        resumed = cells.run(cell, elsewhere, {})
        assert {name: resumed[name] for name in SAME} == {name: whole[name] for name in SAME}
