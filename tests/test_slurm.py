"""The Slurm executor on a real Slurm: one node, started here on ports of its own and stopped at the end."""

from __future__ import annotations

import random
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import cli
from bench.errors import SetupError
from bench.launch import claim, status, waiting
from bench.launch.cancel import cancel
from bench.launch.options import LaunchOptions
from bench.launch.slurm import array, manifest, queue
from bench.launch.work import works
from bench.records.store import Store
from bench.search.space import is_trial
from tests.cell_helpers import job_in, killed_after, one
from tests.fake_runner import make_cell, score_after
from tests.slurm_one_node import cluster
from tests.slurm_one_node.jobs import (
    PACKED,
    UNPACKED,
    jobs_of,
    records,
    start_again,
    step_of,
    submit,
    submit_quietly,
    wait_for,
    wait_for_records,
)  # fmt: skip

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm")]


@pytest.fixture(scope="session")
def one_node() -> Iterator[Path]:
    """The configuration file of a running Slurm."""
    with cluster.running(required="BENCH_REQUIRE_SLURM") as configuration:
        yield configuration


@pytest.fixture(autouse=True)
def environment(one_node, monkeypatch, request):
    monkeypatch.setenv("SLURM_CONF", str(one_node))
    if "real_cell" not in request.node.name:
        request.getfixturevalue("fake_cells")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")  # no profile of whoever runs the tests
    yield
    subprocess.run(["scancel", "--quiet", "--signal=KILL", "--user=root"], check=False)
    subprocess.run(["scancel", "--quiet", "--user=root"], check=False)
    wait_for(lambda: not any(e.active for e in (queue.squeue() or {}).values()), 30)


def test_a_search_is_one_array_and_then_what_was_chosen(tmp_path, capsys):
    asked = "run --tasks ecg --profile tiny --search trainer.lr=loguniform(1e-5,1e-1) --trials 3 --then-seeds 2"
    folders = ["--results-dir", str(tmp_path / "results"), "--data-dir", str(tmp_path / "data")]
    typed = [*asked.split(), *folders, "--executor", "slurm", "--gpus", "0"]
    store = Store(tmp_path / "results")
    assert cli.main(typed) == 0
    assert "3 cells" in capsys.readouterr().out
    wait_for(lambda: len(list(store.files())) == 3, 60)
    assert cli.main([*typed, "--wait"]) == 0  # the choice follows from the records of the trials
    found = store.scan()[0]
    assert sorted((is_trial(record), record["seed"]) for record in found) == [(False, 1), (False, 2), *[(True, 0)] * 3]


def test_an_array_with_a_throttle_and_a_failing_cell_among_good_ones(tmp_path):
    job = job_in(tmp_path)
    cells = [make_cell(i, steps=3, pause=0.4, do="fail" if i == 1 else "") for i in range(4)]
    outcome = submit(job, *cells, options=UNPACKED | {"array_parallelism": 2})
    assert outcome.taken == []  # it returned without waiting
    assert [len(a["elements"]) for a in outcome.manifest.plain["arrays"]] == [4]
    most = 0

    def finished() -> bool:
        nonlocal most
        most = max(most, sum(e.state == "RUNNING" for e in (queue.squeue() or {}).values()))
        return all(record is not None for record in records(job, *cells))

    wait_for(finished)
    assert most == 2
    assert [r["status"] for r in records(job, *cells)] == ["done", "failed", "done", "done"]
    assert records(job, *cells)[0]["score"] == score_after(3)
    # Job files can be changed by their owner alone, records are as readable as any other file.
    folder = outcome.manifest.folder(0)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) & 0o077 for p in folder.glob("*.pkl")} == {0}
    assert stat.S_IMODE(job.store.path(cells[0].key()).stat().st_mode) & 0o044 == 0o044


def test_chunks_above_the_largest_array_share_one_throttle(tmp_path):
    job = job_in(tmp_path)
    cells = [make_cell(i, steps=1) for i in range(13)]
    assert queue.max_array_size() == 11
    outcome = submit(job, *cells, options=UNPACKED | {"array_parallelism": 6})
    assert [len(a["elements"]) for a in outcome.manifest.plain["arrays"]] == [11, 2]
    assert sum(a["parallelism"] for a in outcome.manifest.plain["arrays"]) == 6
    assert len(set(jobs_of(outcome).values())) == 13
    assert {r["status"] for r in wait_for_records(job, *cells, seconds=120)} == {"done"}


def test_packed_cells_run_one_after_another_in_one_job(tmp_path):
    job = job_in(tmp_path)
    cells = [make_cell(i) for i in range(3)]
    outcome = submit(job, *cells, options=PACKED)
    assert len(set(jobs_of(outcome).values())) == 1
    done = wait_for_records(job, *cells)
    assert len({r["host"] for r in done}) == 1  # the stand-in writes its process id there
    assert {r["status"] for r in done} == {"done"}


def test_preempted_and_plainly_requeued_cells_resume(tmp_path):
    job = job_in(tmp_path)
    cells = [make_cell(i, steps=60, pause=0.1) for i in range(2)]
    jobs = jobs_of(submit(job, *cells))
    wait_for(lambda: all(step_of(job, cell) >= 3 for cell in cells))
    preempted, requeued = (jobs[cell.id] for cell in cells)
    for name in ("TERM", "USR2"):
        subprocess.run(["scancel", f"--signal={name}", preempted], check=True)
    subprocess.run(["scontrol", "requeue", requeued], check=True)  # as after a node failure: no warning signal
    for name in (preempted, requeued):
        start_again(name)
    done = wait_for_records(job, *cells)
    assert [(r["status"], r["attempts"], r["score"]) for r in done] == [("done", 2, score_after(60))] * 2
    assert "attempt 2 starts at step" in (tmp_path / "results/work/logs" / f"{cells[0].id}.log").read_text()


def test_a_time_limit_is_resumed_and_the_last_one_recorded(tmp_path, monkeypatch):
    """Slurm's own time limit of one minute; its signal comes up to a minute before."""
    monkeypatch.setattr(array, "OVERHEAD_MINUTES", 0)
    job = job_in(tmp_path)
    resumed, given_up = make_cell(0, steps=400, pause=0.1), make_cell(1, steps=5000, pause=0.1)
    limits = UNPACKED | {"time": 1, "signal_delay_s": 40}
    name = jobs_of(submit(job, resumed, options=limits | {"requeues": 9}))[resumed.id]
    submit(job, given_up, options=limits | {"requeues": 0})

    asked = 0.0

    def finished() -> bool:
        nonlocal asked
        entry = (queue.squeue() or {}).get(name)
        # Once for each requeue: asked again and again, it would be two seconds from now for ever.
        if entry and entry.waits and entry.reason == "BeginTime" and time.monotonic() - asked > 10:
            start_again(name)
            asked = time.monotonic()
        return all(record is not None for record in records(job, resumed, given_up))

    wait_for(finished, 200)
    first, second = records(job, resumed, given_up)
    assert (first["status"], first["score"]) == ("done", score_after(400))
    assert first["attempts"] >= 2
    assert second["status"] == "timeout"
    assert "timed-out too many times" in second["error"]["message"]


def test_status_and_cancel(tmp_path):
    job = job_in(tmp_path)
    cells = [make_cell(i, steps=3000, pause=0.05) for i in range(3)]
    outcome = submit(job, *cells, options=UNPACKED | {"array_parallelism": 1})
    wait_for(lambda: step_of(job, cells[0]) >= 2)
    wait_for(lambda: status.rows(job.store)[0].progress.get("epoch", 0) > 1)
    running, *pending = status.rows(job.store)
    assert (running.cell, running.status, running.job) == (cells[0], "running", jobs_of(outcome)[cells[0].id])
    assert "epoch" in running.detail
    assert "left" in running.detail
    assert [(row.status, row.detail) for row in pending] == [("pending", "JobArrayTaskLimit")] * 2
    # Asked again, these cells are already in the queue.
    again = submit(job, *cells)
    assert again.manifest is None
    assert {r.outcome for r in again.taken} == {"taken"}
    assert "in the queue as job" in again.taken[0].message

    assert len(cancel(job.store).jobs) == 3
    wait_for(lambda: not any(e.active for e in (queue.squeue() or {}).values()))
    assert {row.status for row in status.rows(job.store)} <= {"missing", "lost"}
    assert {row.detail for row in status.rows(job.store)} >= {"cancelled"}


RACE = """
import sys
from pathlib import Path
from tests.fake_runner import make_cell
from tests.slurm_one_node.jobs import UNPACKED, submit
from tests.cell_helpers import job_in
sys.stdin.readline()
submit(job_in(Path(sys.argv[1])), *(make_cell(i, steps=4, pause=0.2) for i in range(3)))
"""


def test_two_submitters_racing_run_each_cell_once(tmp_path):
    both = [
        subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path)], stdin=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    time.sleep(3)
    for each in both:
        each.stdin.write("go\n")
        each.stdin.flush()
    assert [each.wait(60) for each in both] == [0, 0]
    job, cells = job_in(tmp_path), [make_cell(i, steps=4, pause=0.2) for i in range(3)]
    done = wait_for_records(job, *cells)
    wait_for(lambda: not any(e.active for e in (queue.squeue() or {}).values()))
    assert [(r["status"], r["attempts"]) for r in done] == [("done", 1)] * 3
    for cell in cells:
        said = (job.store.work("logs") / f"{cell.id}.log").read_text()
        assert said.count("attempt") == 1


def test_a_hanging_cell_does_not_stop_the_others_of_its_element(tmp_path):
    job = job_in(tmp_path)
    cells = [make_cell(0, do="hang"), make_cell(1)]
    submit(job, *cells, options=PACKED, watchdog=2.0)
    hung, good = wait_for_records(job, *cells)
    assert (hung["status"], good["status"]) == ("lost", "done")
    assert "_misbehave" in (job.store.work("logs") / f"{cells[0].id}.log").read_text()


def test_a_submitter_that_died_before_writing_the_job_ids_is_no_loss(tmp_path, monkeypatch):
    job, cell = job_in(tmp_path), make_cell(0, steps=3000, pause=0.05)
    monkeypatch.setattr(manifest.Manifest, "submitted", lambda *_: None)
    submit(job, cell)
    assert manifest.load_all(job.store)[0].plain["arrays"][0]["jobs"] is None
    wait_for(lambda: status.rows(job.store)[0].status == "running")
    assert queue.JOB_ID.fullmatch(status.rows(job.store)[0].job)


def test_a_job_that_vanishes_is_lost_and_can_be_run_again(tmp_path):
    job, cell = job_in(tmp_path), make_cell(0, steps=100, pause=0.05)
    name = jobs_of(submit(job, cell))[cell.id]
    wait_for(lambda: step_of(job, cell) >= 2)
    subprocess.run(["scancel", "--signal=KILL", "--full", name], check=True)
    wait_for(lambda: status.rows(job.store)[0].status == "lost")
    assert f"{name}_0_log.out; the next run resumes it" in status.rows(job.store)[0].detail
    submit(job, cell)
    (record,) = wait_for_records(job, cell)
    assert (record["status"], record["attempts"], record["score"]) == ("done", 2, score_after(100))


def test_what_sbatch_refuses_is_one_clear_error_and_leaves_nothing_loose(tmp_path):
    job = job_in(tmp_path)
    options = {"partition": "nowhere"}
    with pytest.raises(SetupError, match=r"sbatch refused: .*partition"):
        submit(job, make_cell(0), options=options)
    written = manifest.load_all(job.store)[0]
    assert written.plain["arrays"][0]["jobs"] is None
    assert not list(written.folder(0).glob("*.pkl"))
    (row,) = status.rows(job.store)
    assert row.status == "missing"
    assert row.detail.startswith("sbatch refused: ")
    assert claim.newest(job.store.work(row.cell.id)) == (0, b"")
    submit(job, make_cell(0))
    assert wait_for_records(job, make_cell(0))[0]["status"] == "done"


def test_ten_kills_of_a_submitter_lose_nothing(tmp_path):
    """Before the manifest, between it and sbatch, and between sbatch and the ids: the same command again does it all."""
    import submitit  # noqa: F401  here, and not in each of the forked submitters

    chance, job, kills, cells = random.Random(10), job_in(tmp_path), 0, []
    while kills < 10:
        cells.append(make_cell(len(cells)))
        kills += killed_after(chance.uniform(0.001, 0.12), submit_quietly, job, cells[-1:])
        assert manifest.scan(job.store)[1] == []
    # A job whose submitter died before it had put the job file in its place would wait a minute for it.
    cancel(job.store)
    wait_for(lambda: not any(e.active for e in (queue.squeue() or {}).values()))
    known = {row.cell: row.status for row in status.rows(job.store)}
    assert set(known.values()) <= {"done", "missing", "lost"}
    submit_quietly(job, cells)
    done = wait_for_records(job, *cells, seconds=120)
    assert {(r["status"], r["score"]) for r in done} == {("done", score_after(3))}


def test_cancelling_a_part_of_a_packed_job_is_refused_and_the_rest_goes_on(tmp_path):
    job = job_in(tmp_path)
    cells = [make_cell(i, steps=8, pause=0.2) for i in range(2)]
    submit(job, *cells, options=PACKED)
    wait_for(lambda: step_of(job, cells[0]) >= 1)
    outcome = cancel(job.store, cells[:1])
    assert (outcome.jobs, outcome.cells, outcome.shared) == ((), (), (cells[0],))
    assert {r["status"] for r in wait_for_records(job, *cells)} == {"done"}


def test_waiting_for_the_jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(waiting, "JOBS_SECONDS", 0.5)
    job = job_in(tmp_path)
    cells = [make_cell(0), make_cell(1, do="fail"), make_cell(2, do="die")]
    todo = works(cells, job.store)
    submit(job, *cells)
    assert {r.cell: r.outcome for r in waiting.for_jobs(todo, job)} == dict(
        zip(cells, ["done", "failed", "lost"], strict=True)
    )


def test_gpus_are_asked_for_and_given(tmp_path):
    job = job_in(tmp_path)
    cells = [make_cell(i, do="gpu", steps=2, pause=0.5) for i in range(2)]
    submit(job, *cells, options=UNPACKED | {"gpus": 1})
    assert {r["device"] for r in wait_for_records(job, *cells)} == {"0", "1"}


def test_from_inside_an_allocation_and_beside_other_code(tmp_path, monkeypatch):
    """Its variables, its GPUs, and `tasks`, `methods` and an older `bench` in the working folder reach no job."""
    inside = {"SBATCH_EXPORT": "NONE", "SLURM_MEM_PER_CPU": "9999", "SLURM_CPU_BIND": "cores", "SLURM_NTASKS": "64",
              "SLURM_JOB_ID": "1", "SQUEUE_STATES": "FAILED", "CUDA_VISIBLE_DEVICES": "1"}  # fmt: skip
    for name, value in inside.items():
        monkeypatch.setenv(name, value)
    for name in ("tasks.py", "methods.py", "bench/__init__.py"):
        (tmp_path / "here" / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / "here" / name).write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "slurm.toml").write_text('sbatch = {mem-per-cpu = "500M"}')
    job, cell = job_in(tmp_path), make_cell(0, do="gpu")
    submit(job, cell, options=UNPACKED | {"gpus": 0}, slurm_profile=str(tmp_path / "slurm.toml"))
    (record,) = wait_for_records(job, cell)
    assert (record["status"], record["device"]) == ("done", "")


def test_a_real_cell_through_the_front_door(tmp_path, monkeypatch):
    """Stand-in generated before submission, no download in the job, record as from any other executor."""
    from bench import launch
    from bench.plan import Places

    monkeypatch.setattr(waiting, "JOBS_SECONDS", 0.5)
    places, cell = (
        Places(tmp_path / "data", tmp_path / "results"),
        one(tmp_path / "data", "spherical", **{"data.limit": 12, "trainer.epochs": 1}),
    )
    options = LaunchOptions(quiet=True, wait=True, slurm=PACKED)
    outcome = launch.run([cell], places, {}, "slurm", options, "the command")
    assert [r.outcome for r in outcome.results] == ["done"]
    assert outcome.results[0].message.startswith(outcome.results[0].record["metric"])
    assert (tmp_path / "data" / "generated" / "tiny").is_dir()
    (submitted,) = manifest.load_all(Store(places.results_dir))
    script = next(submitted.folder(0).glob("*_submission.sh")).read_text()
    assert "HF_HUB_OFFLINE=1" in script
    assert submitted.plain["command"] == "the command"
