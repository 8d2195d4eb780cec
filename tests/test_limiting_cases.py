"""Arms that are another arm in a limiting case are that arm bit for bit, from the command to the record."""

from __future__ import annotations

import pytest

from bench import plan
from bench.cell import story
from bench.plan import Places, Selection
from bench.records.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(shared_data, tmp_path):
    """Runs a tiny cell of stage 1 of two epochs: (metrics of the last epoch, curves without times and names)."""

    def train(method, task="advection", **options):
        chosen = {f"method.{name}": value for name, value in options.items()} | {"stage1.epochs": 2}
        selection = Selection(tasks=(task,), methods=(method,), profile="tiny", set=tuple(chosen.items()))
        places = Places(shared_data, tmp_path / "results")
        record = story.run(plan.cells(selection, shared_data)[0], places, {})
        assert record["status"] == "done", record["error"]
        curves = Store(places.results_dir).curves(record)
        rows = [{k: v for k, v in row.items() if k != "seconds"} for stage in curves.values() for row in stage]
        return record["metrics_last"], rows

    return train


def test_lp_ft_without_epochs_is_vanilla(trained):
    assert trained("lp_ft", epochs=0) == trained("vanilla")


@pytest.mark.parametrize("task", ["advection", "spherical"])
def test_lp_ft_is_a_warm_up_with_the_predictor_of_the_same_length(trained, task):
    probed = trained("lp_ft", task)
    assert probed == trained("embedder_warmup", task, epochs=3, train_predictor=True)
    assert probed[1] != trained("embedder_warmup", task, epochs=3)[1]  # the predictor's part of it shows


def test_lp_ft_is_as_long_as_stage_1_of_mona_by_default(trained):
    probed, meta = ([r["phase"] for r in trained(m)[1] if "phase" in r] for m in ("lp_ft", "mona"))
    assert len(probed) == len(meta) == 3


@pytest.mark.parametrize("task", ["advection", "spherical"])
def test_mmd_joint_of_weight_zero_is_an_embedder_warm_up(trained, task):
    assert trained("mmd_joint", task, weight=0.0) == trained("embedder_warmup", task)


@pytest.mark.parametrize("task", ["advection", "spherical"])
def test_pare_without_weight_on_its_mixture_is_vanilla(trained, task):
    assert trained("pare", task, weight=0.0) == trained("vanilla", task)


def test_recraft_without_a_stage_one_is_vanilla(trained):
    none = dict.fromkeys(("head_epochs", "penalty_epochs", "epochs", "label_epochs"), 0)
    assert trained("recraft", **none) == trained("vanilla")
