"""doctor, status, logs and cancel from the command line, without Slurm."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench import cli, doctor, registry
from bench import standins as data
from bench.launch import one
from bench.launch.claim import acquire
from bench.launch.one import log_path
from bench.launch.slurm import queue
from bench.records.store import Store
from tests.cell_helpers import job_in, run_cells
from tests.fake_runner import make_cell
from tests.record_factory import make_record

pytestmark = pytest.mark.usefixtures("fake_cells")


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch):
    monkeypatch.setattr(queue, "squeue", lambda: None)


@pytest.fixture
def quick_torch(monkeypatch):
    """Without the import of torch in a process of its own, which takes seconds."""
    monkeypatch.setattr(doctor, "_torch", lambda: doctor.Finding("torch", "good", "not looked at"))


def findings(tmp_path, results="results") -> dict[str, doctor.Finding]:
    return {f.what: f for f in doctor.examine(tmp_path / "data", tmp_path / results)}


def test_a_fresh_machine(tmp_path, quick_torch):
    found = findings(tmp_path)
    assert {found[name].state for name in ("python", "packages", "cpu", "disk", "plug-ins")} == {"good"}
    assert found["results"].state == found["data"].state == "missing"
    assert found["weights swin_micro"].state == found["weights minilm"].state == "good"
    assert not (tmp_path / "results").exists()  # it changes nothing
    for finding in found.values():
        assert finding.cure or finding.state == "good"


def test_torch_that_does_not_import_is_broken(monkeypatch):
    def fails(*_, **__):
        return subprocess.CompletedProcess(
            [], 1, "", "Traceback\nRuntimeError: operator torchvision::nms does not exist\n"
        )

    monkeypatch.setattr(doctor.subprocess, "run", fails)
    found = doctor._torch()
    assert (found.state, found.detail) == ("broken", "RuntimeError: operator torchvision::nms does not exist")
    assert "together" in found.cure


@pytest.mark.parametrize(
    "answer, state",
    [((0, "H200, 143771 MiB, 570.1\n", ""), "good"), ((9, "", "NVIDIA-SMI has failed\n"), "broken")],
)
def test_devices(monkeypatch, answer, state):
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(doctor.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], *answer))
    gpu = [f for f in doctor._devices() if f.what.startswith("gpu")]
    assert [f.state for f in gpu] == [state]


def test_slurm_absent_unconfigured_and_silent(monkeypatch):
    monkeypatch.setattr(doctor, "CONFIGURATIONS", ())
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.setattr(doctor.shutil, "which", lambda _: None)
    assert doctor._slurm().state == "missing"
    monkeypatch.setattr(doctor.shutil, "which", lambda _: "/usr/bin/sbatch")
    assert doctor._slurm().state == "missing"
    monkeypatch.setenv("SLURM_CONF", "/somewhere")
    assert doctor._slurm().state == "broken"


def test_a_disk_that_is_nearly_full(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("U", (), {"free": 1 << 20})())
    assert doctor._disk(tmp_path / "not" / "yet").state == "broken"


def test_store_health_names_sidecars_leftovers_and_manifests(tmp_path, quick_torch):
    store = Store(tmp_path / "results")
    for seed, curves in enumerate(("{", None, {"stage2": []})):
        name = store.stem(make_record(seed=seed)) + ".curves.json"
        record = make_record(seed=seed, sidecars={"curves": name})
        store.write(record, {"stage2": []})
        if curves is None:
            store.sidecar(record, ".curves.json").unlink()
        elif curves == "{":
            store.sidecar(record, ".curves.json").write_text(curves)
    store.write(make_record(seed=9, sidecars={"curves": "../../etc/passwd"}))
    crafted = make_record(seed=10) | {"sidecars": {"curves": ["x"]}}
    store.path(crafted).write_text(json.dumps(crafted))
    half, fresh = (store.folder / f".{name}.json.999999999.tmp" for name in "xy")
    half.write_text("half")
    os.utime(half, (time.time() - 3600,) * 2)
    fresh.write_text("another machine may be at it")
    store.work("manifests").mkdir(parents=True)
    (store.work("manifests") / "20260101T000000-0123abcd.json").write_text("{}")
    with acquire(store.work("0123456789abcdef")):
        pass
    found = [f for f in doctor.examine(tmp_path, store.folder) if f.what in ("unreadable", "leftovers", "interrupted")]
    said = "\n".join(f.detail for f in found)
    for part in (
        "not JSON",
        "is not there",
        "outside of the store",
        "'sidecars.curves' is ['x'], expected text",
        "not a manifest",
        "1 cell begun and not ended",
        str(half),
    ):
        assert part in said
    assert str(fresh) not in said


def killed_before_tidying(folder: Path) -> None:
    one._tidy = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    run_cells(folder, make_cell(0))


def killed_while_generating(folder: Path) -> None:
    data._move_into = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    data.generate(registry.tasks()["spherical"], folder, "tiny")


def in_a_process(work, folder: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=work, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_leftovers_are_named_cleaned_and_never_called_resumable(tmp_path, quick_torch, capsys):
    in_a_process(killed_before_tidying, tmp_path)
    in_a_process(killed_while_generating, tmp_path / "data")
    run_cells(tmp_path, make_cell(1, do="fail"))
    store = Store(tmp_path / "results")
    done, failed = (store.work(make_cell(n, do).id) for n, do in ((0, ""), (1, "fail")))
    with acquire(store.work("0123456789abcdef")):
        found = findings(tmp_path)
    scratch = next((tmp_path / "data" / "generated").glob(".tiny.spherical.*"))
    assert str(done) in found["leftovers"].detail and str(scratch) in found["leftovers"].detail
    assert found["failed"].detail.startswith("1 failed cell")
    assert "interrupted" not in found
    places = ["--results-dir", str(store.folder), "--data-dir", str(tmp_path / "data")]
    cli.main(["doctor", "--clean", *places])
    assert f"removed {done}" in capsys.readouterr().err
    assert not done.exists() and not scratch.exists()
    assert failed.exists()
    assert "leftovers" not in findings(tmp_path)


def test_the_next_stand_in_removes_what_a_killed_one_has_left(tmp_path):
    in_a_process(killed_while_generating, tmp_path)
    assert len(list((tmp_path / "generated").glob(".tiny.*"))) == 1
    elsewhere = tmp_path / "generated" / ".tiny.ecg.999999999@another-machine"
    elsewhere.mkdir()
    assert data.generate(registry.tasks()["spherical"], tmp_path, "tiny")
    assert list((tmp_path / "generated").glob(".tiny.*")) == [elsewhere]


def test_status_from_the_command_line(tmp_path, capsys):
    results = ["--results-dir", str(tmp_path / "results")]
    assert cli.main(["status", *results]) == 0
    assert "no cells" in capsys.readouterr().out
    run_cells(tmp_path, make_cell(0), make_cell(1, do="fail"))
    capsys.readouterr()
    assert cli.main(["status", *results]) == 1  # one has failed
    out = capsys.readouterr().out
    assert out.startswith("2 cells: 1 failed, 1 done\n")
    assert "this cell fails" in out
    assert cli.main(["status", *results, "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert {(row["seed"], row["status"]) for row in rows} == {(0, "done"), (1, "failed")}
    assert cli.main(["status", *results, "--watch", "0.1"]) == 1  # ends by itself: nothing runs


def test_logs_by_id_beginning_and_file_name(tmp_path, capsys):
    job, cell = job_in(tmp_path), make_cell(1, do="fail")
    run_cells(tmp_path, cell)
    log_path(job.store, cell.id).parent.mkdir()
    with log_path(job.store, cell.id).open("a") as log:
        log.write("first\n" + "".join(f"line {i}\n" for i in range(10)) + "\x1b[2Jclears\n")
    results = ["--results-dir", str(tmp_path / "results")]
    for name in (cell.id, cell.id[:6], job.store.path(cell.key()).name, str(job.store.path(cell.key()))):
        assert cli.main(["logs", name, *results]) == 0
        out = capsys.readouterr().out
        assert "first" in out
        assert "this cell fails" in out
    assert "\x1b" not in out  # a log cannot steer the terminal
    assert cli.main(["logs", cell.id, "--tail", "2", *results]) == 0
    out = capsys.readouterr().out
    assert "line 9" in out
    assert "line 8" not in out


@pytest.mark.parametrize("verb", ["status", "logs"])
def test_a_record_cannot_steer_the_terminal(tmp_path, capsys, verb):
    run_cells(tmp_path, make_cell(1, do="fail"))
    store = Store(tmp_path / "results")
    (record,) = store.scan()[0]
    error = {"type": "E", "message": "\x1b[2Jgone", "traceback": "first\n\x1b[2Jsecond", "log": ""}
    store.write(record | {"error": error})
    name = [record["id"]] if verb == "logs" else []
    cli.main([verb, *name, "--results-dir", str(store.folder)])
    said = capsys.readouterr().out
    assert "\\x1b[2J" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("name", ["../../../etc/passwd", "zzzz", "", "a/b", "0123"])
def test_logs_of_what_is_no_cell(tmp_path, capsys, name):
    run_cells(tmp_path, make_cell(0))
    assert cli.main(["logs", name, "--results-dir", str(tmp_path / "results")]) == 2
    assert "unknown cell" in capsys.readouterr().err


def test_cancel_without_slurm_says_so(tmp_path, capsys):
    assert cli.main(["cancel", "--results-dir", str(tmp_path)]) == 1
    assert "squeue does not answer" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["status", "logs", "cancel", "doctor"])
def test_help_is_quick_and_loads_no_torch(verb):
    script = f"import sys; from bench.cli import main\ntry: main(['{verb}', '--help'])\nexcept SystemExit: pass\n"
    script += "assert not {'torch', 'numpy', 'submitit'} & set(sys.modules), 'heavy'"
    begun = time.process_time()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: python -m bench {verb}")
    assert time.process_time() - begun < 1
