"""The store: whole records or none, problems reported and never fatal."""

from __future__ import annotations

import json
import os

import pytest

from bench.errors import SetupError
from bench.records.store import Store, to_json
from tasks.files.atomic import write_atomically
from tests.record_factory import make_record


def test_a_record_comes_back_as_it_was(weird_path):
    store = Store(weird_path)
    record = make_record()
    store.write(record, {"stage1": [], "stage2": [{"epoch": 1, "loss": 0.5}]})
    assert store.get(record) == record
    assert store.curves(record)["stage2"][0]["loss"] == 0.5
    records, problems = store.scan()
    assert records == [record] and problems == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not JSON"),
        (b'{"schema": 1, "id": "a', "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[1, 2]", "JSON object"),
        (b'{"schema": 999}', "newer than this version"),
        (b'{"id": "x"}', "no schema number"),
        (b'{"schema": 1}', "is missing"),
    ],
)
def test_an_unreadable_record_is_reported_and_hides_nothing(tmp_path, content, said):
    store = Store(tmp_path)
    good = make_record()
    store.write(good)
    (tmp_path / "zz.vanilla.minilm.s0.bad.json").write_bytes(content)
    records, problems = store.scan()
    assert records == [good]
    assert len(problems) == 1 and said in problems[0].reason


def test_a_record_under_another_cells_name_is_refused(tmp_path):
    store = Store(tmp_path)
    record = make_record()
    store.write(record)
    store.path(record).rename(tmp_path / "advection.mona.minilm.s0.ffff.json")
    assert store.scan()[0] == [] and "holds the record of" in store.scan()[1][0].reason


def test_nothing_is_half_written_and_stray_temporary_files_do_no_harm(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_atomically(path, b"old")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    (tmp_path / ".x.json.123.tmp").write_text("{")
    assert Store(tmp_path).scan()[1][0].path == path  # only the real file is looked at


def test_numbers_that_are_not_finite_never_enter_a_record():
    with pytest.raises(ValueError, match="Out of range"):
        to_json({"score": float("nan")})


@pytest.mark.parametrize("change", [{"status": "fine"}, {"score": "0.5"}, {"seed": None}, {"attempts": True}])
def test_a_record_that_does_not_fit_the_schema_is_refused(tmp_path, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        Store(tmp_path).write({**make_record(), **change})


def test_a_folder_that_cannot_be_written_is_said_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--results-dir"):
        Store(tmp_path / "file" / "results").ensure_writable()
    with pytest.raises(SetupError, match="MiB free"):
        Store(tmp_path).ensure_writable(need_bytes=1 << 60)


def test_reading_a_record_needs_nothing_but_json(tmp_path):
    record = make_record()
    path = Store(tmp_path).write(record)
    assert json.loads(path.read_text())["id"] == record["id"]
