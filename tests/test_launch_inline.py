"""Cells one after another in this process: failures stop nothing, an interrupt loses nothing, nothing runs twice."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench import launch
from bench.launch import LaunchOptions, claim, inline, waiting
from bench.launch.claim import acquire
from bench.launch.display import Bars, Display, Lines, display
from bench.launch.one import run_one
from bench.launch.progress import Reporter, describe, read, time_left
from bench.launch.remaining import Remaining
from bench.launch.work import Job, Outcome, Work, works
from bench.plan import Cell
from bench.records.store import Store
from bench.words import duration
from tests.cell_helpers import job_in, run_cells, started
from tests.fake_runner import make_cell, score_after

HERE = Path(__file__).parent
pytestmark = pytest.mark.usefixtures("fake_cells")


def test_a_failing_cell_stops_no_other(tmp_path):
    outcome = run_cells(tmp_path, make_cell(0), make_cell(1, do="fail"), make_cell(2))
    assert [r.outcome for r in outcome.results] == ["done", "failed", "done"]
    assert [r.message for r in outcome.failed] == ["ValueError: this cell fails"]
    assert [r["score"] for r in outcome.records] == [score_after(3), None, score_after(3)]
    assert len(list(Store(tmp_path / "results").files())) == 3


def test_a_finished_cell_leaves_no_work_folder(tmp_path):
    run_cells(tmp_path, make_cell(0))
    assert not Store(tmp_path / "results").work(make_cell(0).id).exists()


def test_a_cell_done_since_it_was_planned_is_skipped(tmp_path):
    job, cell = job_in(tmp_path), make_cell(0)
    first, second = works([cell], job.store) * 2
    assert run_one(first, job).outcome == "done"
    late = run_one(second, job)
    assert late.outcome == "skipped"
    assert late.message.startswith("done since, by ")


def test_a_retry_replaces_the_record_it_saw(tmp_path):
    job, cell = job_in(tmp_path), make_cell(0)
    run_one(Work(cell), job)
    again = works([cell], job.store)[0]
    assert again.before is not None
    assert run_one(again, job).outcome == "done"


def test_a_cell_that_somebody_runs_is_left_to_them(tmp_path):
    job, cell = job_in(tmp_path), make_cell(0)
    with acquire(job.store.work(cell.id)):
        result = run_one(Work(cell), job)
    assert result.outcome == "taken"
    assert f"pid {os.getpid()}" in result.message


class During(Display):
    """Does something to the work folder of the first cell while that runs."""

    def __init__(self, deed):
        self.deed = deed

    def update(self, key, event):
        if event["epoch"] == 2 and self.deed:
            self.deed(key)
            self.deed = None


@pytest.mark.parametrize("how", ["overtaken", "folder removed"])
def test_a_lost_claim_costs_one_cell_and_no_other(tmp_path, monkeypatch, how):
    """Another host took over, or somebody removed the results: no traceback, and the rest is run."""
    monkeypatch.setattr(claim, "BEAT_SECONDS", 0.005)
    job, cells = job_in(tmp_path), [make_cell(0, steps=400, pause=0.01), make_cell(1)]

    def deed(key):
        if how == "overtaken":
            other = replace(claim.myself(), host="elsewhere", machine="another boot")
            (job.store.work(key) / "claim.77").write_text(json.dumps(asdict(other)))
        else:
            shutil.rmtree(job.store.folder)

    outcome = Outcome(inline.run(works(cells, job.store), job, During(deed)))
    assert [r.outcome for r in outcome.results] == ["taken", "done"]
    assert outcome.results[0].message.startswith("taken over by elsewhere" if how == "overtaken" else "its work folder")
    assert [r.cell for r in outcome.unfinished] == cells[:1]


def run_elsewhere(folder: Path, cell) -> None:
    run_cells(folder, cell)


@pytest.mark.parametrize("killed", [False, True], ids=["it ends", "it is killed"])
def test_wait_stays_for_a_cell_that_another_process_runs(tmp_path, monkeypatch, killed):
    job, cell = job_in(tmp_path), make_cell(0, steps=20, pause=0.02)
    monkeypatch.setattr(Job, "of", classmethod(lambda *_: job))
    monkeypatch.setattr(waiting, "OTHERS_SECONDS", 0.02)
    other = multiprocessing.get_context("fork").Process(target=run_elsewhere, args=(tmp_path, cell))
    other.start()
    state = job.store.work(cell.id) / "state.json"
    while not state.exists():
        time.sleep(0.002)
    at_once = launch.run([cell], job.places(), {}, options=LaunchOptions(quiet=True))
    assert [r.outcome for r in at_once.unfinished] == ["taken"]
    if killed:
        threading.Timer(0.05, other.kill).start()
    waited = launch.run([cell], job.places(), {}, options=LaunchOptions(quiet=True, wait=True))
    other.join()
    assert waited.unfinished == []
    assert job.store.get(cell.key())["attempts"] == 1 + killed
    assert job.store.get(cell.key())["score"] == score_after(20)


def test_work_is_plain_data():
    work = Work(make_cell(3), "2026-01-01T00:00:00+00:00")
    assert Work.from_dict(json.loads(json.dumps(work.to_dict()))) == work


@pytest.mark.parametrize("executor", ["inline", "local"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_keeps_the_checkpoint(tmp_path, number, executor):
    child = started(tmp_path, executor, 400)
    child.send_signal(number)
    said = child.communicate(timeout=20)[1]
    assert child.returncode == 128 + number
    assert "interrupted" in said and "Traceback" not in said
    store, cell = Store(tmp_path / "results"), make_cell(0, steps=400, pause=0.01)
    assert not list(store.files())
    step = json.loads((store.work(cell.id) / "state.json").read_text())[0]
    assert 1 <= step < 400
    assert claim.parse(claim.newest(store.work(cell.id))[1]).released  # given back, not left to be found dead


def test_nohup_keeps_a_run_alive(tmp_path):
    child = started(tmp_path, "inline", 60, ("nohup",))
    child.send_signal(signal.SIGHUP)
    assert child.wait(20) == 0
    assert [r["status"] for r in Store(tmp_path / "results").scan()[0]] == ["done"]


def test_an_unwritable_store_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tests.fake_runner._write", full)
    outcome = run_cells(tmp_path, make_cell(0), make_cell(1))
    assert [r.outcome for r in outcome.failed] == ["unwritten", "unwritten"]
    assert "No space left" in outcome.failed[0].message


def test_a_cell_that_takes_the_gpu_down_takes_no_other_along(tmp_path, monkeypatch):
    """After a device-side assert every call of the process fails: the rest is not begun, and nothing is recorded of it."""
    monkeypatch.setitem(sys.modules, "torch", None)  # put back afterwards
    cells = [make_cell(0), make_cell(1, do="poison"), make_cell(2)]
    outcome = run_cells(tmp_path, *cells)
    assert [r.outcome for r in outcome.results] == ["done", "failed", "skipped"]
    assert "run the same command again" in outcome.results[2].message
    assert [r.cell for r in outcome.unfinished] == cells[1:]
    assert not Store(tmp_path / "results").work(cells[2].id).exists()


def test_progress_is_written_for_status(tmp_path):
    seen = []
    reporter = Reporter(tmp_path, seen.append)
    reporter({"stage": "stage2", "epoch": 1, "epochs": 4})
    reporter({"stage": "stage2", "epoch": 2, "epochs": 4})  # too soon after the first to be written
    assert read(tmp_path)["epoch"] == 1
    reporter({"stage": "eval"})  # a new stage is always written
    assert read(tmp_path)["stage"] == "eval"
    assert len(seen) == 3
    assert read(tmp_path / "nowhere") == {}


def test_time_left_and_words():
    in_stage2 = {"stage": "stage2", "epoch": 1, "epochs": 10, "done": 0.02, "seconds": 6.0}
    assert time_left(in_stage2) == pytest.approx(294.0)  # by steps, within the first epoch
    assert time_left(in_stage2, expected=1000.0) == time_left(in_stage2)
    assert time_left({"stage": "data"}) is None
    assert time_left({"stage": "data", "elapsed": 10.0}, expected=90.0) == 80.0
    line = describe({**in_stage2, "samples_per_second": 812.4})
    assert line == "stage2 epoch 1/10, 812 samples/s, 5 min left"
    in_stage1 = {**in_stage2, "stage": "stage1", "elapsed": 20.0}
    assert describe(in_stage1) == "stage1 epoch 1/10, 5 min left of this phase"
    assert describe(in_stage1, expected=1000.0) == "stage1 epoch 1/10, 16 min left"
    assert [duration(s) for s in (45, 180, 9000, 200000)] == ["45 s", "3 min", "2.5 h", "2.3 d"]


def test_time_left_of_a_run():
    now = 0.0
    cells = [Cell("ecg", method, "minilm", seed) for method in ("vanilla", "mona") for seed in (0, 1)]
    first, second, _, fourth = keys = [cell.id for cell in cells]
    run = Remaining(cells, {first: 100.0, second: 100.0}, clock=lambda: now)
    assert run.words() == "0/4 cells, 3 min left and 2 cells of unknown cost"
    run.start(first)
    now = 60.0
    run.update(first, {"stage": "stage2", "done": 0.5, "seconds": 50.0})
    assert run.words() == "0/4 cells, 2 min left and 2 cells of unknown cost"
    run.end(first, "done")
    assert run.words() == "1/4 cells, 60 s left and 2 cells of unknown cost"  # as long as its like took here
    for key in keys[1:3]:
        run.start(key)
        now += 60.0
        run.end(key, "done")
    assert run.words() == "3/4 cells, 60 s left"
    run.start(fourth)
    run.end(fourth, "failed")
    assert run.words() == "4/4 cells"
    assert Remaining(cells, dict.fromkeys(keys, 100.0), jobs=4).words() == "0/4 cells, 100 s left"


def test_lines_where_there_is_no_terminal(tmp_path):
    out = io.StringIO()
    cells, job = [make_cell(0), make_cell(1, do="fail")], job_in(tmp_path)
    show = display(Remaining(cells, {}), out=out)
    assert isinstance(show, Lines)
    inline.run(works(cells, job.store), job, show)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("[1/2] fake / none / nothing / seed 0")
    assert ": done, " in lines[1] and "(trivial " in lines[1]
    assert lines[3].endswith(": failed, ValueError: this cell fails")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("no_color", [False, True])
def test_bars_on_a_terminal(tmp_path, monkeypatch, no_color):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1") if no_color else monkeypatch.delenv("NO_COLOR", raising=False)
    out = Terminal()
    cells = [make_cell(0), make_cell(1)]
    show = display(Remaining(cells, {}), out=out)
    assert isinstance(show, Bars)
    show.start(cells[0].id, "advection / mona [mona.lambda_=0.5]")
    show.update(cells[0].id, {"stage": "stage2", "epoch": 2, "epochs": 4, "seconds": 3.0, "done": 0.375})
    show._rich.refresh()
    show.end(cells[0].id, "done", "nrmse 0.5")
    show.close()
    colour = re.compile(r"\x1b\[[0-9;]*m")
    assert bool(colour.search(out.getvalue())) is not no_color
    said = colour.sub("", out.getvalue())
    assert "advection / mona [mona.lambda_=0.5]: done, nrmse 0.5" in said
    assert re.search(r"\[mona.lambda_=0.5\] .*stage2 epoch 2/4, 5 s left", said)
    assert "0/2 cells, 5 s left and 1 cell of unknown cost" in said and "1/2 cells" in said
