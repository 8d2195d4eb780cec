"""`bench export`: one row per record, in three formats that say the same."""

import csv
import io
import json
import sys

import pytest

from bench import cli
from bench.errors import Exit
from tests.record_factory import make_record, make_store

NAMES = ("id", "task", "method", "backbone", "seed", "status", "protocol", "origin", "profile")
SCORES = ("metric", "score", "score_last", "score_best_val", "score_best_test", "seconds_stage1", "seconds_stage2")
AT_LEAST = (*NAMES, *SCORES, "trainer.lr")


@pytest.fixture
def store(tmp_path):
    settings = {"trainer.lr": 3e-4, "trainer.clip": None, "method.betas": [0.9, 0.98], "method.mode": "exact"}
    return make_store(
        tmp_path / "results",
        make_record(),
        make_record(seed=1, settings=settings),
        make_record(seed=2, settings={"trainer.lr": 1, "method.mode": 3}),
        make_record(seed=3, status="diverged", seconds_stage1=None),
        make_record(task="ecg", metric="macro_f1", unit="%", higher_is_better=True, score=70.0, protocol="paper"),
    )


def rows_of(store, capsys, *options):
    assert cli.main(["export", "--results-dir", str(store.folder), *options]) == Exit.OK
    return capsys.readouterr().out


def test_json_is_an_array_with_a_row_per_record(store, capsys):
    rows = json.loads(rows_of(store, capsys))
    assert len(rows) == 5 and all(set(AT_LEAST) <= set(row) for row in rows)
    failed = next(row for row in rows if row["status"] == "diverged")
    assert failed["score"] is None and failed["error_type"] == "Diverged" and failed["error_message"]
    paper = next(row for row in rows if row["protocol"] == "paper")
    assert (paper["score_best_val"], paper["score_best_test"], paper["metrics.macro_f1"]) == (None, 70.0, 70.0)


def test_csv_says_the_same(store, capsys):
    expected = json.loads(rows_of(store, capsys))
    read = list(csv.DictReader(io.StringIO(rows_of(store, capsys, "--format", "csv"))))
    assert set(AT_LEAST) <= set(read[0])
    for row, line in zip(expected, read, strict=True):
        for name, value in row.items():
            if isinstance(value, float):
                assert float(line[name]) == value
            else:
                text = json.dumps(value) if isinstance(value, (bool, list)) else "" if value is None else str(value)
                assert line[name] == text


def test_parquet_says_the_same(store, capsys, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    expected = json.loads(rows_of(store, capsys))
    rows_of(store, capsys, "--format", "parquet", "--out", str(tmp_path / "x.parquet"))
    read = parquet.read_table(tmp_path / "x.parquet").to_pylist()
    for row, line in zip(expected, read, strict=True):
        assert {k: line[k] for k in AT_LEAST} == {k: row[k] for k in AT_LEAST}
    assert {line["method.mode"] for line in read} == {None, '"exact"', "3"}


def test_parquet_without_pyarrow_says_what_to_do(store, capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    arguments = ["export", "--results-dir", str(store.folder), "--format", "parquet", "--out", str(tmp_path / "x")]
    assert cli.main(arguments) == Exit.SOME_FAILED
    assert "pip install" in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_parquet_needs_a_file(store, capsys):
    assert cli.main(["export", "--results-dir", str(store.folder), "--format", "parquet"]) == Exit.USAGE
    assert "--out" in capsys.readouterr().err


@pytest.mark.parametrize(("form", "expected"), [("json", []), ("csv", [])])
def test_an_empty_store_is_an_empty_table(tmp_path, capsys, form, expected):
    assert cli.main(["export", "--results-dir", str(tmp_path), "--format", form]) == Exit.OK
    out = capsys.readouterr().out
    assert (json.loads(out) if form == "json" else list(csv.DictReader(io.StringIO(out)))) == expected
    assert form == "json" or set(AT_LEAST) - {"trainer.lr"} <= set(out.strip().split(","))


def test_unreadable_records_are_named_on_standard_error(store, capsys):
    (store.folder / "broken.json").write_text("{")
    assert cli.main(["export", "--results-dir", str(store.folder)]) == Exit.OK
    said = capsys.readouterr()
    assert "broken.json" in said.err and len(json.loads(said.out)) == 5
