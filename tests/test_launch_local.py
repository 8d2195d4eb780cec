"""Cells in processes of this machine: one GPU each, threads divided, dead and hanging workers survived."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bench import machine
from bench.cli import main
from bench.errors import SetupError
from bench.launch import claim, local
from bench.launch.display import Display
from bench.launch.one import log_path
from bench.launch.slurm import sbatch
from bench.launch.work import works
from bench.records.store import Store
from tests.cell_helpers import job_in, run_locally, started
from tests.fake_runner import PATH, make_cell, score_after

pytestmark = pytest.mark.usefixtures("fake_cells")


def test_all_cells_run_in_order_of_asking_whatever_fails(tmp_path):
    cells = [make_cell(0), make_cell(1, do="fail"), make_cell(2), make_cell(3, do="die_once"), make_cell(4, do="die")]
    results = run_locally(tmp_path, *cells)
    assert [r.cell for r in results] == cells
    assert [r.outcome for r in results] == ["done", "failed", "done", "done", "lost"]
    assert results[3].record["attempts"] == 2  # a worker that dies is replaced once, and resumes
    assert results[3].record["score"] == score_after(3)
    assert "killed by SIGKILL" in results[4].message
    assert "attempt 2 starts at step 1" in log_path(Store(tmp_path / "results"), cells[3].id).read_text()


def test_a_record_says_what_the_user_typed_and_not_what_the_worker_was_started_with(tmp_path):
    job = dataclasses.replace(job_in(tmp_path), command="python -m bench run --suite quick --executor local")
    results = local.run(works([make_cell(0), make_cell(1, do="die")], job.store), job, Display(), 1, 60.0)
    assert [r.outcome for r in results] == ["done", "lost"]
    assert {r.record["command"] for r in results} == {job.command}


def test_two_at_once(tmp_path):
    begun = time.monotonic()
    results = run_locally(tmp_path, *(make_cell(i, steps=4, pause=0.5) for i in range(4)), jobs=4)
    assert [r.outcome for r in results] == ["done"] * 4
    assert len({r.record["host"] for r in results}) == 4  # four processes
    assert time.monotonic() - begun < 8  # one after another it would be more


@pytest.mark.slow
def test_a_hanging_cell_is_ended_and_says_where_it_hung(tmp_path):
    results = run_locally(tmp_path, make_cell(0, do="hang"), make_cell(1), jobs=1, watchdog=2.0)
    assert [r.outcome for r in results] == ["lost", "done"]
    assert "no progress for 2 s" in results[0].message
    assert "_misbehave" in log_path(Store(tmp_path / "results"), results[0].cell.id).read_text()


def test_gpus_are_shared_out_and_threads_are_those_of_every_launcher(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    given = [local.environment(i) for i in range(3)]
    assert [env["CUDA_VISIBLE_DEVICES"] for env in given] == ["3", "5", "3"]
    assert not any("OMP_NUM_THREADS" in env for env in given) and machine.threads() == 2
    assert "OMP_NUM_THREADS=2 " in sbatch._exports()
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert machine.threads() == 3 and "OMP_NUM_THREADS=3 " in sbatch._exports()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local.gpus_here() == []


def test_a_card_that_was_named_keeps_its_number_in_every_worker(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert {local.environment(slot, "cuda:1")["CUDA_VISIBLE_DEVICES"] for slot in range(3)} == {"3,5"}
    assert local.environment(0, "cuda")["CUDA_VISIBLE_DEVICES"] == "3"
    assert local.environment(1, "cpu")["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize(
    "slots, device, said",
    [
        (3, "auto", "-j 3 on 2 GPUs"),
        (2, "cuda:1", "-j 2 on cuda:1"),
        (2, "cuda", ""),
        (1, "cuda:1", ""),
        (8, "cpu", ""),
    ],
)
def test_more_processes_than_cards_are_said(monkeypatch, capsys, slots, device, said):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    local.warn_of_shared_cards(slots, device)
    err = capsys.readouterr().err
    assert said in err and bool(err) == bool(said)


def test_a_cell_that_takes_the_gpu_down_ends_its_worker_and_no_other_cell(tmp_path):
    cells = [make_cell(0, do="poison"), make_cell(1), make_cell(2)]
    results = run_locally(tmp_path, *cells, jobs=1)
    assert [r.outcome for r in results] == ["failed", "done", "done"]
    hosts = [r.record["host"] for r in results]  # the stand-in writes its process id there
    assert hosts[0] != hosts[1] == hosts[2]
    assert [r.record["attempts"] for r in results] == [1, 1, 1]


def test_cells_on_the_cpu_never_see_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    job = dataclasses.replace(job_in(tmp_path), runtime={"trainer.device": "cpu"})
    (result,) = local.run(works([make_cell(0, do="gpu")], job.store), job, Display(), 1, 60.0)
    assert result.record["device"] == ""


def test_a_driver_that_does_not_answer_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexec sleep 60\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(local, "DRIVER_SECONDS", 0.1)
    with pytest.raises(SetupError, match="nvidia-smi does not answer"):
        local.gpus_here()


def test_gpus_are_counted_without_torch(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: H (UUID: a)'\necho '  MIG 1g'\necho 'GPU 1: H (UUID: b)'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert local.gpus_here() == ["0", "1"]


def test_workers_end_with_their_parent_and_keep_their_checkpoints(tmp_path):
    """Killed without a word: no GPU stays held by a run that nobody sees, and the next run finds the cells free."""
    child = started(tmp_path, "local", 1000)
    store, cell = Store(tmp_path / "results"), make_cell(0, steps=1000, pause=0.01)
    owner = claim.parse(claim.newest(store.work(cell.id))[1])
    assert owner.pid != child.pid
    child.kill()
    child.communicate()
    deadline = time.monotonic() + 5
    while claim.alive_here(owner) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not claim.alive_here(owner)
    assert not list(store.files())
    assert 1 <= json.loads((store.work(cell.id) / "state.json").read_text())[0] < 1000
    assert claim.parse(claim.newest(store.work(cell.id))[1]).released


def test_a_worker_that_is_told_to_end_is_replaced_and_the_cell_resumed(tmp_path):
    cell, job = make_cell(0, steps=60, pause=0.01), job_in(tmp_path)
    told = []

    class Tell(Display):
        def update(self, key, event):
            if not told:
                told.append(claim.parse(claim.newest(job.store.work(key))[1]).pid)
                os.kill(told[0], signal.SIGTERM)

    (result,) = local.run(works([cell], job.store), job, Tell(), 1, 60.0)
    assert (result.outcome, result.record["attempts"]) == ("done", 2)
    assert result.record["score"] == score_after(60)


@pytest.mark.slow
def test_a_job_that_is_out_of_time_is_requeued_resumes_and_at_last_is_recorded_as_timeout(tmp_path):
    """submitit's own local executor has the whole cycle of a time limit, without Slurm and in seconds."""
    import submitit

    from bench.launch.slurm.element import CellJob

    job = job_in(tmp_path)
    short, endless = make_cell(0, steps=70, pause=0.1), make_cell(1, steps=10_000, pause=0.1)
    todo = tuple(json.dumps(work.to_dict()) for work in works([short, endless], job.store))
    executor = submitit.LocalExecutor(tmp_path / "jobs", max_num_timeout=2)
    executor.update_parameters(timeout_min=0.15, signal_delay_s=3)
    running = executor.submit(CellJob(todo, json.dumps(dataclasses.asdict(job)), "", 0o22, 0.0))
    deadline = time.monotonic() + 60
    while len(list(job.store.files())) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    records = [job.store.get(cell.key()) for cell in (short, endless)]
    assert [r["status"] for r in records] == ["done", "timeout"]
    assert records[0]["score"] == score_after(70)
    assert records[0]["attempts"] >= 2
    assert "timed-out too many times" in records[1]["error"]["message"]
    running.wait()


@pytest.mark.parametrize(
    "words, said",
    [
        (("--watchdog", "-1"), "'-1' is not a number of seconds from 0"),
        (("--watchdog", "nan"), "not a number of seconds"),
        (("--watchdog", "soon"), "not a number of seconds"),
        (("-j", "0"), "expected at least 1"),
        (("-j", "-2"), "not a whole number from 0"),
    ],
)
def test_senseless_options_of_an_executor_are_refused(words, said, capsys):
    assert main(["plan", "--tasks", "ecg", "--methods", "vanilla", *words]) == 2
    assert said in capsys.readouterr().err


BESIDE = """
import sys
from pathlib import Path
from tests.fake_runner import make_cell
from tests.cell_helpers import run_locally
run_locally(Path(sys.argv[1]), make_cell(0))
"""


def test_workers_run_the_code_that_planned(tmp_path):
    """Started as a command is, beside an older clone and modules of our names."""
    for name in ("here/bench/__init__.py", "here/tasks.py", "here/methods/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("raise SystemExit('not ours')")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "command.py").write_text(BESIDE)
    env = {**os.environ, "PYTHONPATH": PATH}
    subprocess.run(
        [sys.executable, tmp_path / "bin" / "command.py", tmp_path], cwd=tmp_path / "here", env=env, check=True
    )
    assert Store(tmp_path / "results").get(make_cell(0).key())["status"] == "done"
