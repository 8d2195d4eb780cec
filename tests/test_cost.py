"""What a plan will cost: by cell and in total, by the records of each device, and on what the estimate rests."""

from __future__ import annotations

import json

import pytest

from bench import cost, plan
from bench.cli import main
from bench.plan import Selection
from bench.records.store import Store
from tests.record_factory import make_record


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "results")
    store.folder.mkdir()
    return store


def learn(store, *, device="NVIDIA H100", method="vanilla", epochs=10, train=100, stage1=0.0, stage2=50.0, other=10.0):
    """One finished cell more, of a seed of its own."""
    seed = len(list(store.files()))
    end = f"2026-01-01T00:00:{seed:02}+00:00"
    record = make_record(task="ecg", method=method, backbone="minilm", profile="published", seed=seed, end=end)
    record |= {"device": device, "driver": None if device == "CPU" else "580", "seconds_stage1": stage1}
    record |= {"seconds_stage2": stage2, "seconds_total": stage1 + stage2 + other}
    record["settings"]["trainer.epochs"], record["data"] = epochs, {"sizes": {"train": train}}
    store.write(record)


def cells(tmp_path, *methods, **settings):
    chosen = Selection(
        tasks=("ecg",), profile="published", methods=methods, backbones=("minilm",), set=tuple(settings.items())
    )
    return plan.cells(chosen, tmp_path)


def estimate(store, todo):
    return cost.estimate(todo, cost.measured(store, todo))


def test_an_estimate_follows_samples_per_second_epochs_and_size(store, tmp_path):
    learn(store, stage1=7.0)  # 20 samples/s
    (cell,) = cells(tmp_path, "vanilla", **{"trainer.epochs": 20, "data.limit": 50})
    known = estimate(store, [cell])
    assert known.by_cell == {cell.id: pytest.approx(7 + 20 * 50 / 20 + 10 * 2)}
    assert known.seconds == pytest.approx(77) and (known.measured, known.related, known.unknown) == (1, 0, 0)
    assert "of NVIDIA H100 (0.021 GPU-hours)" in known.sentence() and "samples/s" in known.sentence()


def test_another_method_on_the_same_task_is_judged_and_counted_apart(store, tmp_path):
    learn(store)
    known = estimate(store, cells(tmp_path, "vanilla", "orca"))
    assert (known.measured, known.related, known.unknown) == (1, 1, 0)


def test_one_devices_speeds_never_mix_with_anothers(store, tmp_path):
    learn(store, device="CPU", stage2=5000.0)
    learn(store, device="CPU", method="orca", stage2=5000.0)
    both = cells(tmp_path, "vanilla", "orca")
    on_cpu = estimate(store, both)
    assert on_cpu.device == "CPU" and on_cpu.host_only and "GPU" not in on_cpu.sentence()
    learn(store, device="NVIDIA H100")
    on_gpu = estimate(store, both)
    assert on_gpu.device == "NVIDIA H100" and on_gpu.seconds < on_cpu.seconds / 10


def test_merged_stores_serve_and_of_one_kind_the_last_that_ended(store, tmp_path):
    learn(store, stage2=5.0)
    learn(store, stage2=50.0)
    (tmp_path / "other").mkdir()
    learn(Store(tmp_path / "other"), method="orca", stage2=90.0)
    assert main(["merge", str(tmp_path / "other"), "--out", str(store.folder)]) == 0
    vanilla, orca = todo = cells(tmp_path, "vanilla", "orca", **{"trainer.epochs": 10})
    known = estimate(store, todo)
    assert known.measured == 2
    assert known.by_cell == {vanilla.id: pytest.approx(60), orca.id: pytest.approx(100)}


def test_of_many_seeds_a_sample_is_read(store, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "SAMPLE", 2)
    for method in ("vanilla", "orca"):
        for _ in range(3):
            learn(store, method=method)
    todo = cells(tmp_path, "vanilla")
    assert [speed.method for speed in cost.measured(store, todo)] == ["vanilla"] * 2 + ["orca"] * 2


def test_nothing_known_is_said(store, tmp_path):
    known = estimate(store, cells(tmp_path, "vanilla"))
    assert known.unknown == 1 and known.device is None and "unknown" in known.sentence()


def test_where_nothing_has_run_the_records_of_the_project_tell_and_it_is_said(store, tmp_path):
    todo = plan.cells(Selection(suites=("quick",)), tmp_path)
    known = cost.of_plan(todo, store)
    assert known.measured == len(todo) and "measured by this project" in known.sentence()
    learn(store, method="orca")
    here = cost.of_plan(cells(tmp_path, "vanilla"), store)
    assert here.related == 1 and "measured here" in here.sentence()


def test_the_plan_shows_the_cost_of_each_cell_and_of_all(store, tmp_path, capsys):
    learn(store, epochs=15)  # the published number, so that stage 2 takes 50 s and the rest 10 s
    command = ["plan", "--tasks", "ecg", "--profile", "published", "--backbones", "minilm", "--data-dir", str(tmp_path)]
    command += ["--results-dir", str(store.folder)]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "about 60 s)" in text and "cost of 1 cell: about 60 s of NVIDIA H100 (0.017 GPU-hours)" in text
    assert main([*command, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["cells"][0]["seconds"] == pytest.approx(60) and shown["cost"]["device"] == "NVIDIA H100"
