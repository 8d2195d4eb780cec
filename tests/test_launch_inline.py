"""Cells one after another in this process: failures stop nothing, an interrupt loses nothing, nothing runs twice."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.launch import Outcome, inline
from bench.launch.claim import acquire
from bench.launch.one import Job, Work, run_one, works
from bench.launch.progress import Bars, Lines, Reporter, Silent, describe, display, duration, read, time_left
from bench.store import Store
from tests.fake_runner import make_cell, score_after

HERE = Path(__file__).parent


def job_in(folder: Path) -> Job:
    return Job(str(folder / "data"), str(folder / "results"), {}, "tests.fake_runner")


def run_cells(folder: Path, *cells) -> Outcome:
    job = job_in(folder)
    return Outcome(inline.run(works(cells, job.store), job, Silent()))


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


def test_a_cell_that_somebody_runs_is_skipped(tmp_path):
    job, cell = job_in(tmp_path), make_cell(0)
    with acquire(job.store.work(cell.id)):
        result = run_one(Work(cell), job)
    assert result.outcome == "skipped"
    assert f"pid {os.getpid()}" in result.message


def test_work_is_plain_data():
    work = Work(make_cell(3), "2026-01-01T00:00:00+00:00")
    assert Work.from_dict(json.loads(json.dumps(work.to_dict()))) == work


SCRIPT = """
import signal
import sys
from tests.fake_runner import make_cell
from tests.test_launch_inline import run_cells
from pathlib import Path
# A shell's background job hands an ignored SIGINT down to whatever it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    run_cells(Path(sys.argv[1]), make_cell(0, steps=200, pause=0.02))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_keeps_the_checkpoint_and_the_next_run_resumes(tmp_path):
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], env=env)
    cell = make_cell(0, steps=200, pause=0.02)
    work = Store(tmp_path / "results").work(cell.id)
    deadline = time.monotonic() + 30
    while not (work / "state.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 130
    assert not list(Store(tmp_path / "results").files())
    step = json.loads((work / "state.json").read_text())[0]
    assert 1 <= step < 200
    outcome = run_cells(tmp_path, cell)
    assert outcome.records[0]["score"] == score_after(200)
    assert outcome.records[0]["attempts"] == 2


def test_an_unwritable_store_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tests.fake_runner._write", full)
    outcome = run_cells(tmp_path, make_cell(0), make_cell(1))
    assert [r.outcome for r in outcome.failed] == ["unwritten", "unwritten"]
    assert "No space left" in outcome.failed[0].message


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
    assert time_left({"epoch": 2, "epochs": 10, "seconds": 6.0}) == pytest.approx(34.0)  # 1.5 epochs took 6 s
    assert time_left({"stage": "data"}) is None
    line = describe({"stage": "stage2", "epoch": 2, "epochs": 10, "seconds": 6.0, "samples_per_second": 812.4})
    assert line == "stage2 epoch 2/10, 812 samples/s, 34 s left"
    assert [duration(s) for s in (45, 180, 9000, 200000)] == ["45 s", "3 min", "2.5 h", "2.3 d"]


def test_lines_where_there_is_no_terminal(tmp_path):
    out = io.StringIO()
    show = display(2, out=out)
    assert isinstance(show, Lines)
    job = job_in(tmp_path)
    inline.run(works([make_cell(0), make_cell(1, do="fail")], job.store), job, show)
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
    show = display(2, out=out)
    assert isinstance(show, Bars)
    show.start("a", "advection / mona [mona.lambda_=0.5]")
    show.update("a", {"stage": "stage2", "epoch": 2, "epochs": 4, "seconds": 3.0})
    show._rich.refresh()
    show.end("a", "done", "nrmse 0.5")
    show.close()
    colour = re.compile(r"\x1b\[[0-9;]*m")
    assert bool(colour.search(out.getvalue())) is not no_color
    said = colour.sub("", out.getvalue())
    assert "advection / mona [mona.lambda_=0.5]: done, nrmse 0.5" in said
    assert re.search(r"\[mona.lambda_=0.5\] .*stage2 epoch 2/4, 5 s left", said)
    assert "0/2" in said and "1/2" in said
