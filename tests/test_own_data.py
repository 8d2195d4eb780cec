"""A user's own arrays become a task that every verb knows, or end in one clear message."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import registry
from bench.cell.story import run
from bench.cli import main
from bench.plan import Places, Selection, cells
from tasks.contract import DataError, Request
from tasks.own import arrays, split, stored

RNG = np.random.default_rng(0)
N = 60
LABELS = np.arange(N) % 3
SERIES = (RNG.normal(size=(N, 2, 40)) + LABELS[:, None, None]).astype(np.float32)


def saved(folder: Path, **what) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **{"x": SERIES, "y": LABELS, **what})
    return path


@pytest.mark.slow
def test_an_imported_task_is_listed_described_checked_run_and_reported(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, group=np.arange(N) // 6)
    assert main(["data", "import", str(path), "--name", "mine", "--kind", "classes"]) == 0
    assert "next: python -m bench run --tasks mine" in capsys.readouterr().out
    assert main(["list", "tasks"]) == 0 and "mine" in capsys.readouterr().out
    assert main(["describe", "mine"]) == 0 and "whole groups" in capsys.readouterr().out
    short = ["--set", "trainer.epochs=1"]
    assert main(["run", "--tasks", "mine", "--profile", "quick", *short]) == 0
    (record,) = (json.loads(p.read_text()) for p in Path("results").glob("mine.*.json") if "curves" not in p.name)
    assert record["origin"] == "official" and record["data"]["sizes"] == {"train": 48, "val": 6, "test": 6}
    assert main(["report"]) == 0 and "mine" in Path("reports/latest/README.md").read_text()


@pytest.mark.slow
def test_every_check_holds_on_the_real_file_and_makes_no_stand_in(tmp_path, capsys):
    data = tmp_path / "data"
    main(["data", "import", str(saved(tmp_path)), "--name", "mine", "--kind", "classes", "--data-dir", str(data)])
    assert main(["check", "mine", "--data-dir", str(data)]) == 0, capsys.readouterr().out
    assert not (data / "generated").exists()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(N, 30), (N, 1, 30), (N, 2, 12, 12)], ids=str)
def test_each_kind_trains_on_series_and_images(tmp_path, monkeypatch, shape):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    x = RNG.normal(size=shape).astype(np.float32)
    targets = {"dense": x if x.ndim == 2 else x[:, :1] ** 2, "multilabel": RNG.integers(0, 2, (N, 4))}
    for kind, y in targets.items():
        path = saved(tmp_path, x=x, y=y)
        stored.store(path, tmp_path, kind, kind, arrays.read(path, kind))
    registry.forget_tasks()
    places = Places(tmp_path, tmp_path / "results")
    for cell in cells(Selection(tasks=tuple(targets), profile="tiny"), tmp_path):
        record = run(cell, places, {})
        assert record["status"] == "done" and record["score"] is not None, record["error"]
    registry.forget_tasks()


def test_a_table_is_a_series_per_row(tmp_path):
    table = pd.DataFrame(SERIES[:, 0], columns=[f"t{i}" for i in range(40)])
    table["label"] = np.array(["run", "sit", "walk"])[LABELS]
    table.to_csv(tmp_path / "mine.csv", index=False)
    table.to_parquet(tmp_path / "mine.parquet")
    for name in ("mine.csv", "mine.parquet"):
        found = arrays.read(tmp_path / name, "classes", ("label",))
        assert found.x.shape == (N, 1, 40) and found.classes == ("run", "sit", "walk")
        np.testing.assert_allclose(found.x[:, 0], SERIES[:, 0], rtol=1e-6)


def test_inputs_are_z_scored_by_training_samples_and_fields_scored_in_their_own_units(tmp_path):
    path = saved(tmp_path, y=SERIES[:, :1] * 100 + 5000)
    task = stored.store(path, tmp_path, "mine", "dense", arrays.read(path, "dense"))
    loaded = task.read(Request(tmp_path))
    whole = loaded.train.batch(np.arange(len(loaded.train)), None)
    np.testing.assert_allclose(whole.x.mean((0, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(whole.x.std((0, 2)), 1, atol=1e-4)
    assert whole.y.mean() > 1000 and loaded.decode is not None
    merged = task.read(Request(tmp_path, "paper"))
    assert merged.val is None and len(merged.train) == len(loaded.train) + len(loaded.val)


@given(st.lists(st.integers(0, 9), min_size=3, max_size=80).filter(lambda g: len(set(g)) >= 3))
def test_no_group_lies_in_two_parts_and_every_sample_in_one(groups):
    group = np.array(groups)
    x = np.zeros((len(group), 1, 4), np.float32)
    rows, _ = split.rows_of(Path("mine.npz"), arrays.Arrays(x, x, group=group))
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(group)))
    parts = [set(group[index]) for index in rows.values()]
    assert all(parts) and sum(map(len, parts)) == len(set(groups))


@given(st.integers(40, 200), st.integers(2, 4))
def test_a_drawn_split_is_the_same_every_time_and_holds_every_sample_once(n, classes):
    y = np.arange(n) % classes
    mine = arrays.Arrays(np.zeros((n, 1, 4), np.float32), y, tuple("abcd"[:classes]))
    first, _ = split.rows_of(Path("mine.npz"), mine)
    again, _ = split.rows_of(Path("mine.npz"), mine)
    assert all(np.array_equal(first[part], again[part]) and len(first[part]) for part in first)
    assert sorted(np.concatenate(list(first.values()))) == list(range(n))


GAP = np.where(LABELS == 1, 3, LABELS)
NAN = np.where(np.arange(N)[:, None, None] == 7, np.nan, SERIES)


@pytest.mark.parametrize(
    "kind, what, said",
    [
        ("classes", {"x": NAN}, "NaN.*first in sample 7"),
        ("classes", {"x": SERIES.astype(float) * 1e300}, "beyond float32"),
        ("classes", {"y": GAP}, "labels 0..3 without 1"),
        ("classes", {"y": np.zeros(N, int)}, "one class"),
        ("classes", {"y": LABELS[:-1]}, "59 entries in y for 60 samples"),
        ("classes", {"y": LABELS + 0.5}, "no whole numbers"),
        ("classes", {"x": SERIES[:4], "y": LABELS[:4]}, "4 samples"),
        ("classes", {"x": np.array([[1], [2, 3]] * 30, dtype=object)}, "object array"),
        ("classes", {"x": np.array([["a"] * 3] * N)}, "dtype <U1"),
        ("classes", {"split": np.array(["train"] * N)}, "no val and no test"),
        ("classes", {"split": np.array(["train", "val", "tset"] * 20)}, "tset"),
        ("multilabel", {"y": LABELS}, "of 0 and 1"),
        ("dense", {"y": SERIES[:, :, :10]}, "a field on the points of x"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_bad_input_gets_one_clear_message(tmp_path, kind, what, said):
    with pytest.raises(DataError, match=said):
        arrays.read(saved(tmp_path, **what), kind)


def test_a_group_on_both_sides_of_a_given_split_is_refused(tmp_path):
    path = saved(tmp_path, split=np.array(["train", "val", "test"] * 20), group=np.arange(N) // 2)
    with pytest.raises(DataError, match=r"group .* in train and in"):
        split.rows_of(path, arrays.read(path, "classes"))


@pytest.mark.parametrize(
    "options, said",
    [
        (["--name", "Mine", "--kind", "classes"], "small letter"),
        (["--name", "ecg", "--kind", "classes"], "taken by tasks/ecg.py"),
        (["--name", "mona", "--kind", "classes"], "taken"),
        (["--kind", "classes"], "takes a file, --name and --kind"),
    ],
)
def test_names_are_checked_before_anything_is_written(tmp_path, capsys, options, said):
    folder = tmp_path / "data"
    assert main(["data", "import", str(saved(tmp_path)), *options, "--data-dir", str(folder)]) != 0
    assert said in capsys.readouterr().err and not folder.exists()


def test_a_task_is_replaced_only_when_asked(tmp_path, capsys):
    order = ["data", "import", str(saved(tmp_path)), "--name", "mine", "--kind", "classes", "--data-dir", str(tmp_path)]
    assert main(order) == 0 and main(order) != 0
    assert "--replace" in capsys.readouterr().err
    assert main([*order, "--replace"]) == 0


def test_a_damaged_description_is_named_and_hides_no_other_task(tmp_path, capsys):
    (tmp_path / "own" / "mine").mkdir(parents=True)
    (tmp_path / "own" / "mine" / "task.json").write_text("{}")
    assert main(["list", "tasks", "--data-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "left out: mine" in out and "advection" in out
