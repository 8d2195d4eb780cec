"""Faults, tested by doing them: kill -9 at random moments, a full disk, a read-only store, damaged records.

With the torch-free stand-in of a cell; `test_faults_training.py` does it to the real trainer.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import time
from pathlib import Path

import pytest

from bench import cli
from bench.errors import SetupError
from bench.launch import claim, inline, status
from bench.launch.display import Display
from bench.launch.one import run_one
from bench.launch.work import works
from bench.records.store import Store
from tests.cell_helpers import FORK, fill, job_in, killed_after, run_cells
from tests.fake_runner import make_cell, score_after
from tests.record_factory import make_record

pytestmark = pytest.mark.usefixtures("fake_cells")


def run_quietly(job, cells) -> None:
    """Run those of the cells that have no record yet, as `bench run` would."""
    todo = [work for work in works(cells, job.store) if work.before is None]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        inline.run(todo, job, Display())


@pytest.mark.slow
def test_fifty_kills_of_running_cells(tmp_path):
    """No half record, no lost record, no claim that outlives its process, and the same scores as without any kill."""
    chance = random.Random(6)
    job, kills, first = job_in(tmp_path), 0, 0
    seen: dict[str, dict] = {}
    while kills < 50:
        cells = [make_cell(first + i, steps=20, pause=0.002) for i in range(2)]
        kills += killed_after(chance.uniform(0.005, 0.25), run_quietly, job, cells)
        records, problems = job.store.scan()
        assert problems == []
        now = {record["id"]: record for record in records}
        assert seen == {key: now.get(key) for key in seen}
        seen = now
        if all(cell.id in seen for cell in cells):
            first += len(cells)
    run_quietly(job, cells)
    assert {record["score"] for record in job.store.scan()[0]} == {score_after(20)}
    assert max(record["attempts"] for record in job.store.scan()[0]) > 1  # some were resumed


def rewrite_for_ever(folder: Path) -> None:
    store = Store(folder)
    for seed in range(1_000_000):
        store.write(make_record(score=float(seed), id="ab" * 8), {"stage2": [{"epoch": 1, "loss": float(seed)}]})


@pytest.mark.slow
def test_thirty_kills_during_a_records_write(tmp_path):
    chance = random.Random(7)
    last = -1.0
    for _ in range(30):
        assert killed_after(chance.uniform(0.03, 0.12), rewrite_for_ever, tmp_path)
        records, problems = Store(tmp_path).scan()
        assert problems == []
        for record in records:
            assert Store(tmp_path).curves(record)["stage2"][0]["epoch"] == 1
            last = record["score"]
    assert last >= 0  # some were written


def claim_for_ever(folder: Path) -> None:
    while True:
        with claim.acquire(folder, beat_seconds=0.001) as held:
            held.verify()


def test_twenty_kills_of_a_process_that_claims_and_releases(tmp_path):
    chance = random.Random(8)
    for _ in range(20):
        assert killed_after(chance.uniform(0.005, 0.05), claim_for_ever, tmp_path)
        begun = time.monotonic()
        with claim.acquire(tmp_path) as mine:
            assert isinstance(mine, claim.Claim)
        assert time.monotonic() - begun < 1  # known to be dead, not waited for


def test_a_full_disk_is_said_before_training_and_survived_in_the_middle(small_disk):
    job, cell = job_in(small_disk), make_cell(0)
    with pytest.raises(SetupError, match="MiB free"):
        job.store.ensure_writable()
    ballast = fill(small_disk)
    (result,) = run_cells(small_disk, cell).results
    assert (result.outcome, "No space left" in result.message) == ("unwritten", True)
    assert not list(job.store.files())
    ballast.unlink()
    (result,) = run_cells(small_disk, cell).results
    assert (result.outcome, result.record["score"]) == ("done", score_after(3))


@pytest.mark.parametrize("small_disk", ["size=1m,nr_inodes=12"], indirect=True)
def test_a_disk_without_inodes_is_not_told_to_free_space(small_disk):
    with contextlib.suppress(OSError):
        for number in range(12):
            (small_disk / f"{number}").touch()
    (result,) = run_cells(small_disk, make_cell(0)).results
    assert result.outcome == "unwritten"
    assert "there is space, but no file more can be made" in result.message


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def test_a_store_made_read_only_midway(small_disk):
    job, cells = job_in(small_disk), [make_cell(i, steps=30) for i in range(2)]

    def seal_at_ten(event) -> None:
        if event["epoch"] == 10:
            remount(small_disk, "ro")

    def sealed_run() -> None:
        results = [run_one(work, job, seal_at_ten) for work in works(cells, job.store)]
        good = all(r.outcome == "unwritten" and "Read-only file system" in r.message for r in results)
        os._exit(0 if good else 1)

    process = FORK.Process(target=sealed_run)
    process.start()
    process.join()
    remount(small_disk, "rw")
    assert process.exitcode == 0
    again = run_cells(small_disk, *cells).results
    assert [(r.outcome, r.record["score"]) for r in again] == [("done", score_after(30))] * 2
    assert again[0].record["attempts"] == 2  # from the checkpoint of step 10


def damage(folder: Path) -> dict[str, Path]:
    """A store with one good record and one of every kind that cannot be read."""
    store = Store(folder)
    paths = {
        kind: store.write(make_record(seed=i))
        for i, kind in enumerate(("good", "truncated", "newer", "text", "deep", "renamed"))
    }
    paths["truncated"].write_bytes(paths["truncated"].read_bytes()[:300])
    newer = json.loads(paths["newer"].read_text()) | {"schema": 99}
    paths["newer"].write_text(json.dumps(newer))
    paths["text"].write_text("no record at all")
    paths["deep"].write_text("[" * 200_000)  # too deep for Python's parser, which then raises no ValueError
    other = paths["renamed"].with_name("x.y.z.s0.0123456789abcdef.json")
    paths["renamed"] = paths["renamed"].rename(other)
    return paths


@pytest.mark.slow
def test_damaged_records_are_reported_skipped_and_never_fatal(tmp_path, capsys):
    paths = damage(tmp_path)
    records, problems = Store(tmp_path).scan()
    assert len(records) == 1
    assert {p.path for p in problems} == set(paths.values()) - {paths["good"]}
    assert len(status.rows(Store(tmp_path))) == 1
    assert cli.main(["doctor", "--results-dir", str(tmp_path), "--data-dir", str(tmp_path), "--json"]) == 1
    said = [f for f in json.loads(capsys.readouterr().out) if f["what"] == "unreadable"]
    assert len(said) == 5
    assert {f["state"] for f in said} == {"broken"}
    reasons = {
        "truncated": "not JSON",
        "newer": "newer",
        "text": "not JSON",
        "deep": "not JSON",
        "renamed": "is called",
    }
    for kind, reason in reasons.items():
        assert any(f["detail"].startswith(paths[kind].name) and reason in f["detail"] for f in said)
        assert all(f["cure"] for f in said)


@pytest.mark.parametrize("name", ["progress.json", "cell.json", "claim.1"])
@pytest.mark.parametrize("text", ["", "[", "[" * 200_000, "[]", "damaged"])
def test_a_damaged_work_folder_is_never_fatal(tmp_path, name, text):
    job, cell = job_in(tmp_path), make_cell(0)
    work = job.store.work(cell.id)
    with claim.acquire(work):
        whole = {
            "progress.json": {"stage": "stage2", "epoch": "a", "epochs": [], "seconds": {}, "samples_per_second": "x"},
            "cell.json": works([cell], job.store)[0].to_dict() | {"cell": {"task": 3}},
            "claim.1": json.loads((work / "claim.1").read_text()) | {"host": 3, "pid": "../1"},
        }
        (work / "cell.json").write_text(json.dumps(works([cell], job.store)[0].to_dict()))
        (work / name).write_text(json.dumps(whole[name]) if text == "damaged" else text)
        (row,) = status.rows(job.store, [cell])
        assert row.status == "running"
        assert len(status.rows(job.store)) == (name != "cell.json")


def test_a_record_of_a_newer_version_is_never_overwritten(tmp_path):
    job, cell = job_in(tmp_path), make_cell(0)
    (result,) = run_cells(tmp_path, cell).results
    path = job.store.path(cell.key())
    path.write_text(json.dumps(result.record | {"schema": 99}))
    (again,) = run_cells(tmp_path, cell).results
    assert (again.outcome, "newer" in again.message) == ("unwritten", True)
    assert json.loads(path.read_text())["schema"] == 99


def test_the_clock_going_backwards_shows_in_no_state(tmp_path, monkeypatch):
    """A claim whose file was stamped by a clock that was put back is judged by its process, or by its next beat."""
    job, cell = job_in(tmp_path), make_cell(0)
    folder = job.store.work(cell.id)
    with claim.acquire(folder) as held:
        (folder / "cell.json").write_text(json.dumps(works([cell], job.store)[0].to_dict()))
        for shift in (-30 * 86400.0, 30 * 86400.0):
            stamp = time.time() + shift
            os.utime(folder / f"claim.{held.number}", (stamp, stamp))
            assert [row.status for row in status.rows(job.store)] == ["running"]
    monkeypatch.setattr(time, "time", lambda: 1.0)
    assert run_cells(tmp_path, cell).results[0].outcome == "done"
