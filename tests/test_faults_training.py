"""Faults done to the real trainer on a real tiny cell: kills, damaged checkpoints, changed data, memory running out."""

from __future__ import annotations

import errno
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import registry
from bench import standins as data
from bench.cell.checkpoint import load_checked
from bench.launch import inline
from bench.launch.display import Display
from bench.launch.one import run_one
from bench.launch.work import Job, Outcome, works
from bench.plan import Cell
from bench.records.store import Store
from tasks.files.locate import locate
from tests.cell_helpers import fill
from tests.tiny_training import FOREIGN

pytestmark = pytest.mark.slow
SCORES = ("status", "score", "score_last", "val_score", "metrics", "metrics_last", "steps_stage2", "epoch_best_val")
EVERY_STEP = {"trainer.checkpoint_seconds": 0.0}


def tiny_cell(seed: int = 0, epochs: int = 3, **overrides) -> Cell:
    changed = {"data.limit": 12, "trainer.batch_size": 4, "trainer.epochs": epochs, **overrides}
    return Cell("spherical", "vanilla", "swin_micro", seed, "tiny", origin="generated",
                overrides=tuple(sorted(changed.items())))  # fmt: skip


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-data")
    data.generate(registry.tasks()["spherical"], folder, "tiny")
    return folder


def job_in(folder: Path, data_dir: Path, **runtime) -> Job:
    return Job(str(data_dir), str(folder), {**EVERY_STEP, **runtime})


def run_cells(job: Job, *cells: Cell) -> Outcome:
    return Outcome(inline.run(works(cells, job.store), job, Display()))


def told(record) -> str:
    return json.dumps({key: record[key] for key in SCORES}, sort_keys=True)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, data_dir) -> dict:
    outcome = run_cells(job_in(tmp_path_factory.mktemp("whole"), data_dir), tiny_cell())
    return outcome.records[0]


KILLER = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
import bench.cell.story  # once, for every process forked from here
from bench.launch.one import run_one
from bench.launch.work import works
from tests.test_faults_training import EVERY_STEP, job_in, tiny_cell

torch.set_num_threads(1)
job, cell, chance = job_in(Path(sys.argv[1]), Path(sys.argv[2])), tiny_cell(), random.Random(9)
newest = job.store.work(cell.id) / "checkpoint.pt"
kills = 0


def stamp():
    try:
        return newest.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


while True:
    before, saved = stamp(), None
    pid = os.fork()
    if pid == 0:
        try:
            run_one(works([cell], job.store)[0], job)
        finally:
            os._exit(0)
    # Killed a random moment after it has saved anew, so that every attempt gets on, and most kills hit another save.
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        if saved is None and stamp() not in (0, before):
            saved = time.monotonic() + chance.uniform(0.0, 0.08)
        if kills < 4 and saved is not None and time.monotonic() > saved:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            kills += 1
            break
        time.sleep(0.001)
    else:
        break
    problems = job.store.scan()[1]
    assert problems == [], problems
print(kills)
"""


def test_four_kills_of_the_trainer_change_no_bit_of_the_result(tmp_path, data_dir, uninterrupted):
    """Saved at every step, so that most kills fall into the writing of a checkpoint."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", KILLER, str(tmp_path), str(data_dir)], env=environment,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = Store(tmp_path).get(tiny_cell().key())
    assert int(done.stdout.split()[-1]) >= 3
    assert record["attempts"] == int(done.stdout.split()[-1]) + 1
    assert told(record) == told(uninterrupted)


class Stop(BaseException):
    """Ends a cell in the middle, as Ctrl-C does."""


def stop_in_epoch(job: Job, cell: Cell, epoch: int, monkeypatch) -> Path:
    """Run a cell until an epoch has begun; its work folder, with two checkpoints."""
    from bench.cell import trainer

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "TALK_SECONDS", 0.0)

        def stop(event) -> None:
            if event.get("stage") == "stage2" and event["epoch"] >= epoch:
                raise Stop

        with pytest.raises(Stop):
            run_one(works([cell], job.store)[0], job, stop)
    folder = job.store.work(cell.id)
    assert (folder / "checkpoint.pt").exists()
    assert (folder / "checkpoint.previous.pt").exists()
    return folder


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty", "gone", "pickle"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, data_dir, uninterrupted, monkeypatch, how):
    job = job_in(tmp_path, data_dir)
    newest = stop_in_epoch(job, tiny_cell(), 3, monkeypatch) / "checkpoint.pt"
    whole = newest.read_bytes()
    middle = len(whole) // 2
    damaged = {
        "truncated": whole[:middle],
        "flipped": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "empty": b"",
        "pickle": b"cos\nsystem\n(S'touch /tmp/never'\ntR.",
    }
    newest.unlink() if how == "gone" else newest.write_bytes(damaged[how])
    (record,) = run_cells(job, tiny_cell()).records
    assert record["attempts"] == 2
    assert told(record) == told(uninterrupted)


def test_two_damaged_checkpoints_start_the_cell_again(tmp_path, data_dir, uninterrupted, monkeypatch):
    job = job_in(tmp_path, data_dir)
    folder = stop_in_epoch(job, tiny_cell(), 3, monkeypatch)
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (folder / name).write_bytes(b"nothing")
    (record,) = run_cells(job, tiny_cell()).records
    assert told(record) == told(uninterrupted)


@pytest.mark.parametrize("how", ["list", "no_weights"])
def test_a_whole_checkpoint_of_something_else_is_no_failure(
    tmp_path, data_dir, uninterrupted, monkeypatch, capsys, how
):
    job = job_in(tmp_path, data_dir)
    newest = stop_in_epoch(job, tiny_cell(), 3, monkeypatch) / "checkpoint.pt"
    torch.save(FOREIGN[how](load_checked(newest)), newest)
    (record,) = run_cells(job, tiny_cell()).records
    assert record["attempts"] == 2
    assert told(record) == told(uninterrupted)
    assert "checkpoint.pt is passed over" in capsys.readouterr().err


@pytest.mark.parametrize("small_disk", ["size=64m"], indirect=True)
@pytest.mark.parametrize("room", [65536, 0], ids=["room for a record", "no room"])
def test_a_disk_that_fills_while_training_costs_no_training(small_disk, data_dir, uninterrupted, monkeypatch, room):
    """Training goes on; where the record does not fit either, the next run goes on from the last checkpoint."""
    from bench.cell import trainer

    monkeypatch.setattr(trainer, "TALK_SECONDS", 0.0)
    job, cell = job_in(small_disk, data_dir), tiny_cell()
    newest = job.store.work(cell.id) / "checkpoint.pt"

    def fill_after_the_first_save(_) -> None:
        # Later ones take the room of the last but one, and would still fit.
        if newest.exists() and not (small_disk / "ballast").exists():
            with fill(small_disk).open("r+b") as ballast:
                ballast.truncate((small_disk / "ballast").stat().st_size - room)

    result = run_one(works([cell], job.store)[0], job, fill_after_the_first_save)
    if room:
        assert result.outcome == "done"
        assert told(result.record) == told(uninterrupted)
        return
    assert (result.outcome, "No space left" in result.message) == ("unwritten", True)
    assert "free some space, then run it again" in result.message
    assert not list(job.store.files())
    (small_disk / "ballast").unlink()
    for claim in newest.parent.glob("claim.*"):  # there was no room to mark it as released; its process ends, as a rule
        claim.unlink()
    (record,) = run_cells(job, cell).records
    assert record["attempts"] == 2
    assert told(record) == told(uninterrupted)


def failing_after(monkeypatch, batches: int, error: Exception) -> None:
    """Let the method's loss raise `error` once, after so many micro-batches."""
    method, calls = registry.methods()["vanilla"], []
    before = method.loss

    def loss(self, context, output, batch):
        calls.append(batch)
        if len(calls) == batches + 1:
            raise error
        return before(self, context, output, batch)

    monkeypatch.setattr(method, "loss", loss)


@pytest.mark.parametrize("number", [errno.ESTALE, errno.EIO])
def test_a_fault_of_the_machine_is_no_record_and_costs_no_checkpoint(
    tmp_path, data_dir, uninterrupted, monkeypatch, number
):
    job = job_in(tmp_path, data_dir)
    wrapped = ValueError("a reader's own words")
    wrapped.__cause__ = OSError(number, os.strerror(number))
    failing_after(monkeypatch, 4, wrapped)
    (result,) = run_cells(job, tiny_cell()).results
    assert (result.outcome, result.record) == ("unwritten", None)
    assert "a reader's own words" in result.message and "then run it again" in result.message
    assert not list(job.store.files())
    assert (job.store.work(tiny_cell().id) / "checkpoint.pt").exists()
    (record,) = run_cells(job, tiny_cell()).records
    assert record["attempts"] == 2
    assert told(record) == told(uninterrupted)


def test_a_failed_cell_keeps_its_checkpoint_and_its_retry_goes_on_from_there(
    tmp_path, data_dir, uninterrupted, monkeypatch
):
    job = job_in(tmp_path, data_dir)
    failing_after(monkeypatch, 8, ValueError("once"))
    (failed,) = run_cells(job, tiny_cell()).records
    folder = job.store.work(tiny_cell().id)
    assert failed["status"] == "failed"
    assert load_checked(folder / "checkpoint.pt")["state"]["phase_steps"] == 8
    (record,) = run_cells(job, tiny_cell()).records
    assert record["attempts"] == 2
    assert told(record) == told(uninterrupted)
    assert not folder.exists()


@pytest.mark.parametrize("code", ["same", "changed", "diverged"])
def test_a_retry_with_other_code_or_after_divergence_starts_anew(tmp_path, data_dir, monkeypatch, code):
    """Else half of a score would come from code that its record does not name, or from weights that are no numbers."""
    from bench.cell.trainer import Diverged

    job = job_in(tmp_path, data_dir)
    failing_after(monkeypatch, 8, Diverged("once") if code == "diverged" else ValueError("once"))
    run_cells(job, tiny_cell())
    if code == "changed":
        code_of = registry.code_of
        monkeypatch.setattr(registry, "code_of", lambda *names: code_of(*names) | {"method": "0" * 16})
    steps = []
    before = registry.methods()["vanilla"].loss
    monkeypatch.setattr(registry.methods()["vanilla"], "loss", lambda *a: steps.append(1) or before(*a))
    assert run_cells(job, tiny_cell()).records[0]["status"] == "done"
    assert len(steps) == (1 if code == "same" else 9)


def test_what_goes_wrong_after_the_record_is_written_is_no_failure(tmp_path, data_dir, monkeypatch, capsys):
    """As on a disk that fails in this very moment."""
    unlink = Path.unlink

    def broken(path, **options):
        if path.name == "attempts":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", broken)
    (result,) = run_cells(job_in(tmp_path, data_dir), tiny_cell(epochs=1)).results
    assert result.outcome == "done"
    assert "the record is written" in capsys.readouterr().err


@pytest.mark.parametrize("small_disk", ["size=20k"], indirect=True)
def test_a_full_data_disk_is_not_the_cells_failure(small_disk, tmp_path):
    job = job_in(tmp_path, small_disk)
    (result,) = run_cells(job, tiny_cell()).results
    assert result.outcome == "unwritten"
    assert "spherical" in result.message and "free some space" in result.message
    assert not list(job.store.files())


def test_data_that_change_between_two_cells_are_refused(tmp_path):
    job = job_in(tmp_path / "results", tmp_path / "data")
    data.generate(registry.tasks()["spherical"], tmp_path / "data", "tiny")
    first, second = (tiny_cell(seed, epochs=1) for seed in range(2))
    assert run_cells(job, first).records[0]["status"] == "done"
    root = tmp_path / "data" / "generated" / "tiny"
    file = next(path for spec in registry.tasks()["spherical"].files if (path := locate(root, spec)))
    content = bytearray(gzip.decompress(file.read_bytes()))
    content[len(content) // 2] ^= 1  # a pixel
    file.write_bytes(gzip.compress(content))
    (refused,) = run_cells(job, second).results
    assert refused.outcome == "failed"
    assert refused.record["error"]["type"] == "DataError"
    assert "which spherical.vanilla" in refused.message and "was made on" in refused.message


@pytest.mark.parametrize("retry", [False, True])
def test_memory_running_out(tmp_path, data_dir, monkeypatch, retry):
    """Simulated: the loss raises what torch raises, for micro-batches above four samples."""
    import torch

    method = registry.methods()["vanilla"]
    before = method.loss

    def loss(self, context, output, batch):
        if len(batch.x) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return before(self, context, output, batch)

    monkeypatch.setattr(method, "loss", loss)
    job = job_in(tmp_path, data_dir, **{"trainer.retry_out_of_memory": retry})
    cell = tiny_cell(epochs=1, **{"trainer.batch_size": 8})
    (result,) = run_cells(job, cell).results
    if retry:
        assert result.outcome == "done"
        assert result.record["retries"] == {"micro_batch": 4}
    else:
        assert result.outcome == "out_of_memory"
        assert result.record["retries"] == {}
        assert "20.00 GiB" in result.message
