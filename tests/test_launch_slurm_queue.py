"""What the Slurm executor knows of jobs: the queue, what was submitted, where every cell is, a Slurm that does not answer."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest

from bench import cli
from bench.errors import SetupError
from bench.launch import slurm, status
from bench.launch.claim import acquire
from bench.launch.one import run_one
from bench.launch.options import LaunchOptions, SlurmOptions
from bench.launch.slurm import manifest, queue, sbatch
from bench.launch.slurm.array import arrays
from bench.launch.slurm.needs import Needs
from bench.launch.work import Job, Work
from bench.records.store import Store
from tests.cell_helpers import job_in
from tests.fake_runner import make_cell, some

pytestmark = pytest.mark.usefixtures("fake_cells")


def test_squeue_is_read_and_foreign_lines_are_not():
    text = "12_3|RUNNING|node7|bench-ab|None\n13|PENDING||bench-cd|Resources, a|b\nslurm error\n1_[0-3%2]|X|||\n"
    found = queue.parse(text)
    assert set(found) == {"12_3", "13"}
    assert found["13"].reason == "Resources, a|b"
    assert found["12_3"].active
    assert not found["12_3"].waits


def test_scancel_takes_job_ids_only():
    with pytest.raises(ValueError, match="no job id"):
        queue.scancel(["12", "--user=root"])


def new_manifest(store: Store, todo: list[Work]) -> manifest.Manifest:
    plan = arrays({Needs(0, 2, 4, 15): todo}, 11, dict.fromkeys((True, False), SlurmOptions(pack_minutes=0)))
    return manifest.new(plan, Job("data", str(store.folder), {}), git={})


def test_a_manifest_is_on_disk_before_and_has_the_ids_after(tmp_path):
    store, todo = Store(tmp_path), some(2)
    written = new_manifest(store, todo)
    (early,) = manifest.load_all(store)
    assert [cells for _, cells, _ in early.jobs()] == [[w.cell.id] for w in todo]
    assert [job for job, _, _ in early.jobs()] == ["", ""]
    # The submitter died here: the queue still knows the jobs by their name.
    name = written.job_name(0)
    entries = {f"7_{i}": queue.Entry(f"7_{i}", "PENDING", "", name, "Priority") for i in range(2)}
    assert [job for job, _, _ in early.jobs(entries)] == ["7_0", "7_1"]
    written.submitted(0, ["7_0", "7_1"])
    (late,) = manifest.load_all(store)
    assert [job for job, _, _ in late.jobs()] == ["7_0", "7_1"]
    assert list(late.works().values()) == todo


@pytest.mark.parametrize("damage", ["{", "{}", '"x"', "job", "id"])
def test_a_damaged_manifest_is_named_and_harmless(tmp_path, damage):
    store, written = Store(tmp_path), new_manifest(Store(tmp_path), some(1))
    if damage == "job":
        written.submitted(0, ["7; rm"])
    elif damage == "id":
        (cell_id,) = written.plain["cells"]
        written.plain["cells"] = {"../../" + cell_id: written.plain["cells"][cell_id]}
        written.save()
    else:
        written.path.write_text(damage)
    assert manifest.load_all(store) == []
    ((path, _),) = manifest.scan(store)[1]
    assert path == written.path


CLAIM_AND_DIE = """
import os, pathlib, signal, sys
from bench.launch.claim import acquire
acquire(pathlib.Path(sys.argv[1]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_status_without_slurm(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "squeue", lambda: None)
    job = job_in(tmp_path)
    store = job.store
    done, failed, running, lost, idle = cells = [make_cell(i, do="fail" if i == 1 else "") for i in range(5)]
    for cell in (done, failed):
        run_one(Work(cell), job)
    for cell in (running, lost, idle):
        store.work(cell.id).mkdir(parents=True)
        (store.work(cell.id) / "cell.json").write_text(json.dumps(Work(cell).to_dict()))
    with acquire(store.work(idle.id)):
        pass  # interrupted: the claim was given back
    child = [sys.executable, "-c", CLAIM_AND_DIE, str(store.work(lost.id))]
    subprocess.run(child, check=False)
    with acquire(store.work(running.id)):
        found = {row.cell: row for row in status.rows(store)}
        assert {cell: found[cell].status for cell in cells} == {
            done: "done", failed: "failed", running: "running", lost: "lost", idle: "missing",
        }  # fmt: skip
    assert found[failed].detail == "this cell fails"
    assert "interrupted" in found[idle].detail
    assert [row.status for row in status.rows(store, [make_cell(9)])] == ["missing"]


def test_status_with_a_queue(tmp_path, monkeypatch):
    job = job_in(tmp_path)
    todo = some(4)
    written = new_manifest(job.store, todo)
    written.submitted(0, ["7_0", "7_1", "7_2", "7_3"])
    entries = {
        "7_0": queue.Entry("7_0", "PENDING", "", "n", "Resources"),
        "7_1": queue.Entry("7_1", "RUNNING", "node7", "n", "None"),
        "7_2": queue.Entry("7_2", "CANCELLED", "node7", "n", "None"),
    }
    monkeypatch.setattr(queue, "squeue", lambda: entries)
    written.log(0, "7_2").parent.mkdir(parents=True)
    written.log(0, "7_2").write_text("srun: error: no memory\n")
    rows = {row.cell.seed: row for row in status.rows(job.store)}
    assert [(rows[i].status, rows[i].job) for i in range(4)] == [
        ("pending", "7_0"), ("pending", "7_1"), ("lost", "7_2"), ("lost", "7_3"),
    ]  # fmt: skip
    assert rows[0].detail == "Resources"
    assert "cancelled" in rows[2].detail and f"see {written.log(0, '7_2')}" in rows[2].detail
    assert "not in the queue" in rows[3].detail


def test_a_queue_that_does_not_answer_makes_nothing_lost_and_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "squeue", lambda: None)
    job, todo = job_in(tmp_path), some(2)
    new_manifest(job.store, todo).submitted(0, ["7_0", "7_1"])
    run_one(todo[0], job)
    assert {row.cell: row.status for row in status.rows(job.store)} == {todo[0].cell: "done", todo[1].cell: "pending"}
    monkeypatch.setattr(slurm.shutil, "which", lambda name: "/usr/bin/" + name)
    with pytest.raises(SetupError, match="nothing was submitted"):
        slurm.submit(todo[1:], job, LaunchOptions(quiet=True))
    assert len(manifest.load_all(job.store)) == 1


def test_cells_that_were_never_submitted_are_missing_and_say_why(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "squeue", dict)
    store, todo = Store(tmp_path), some(12)
    written = new_manifest(store, todo)  # arrays of 11 and 1
    assert {row.status for row in status.rows(store)} == {"missing"}
    assert {row.detail for row in status.rows(store)} == {"its submission did not finish; run it again"}
    written.submitted(0, [f"7_{i}" for i in range(11)])
    written.refused(1, "sbatch refused: no such qos")
    found = {row.cell: row for row in status.rows(store)}
    assert (found[todo[11].cell].status, found[todo[11].cell].detail) == ("missing", "sbatch refused: no such qos")
    assert {found[work.cell].status for work in todo[:11]} == {"lost"}


def test_what_scancel_says_is_told_unless_the_job_has_just_ended(monkeypatch, tmp_path):
    tool = tmp_path / "scancel"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for line, refused in (("Kill job error on job id 1: Invalid job id specified", False), ("Access denied", True)):
        tool.write_text(f"#!/bin/sh\necho 'scancel: error: {line}' >&2\nexit 1\n")
        tool.chmod(0o755)
        with pytest.raises(SetupError, match=line) if refused else contextlib.nullcontext():
            queue.scancel(["1"])


def hanging(tmp_path, monkeypatch, *names: str) -> None:
    """Let commands of Slurm never answer."""
    for name in names:
        (tmp_path / name).write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)


def test_slurm_commands_that_hang_are_not_waited_for(tmp_path, monkeypatch):
    hanging(tmp_path, monkeypatch, "squeue", "scancel", "scontrol", "sbatch", "srun")
    monkeypatch.setattr(queue, "ANSWER_SECONDS", 0.1)
    monkeypatch.setattr(sbatch, "SBATCH_SECONDS", 0.3)
    assert queue.squeue() is None
    assert queue.max_array_size() == 1001
    with pytest.raises(SetupError, match="scancel does not answer"):
        queue.scancel(["1"])
    job, store = job_in(tmp_path), Store(tmp_path / "results")
    monkeypatch.setattr(slurm, "_answering", dict)
    with pytest.raises(sbatch.Unanswered, match="run the same command again"):
        slurm.submit(some(2), job, LaunchOptions(quiet=True, slurm={"time": 15, "gpus": 0, "cpus": 1, "memory_gb": 1}))
    assert {row.detail for row in status.rows(store)} == {"its submission did not finish; run it again"}


@pytest.mark.parametrize("here, said", [(None, "no sbatch here"), ("/usr/bin/x", "squeue does not answer")])
def test_a_slurm_that_is_not_there_is_said_before_data_are_generated(tmp_path, monkeypatch, capsys, here, said):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: here)
    monkeypatch.setattr(queue, "squeue", lambda: None)
    places = ["--results-dir", str(tmp_path / "r"), "--data-dir", str(tmp_path / "d")]
    assert cli.main(["run", "--tasks", "ecg", "--profile", "tiny", "--executor", "slurm", *places]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "d").exists() or not any((tmp_path / "d").iterdir())


def test_slurm_is_called_as_if_from_outside_of_an_allocation(monkeypatch):
    inside = {"SLURM_JOB_ID": "7", "SLURM_MEM_PER_CPU": "100", "SLURM_CPU_BIND": "cores", "SBATCH_EXPORT": "NONE",
              "SQUEUE_STATES": "FAILED", "CUDA_VISIBLE_DEVICES": "3"}  # fmt: skip
    kept = {"SLURM_CONF": "/c", "SBATCH_ACCOUNT": "lab"}
    for name, value in {**inside, **kept}.items():
        monkeypatch.setenv(name, value)
    seen = queue.environment()
    assert kept.items() <= seen.items() and not seen.keys() & inside.keys()
    assert seen["PATH"] == os.environ["PATH"]
