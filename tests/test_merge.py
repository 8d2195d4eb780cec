"""`bench merge`: identical records are one, different ones are refused by name, nothing leaves the folder."""

import json

import pytest

from bench import cli
from bench.errors import Exit
from bench.records.merge import Clash, merge
from bench.records.store import Store
from tests.record_factory import make_curves, make_record, make_store


def test_copies_records_with_their_sidecars(tmp_path):
    one, two = make_record(seed=0), make_record(seed=1)
    a = make_store(tmp_path / "a", one, curves=make_curves())
    a.sidecar(one, ".npz").write_bytes(b"arrays")
    b = make_store(tmp_path / "b", two)
    out = Store(tmp_path / "out")
    merged = merge([a, b], out)
    assert (merged.copied, merged.known, merged.problems) == (2, 0, ())
    assert {r["id"] for r in out.scan()[0]} == {one["id"], two["id"]}
    assert out.curves(one) == make_curves() and out.sidecar(one, ".npz").read_bytes() == b"arrays"
    assert out.curves(two) == {}


def test_identical_duplicates_are_fine_and_merging_twice_does_nothing(tmp_path):
    record = make_record()
    a, b = make_store(tmp_path / "a", record), make_store(tmp_path / "b", record)
    assert merge([a, b], Store(tmp_path / "out")).known == 1
    again = merge([a, b], Store(tmp_path / "out"))
    assert (again.copied, again.known) == (0, 2)


def test_merging_into_one_of_the_sources(tmp_path):
    a, b = make_store(tmp_path / "a", make_record(seed=0)), make_store(tmp_path / "b", make_record(seed=1))
    assert merge([a, b], a).copied == 1
    assert len(a.scan()[0]) == 2


@pytest.mark.parametrize("where", ["score", "curves"])
def test_a_clash_is_named_and_nothing_is_written(tmp_path, where):
    record = make_record()
    a = make_store(tmp_path / "a", record, curves=make_curves())
    other = {**record, "score": 0.5} if where == "score" else record
    b = make_store(tmp_path / "b", other, make_record(seed=7), curves=make_curves(9 if where == "curves" else 5))
    with pytest.raises(Clash, match=where) as caught:
        merge([a, b], Store(tmp_path / "out"))
    assert str(a.path(record)) in str(caught.value) and str(b.path(record)) in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_clash_with_what_the_target_holds(tmp_path, capsys):
    record = make_record()
    make_store(tmp_path / "a", {**record, "score": 0.5})
    out = make_store(tmp_path / "out", record)
    assert cli.main(["merge", str(tmp_path / "a"), "--out", str(tmp_path / "out")]) == Exit.USAGE
    assert "clash" in capsys.readouterr().err
    assert out.scan()[0][0]["score"] == record["score"]


def test_unreadable_files_are_named_and_the_others_are_merged(tmp_path, capsys):
    a = make_store(tmp_path / "a", make_record())
    (a.folder / "broken.json").write_text("{")
    assert cli.main(["merge", str(a.folder), "--out", str(tmp_path / "out")]) == Exit.SOME_FAILED
    said = capsys.readouterr()
    assert "broken.json" in said.err and "1 record copied" in said.out


def test_links_and_names_that_point_elsewhere_do_not_leave_the_folder(tmp_path):
    outside = make_record(seed=3)
    elsewhere = make_store(tmp_path / "elsewhere", outside)
    a = make_store(tmp_path / "a", make_record(seed=0))
    a.path(outside).symlink_to(elsewhere.path(outside))
    linked = make_record(seed=4)
    a.write(linked)
    a.sidecar(linked, ".npz").symlink_to(elsewhere.path(outside))
    crafted = {**make_record(seed=5), "task": "../../escaped"}
    (a.folder / "crafted.json").write_text(json.dumps(crafted))
    merged = merge([a], Store(tmp_path / "out"))
    assert merged.copied == 1 and len(merged.problems) == 3
    assert not list(tmp_path.glob("escaped*")) and not list(tmp_path.parent.glob("escaped*"))


def test_a_folder_that_does_not_exist_is_a_usage_error(tmp_path, capsys):
    assert cli.main(["merge", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == Exit.USAGE
    assert "no folder" in capsys.readouterr().err
