"""What a published cell takes on a GPU, from counts: the counts can be had again, and settings move the estimate."""

from __future__ import annotations

import dataclasses

import pytest

from bench import cost, plan, reckoned, registry
from bench.cli import main
from bench.plan import Cell, Selection
from benchmarks import bench_gpu, count_work
from tests.test_cost import learn, store  # noqa: F401

SLOW = reckoned.Device("of arithmetic alone", 1e12, 0.0, 0.0)
LAUNCHES = reckoned.Device("of launches alone", 1e30, 1e-5, 1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["vanilla", "mona"])
def test_the_table_is_what_is_counted(method):
    """In operations exactly; kernels by a tenth, for libraries differ in how many they launch."""
    cell = ("darcy_nb360", method, "swin_micro")
    found, kept = count_work.count_cell(*cell), reckoned.table()[cell]
    assert (found.batch, found.step_flop) == (kept.batch, pytest.approx(kept.step_flop, rel=1e-3))
    assert found.stage1_flop == pytest.approx(kept.stage1_flop, rel=1e-3)
    assert found.step_launches == pytest.approx(kept.step_launches, rel=0.1)
    assert found.stage1_launches == pytest.approx(kept.stage1_launches, rel=0.1)


def test_a_linear_layer_counts_as_by_hand():
    import torch

    layer, x = torch.nn.Linear(3, 5), torch.zeros(7, 3)
    work = count_work.count(lambda: layer(x).sum().backward())
    assert work.flop == 2 * (2 * 7 * 3 * 5)  # the product, and the gradient of its weights
    assert 5 <= work.launches <= 12 and count_work.count(lambda: x.view(21).t()).launches == 0


def test_naive_fine_tuning_on_which_all_else_rests_is_counted_for_every_published_task_and_body():
    assert {cell for cell in count_work.cells() if cell[1] == "vanilla"} <= set(reckoned.table())


@pytest.mark.parametrize("method", ["vanilla", "mona", "pare"])
def test_time_grows_with_epochs_and_falls_with_samples(method):
    cell = Cell("ecg", method, "roberta_base")
    epochs = plan.resolve(cell).trainer.epochs
    stage1 = SLOW.seconds(reckoned.table()["ecg", method, "roberta_base"].stage1_flop, 0.0)
    once, twice = (reckoned.seconds(dataclasses.replace(cell, overrides=(("trainer.epochs", n * epochs),)), SLOW) for n in (1, 2))  # fmt: skip
    assert twice - stage1 == pytest.approx(2 * (once - stage1))
    whole = registry.tasks()["ecg"].splits["train"]
    half = dataclasses.replace(cell, overrides=(("data.limit", whole // 2),))
    assert reckoned.seconds(half, SLOW) < 0.7 * once


def test_a_larger_batch_saves_launches_and_no_arithmetic():
    small, large = (Cell("ecg", "vanilla", "roberta_base", overrides=(("trainer.batch_size", n),)) for n in (4, 64))
    assert reckoned.seconds(large, SLOW) == pytest.approx(reckoned.seconds(small, SLOW))
    assert reckoned.seconds(large, LAUNCHES) < reckoned.seconds(small, LAUNCHES) / 10


def test_a_compiled_stage_2_replays_its_kernels_and_stage_1_does_not():
    device = reckoned.Device("of launches alone", 1e30, 1e-4, 1e-6)
    eager, compiled = (
        reckoned.seconds(Cell("ecg", "mona", "roberta_base", overrides=(("trainer.compile", word),)), device)
        for word in ("off", "on")
    )
    stage1 = device.seconds(0.0, reckoned.table()["ecg", "mona", "roberta_base"].stage1_launches)
    assert stage1 < compiled < eager


def test_what_was_not_counted_goes_by_the_methods_own_word_and_the_dearest_task(monkeypatch):
    pare, vanilla = (Cell("ecg", method, "roberta_base") for method in ("pare", "vanilla"))
    counted = reckoned.seconds(pare, SLOW)
    kept = {key: row for key, row in reckoned.table().items() if row.method == "vanilla" and row.task != "ecg"}
    without_pare = kept | {("ecg", "vanilla", "roberta_base"): reckoned.table()["ecg", "vanilla", "roberta_base"]}
    plain = reckoned.seconds(vanilla, SLOW)
    monkeypatch.setattr(reckoned, "table", lambda: without_pare)
    assert reckoned.seconds(pare, SLOW) == pytest.approx(2 * plain) == pytest.approx(counted, rel=0.05)
    monkeypatch.setattr(reckoned, "table", lambda: kept)
    assert reckoned.seconds(vanilla, SLOW) >= plain


def test_a_plan_of_published_cells_says_that_its_estimate_is_from_counts(tmp_path, capsys):
    arguments = ["--tasks", "ecg", "--profile", "published", "--backbones", "minilm", "--data-dir", str(tmp_path)]
    assert main(["plan", *arguments, "--results-dir", str(tmp_path / "results")]) == 0
    text = capsys.readouterr().out
    assert "of an H200" in text and "from counted operations and kernels" in text and "unknown" not in text


def test_counts_fill_what_records_of_a_gpu_leave_and_nothing_beside_those_of_a_cpu(store, tmp_path):  # noqa: F811
    todo = [cell for task in ("ecg", "deepsea") for cell in cells(tmp_path, task)]
    learn(store)
    known = cost.of_plan(todo, store)
    filled = cost.with_reckoned(known, todo)
    assert (known.unknown, filled.unknown, filled.reckoned) == (1, 0, 1)
    assert filled.by_cell[todo[0].id] == known.by_cell[todo[0].id] and filled.seconds > known.seconds
    assert "1 more estimated from counted" in filled.sentence()
    on_cpu = dataclasses.replace(known, host_only=True)
    assert cost.with_reckoned(on_cpu, todo) == on_cpu
    quick = plan.cells(Selection(suites=("quick",)), tmp_path)
    assert cost.with_reckoned(cost.estimate(quick, []), quick).reckoned == 0


def cells(tmp_path, task):
    return plan.cells(
        Selection(tasks=(task,), profile="published", methods=("vanilla",), backbones=("minilm",)), tmp_path
    )


def test_the_gpu_benchmark_takes_no_warm_up_for_a_meta_step():
    rows = [{"steps": 2, "seconds": 8.0}, {"steps": 4, "seconds": 2.0}, {"steps": 7, "seconds": 3.0}]
    assert bench_gpu.seconds_per_step(rows) == 1.0  # the first epoch is left out
    assert bench_gpu.seconds_per_step(rows[:1]) == 4.0
