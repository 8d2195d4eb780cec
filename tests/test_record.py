"""What a record may hold, to its depth, and which files are read as one: crafted and damaged ones are set aside by name."""

from __future__ import annotations

import copy
import json
import os

import pytest

from bench.records.record import RECORD, Shared, check
from bench.records.store import Store
from tests.record_factory import make_analysis, make_curves, make_record


def changed(where, value):
    """A record with `value` at a dotted place."""
    record = copy.deepcopy(make_record(analysis=make_analysis(), source={"name": "digits", "count": 3}))
    *path, last = where.split("/")
    inner = record
    for name in path:
        inner = inner[name]
    inner[last] = value
    return record


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("task", "../../escaped"),
        ("backbone", "a" * 300),
        ("profile", "a/b"),
        ("score", 10**400),
        ("seconds_total", 1e300),
        ("seed", 2**70),
        ("metric", "\ud800"),
        ("data/sizes", -1),
        ("data/sizes/train", -1),
        ("data/notes/target_nearly_constant", "x"),
        ("data/notes/warnings", "x"),
        ("data/input_shape", {}),
        ("trivial/score", "x"),
        ("trivial/name", ["x"]),
        ("trivial/all", {"mean": "x"}),
        ("code/method", [[[]]]),
        ("git/commit", {}),
        ("packages/torch", 2),
        ("overrides", {"trainer.lr": {}}),
        ("settings", {"\ud800": 1}),
        ("source/count", "many"),
        ("metrics/nrmse", {"unit": "1"}),
        ("metrics/nrmse", 0.5),
        ("analysis/probe/error", ["x"]),
        ("analysis/probe/epochs", [0]),
        ("analysis/discrepancy/pairing", [["a"]]),
        ("analysis/similarity/cka", {"value": []}),
        ("sidecars/curves", ["x"]),
        ("error", {"message": 1}),
    ],
)
def test_a_part_that_does_not_fit_is_named_and_the_others_are_read(tmp_path, where, value):
    good, bad = make_record(seed=1), changed(where, value)
    store = Store(tmp_path)
    store.write(good)
    (tmp_path / "bad.json").write_text(json.dumps(bad))
    records, (problem,) = store.scan()
    assert records == [good] and problem.path.name == "bad.json"
    assert ".".join(where.split("/")[:2]) in problem.reason and len(problem.reason) < 300


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", "9" * 5000])
def test_a_number_that_no_json_has_is_refused(tmp_path, text):
    record = make_record()
    written = json.dumps(record).replace('"score": 0.25', f'"score": {text}')
    Store(tmp_path).path(record).write_text(written)
    assert len(Store(tmp_path).scan()[1]) == 1


def test_every_key_of_the_wrong_kind_is_refused():
    for name in RECORD:
        with pytest.raises(ValueError, match=name):
            check(make_record() | {name: object})


def make_link(path):
    path.symlink_to("/dev/zero")


def make_far_link(path):
    record = Store(path.parent / "far").write(make_record())
    path.symlink_to(record)


def make_sparse(path):
    with path.open("wb") as file:
        file.truncate(1 << 40)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_link, "is a link"),
        (make_far_link, "is a link"),
        (os.mkfifo, "no regular file"),
        (lambda path: path.mkdir(), "no regular file"),
        (make_sparse, "bytes, expected at most"),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".curves.json"])
def test_only_regular_files_of_bounded_size_are_opened(tmp_path, make, said, suffix):
    store, record = Store(tmp_path), make_record()
    make(store.sidecar(record, suffix))
    with pytest.raises(ValueError, match=said):
        store.read(store.path(record)) if suffix == ".json" else store.curves(record)
    if suffix == ".json":
        assert store.get(record) is None and said in store.scan()[1][0].reason


@pytest.mark.parametrize(
    "curves", ["{", "[]", '{"stage2": {}}', '{"stage2": [{"epoch": -1}]}', '{"stage2": [{"epoch": 1, "val": "x"}]}']
)
def test_curves_of_another_shape_are_refused(tmp_path, curves):
    store, record = Store(tmp_path), make_record()
    store.write(record, make_curves())
    assert len(store.curves(record)["stage2"]) == 5
    store.sidecar(record, ".curves.json").write_text(curves)
    with pytest.raises(ValueError, match=r"JSON|curves"):
        store.curves(record)


def test_equal_parts_of_many_records_are_one_object_and_equal_numbers_of_other_types_are_not():
    shared = Shared()
    records = [
        copy.deepcopy(make_record(seed=s, settings={"trainer.lr": lr})) for s, lr in enumerate((1, 1, 1.0, True))
    ]
    for record in records:
        check(record, shared)
    assert records[0]["packages"] is records[3]["packages"]
    assert records[0]["settings"] is records[1]["settings"]
    assert [type(record["settings"]["trainer.lr"]) for record in records] == [int, int, float, bool]


def test_a_scan_reduced_to_some_keys_checks_all_of_them(tmp_path):
    store = Store(tmp_path)
    store.write(make_record())
    (tmp_path / "bad.json").write_text(json.dumps(changed("git/commit", {})))
    records, problems = store.scan(("id", "score"))
    assert records == [{"id": make_record()["id"], "score": 0.25}] and len(problems) == 1
