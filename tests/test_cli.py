"""The command line as a user types it: exit codes, messages, JSON, and how fast it answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench import registry
from bench.cli import VERBS, main
from tests.record_factory import make_record, make_store

ROOT = Path(__file__).parent.parent


def bench(*arguments, env=None, cwd=ROOT):
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        capture_output=True, text=True, cwd=cwd, env={**os.environ, **(env or {})}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["list", "tasks"], ["list", "methods", "--json"], ["describe", "ecg"], ["run", "--help"],
     ["plan", "--suite", "quick", "--results-dir", "nowhere"]],
)  # fmt: skip
def test_looking_never_imports_torch_or_other_heavy_packages(arguments):
    code = (
        "import sys; from bench.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'timm', 'transformers', 'pandas', 'sklearn', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr


def test_every_verb_has_help():
    for verb in VERBS:
        with pytest.raises(SystemExit) as exit_:
            main([verb, "--help"])
        assert exit_.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rnu"], "did you mean run"),
        (["run", "--tasks", "advectoin"], "did you mean advection"),
        (["run", "--suite", "quick", "--methods", "monna"], "did you mean mona"),
        (["run", "--suite", "quick", "--set", "trainer.lr"], "expected NAME=VALUE"),
        (["run", "--suite", "quick", "--set", "trainer.lr=fast"], "expected a finite number"),
        (["run", "--suite", "quick", "--budget", "hours=3"], "expected steps=N or seconds=S"),
        (["run", "--suite", "quick", "--set", "trainer.checkpoint_seconds=soon"], "expected a finite number"),
        (["run", "--suite", "quick", "--set", "trainer.device=gpu"], "expected auto|cpu|cuda"),
        (["run", "--suite", "quick", "--grid", "data.limit=0,5"], "expected a value in [1, inf)"),
        (["run", "--suite", "qu?ck*k"], "unknown suite"),
        (["run", "--suite", "quick", "--backbones", "swinn*"], "unknown backbone"),
        (["run", "--suite", "quick", "--protocol", "papper"], "did you mean paper"),
        (["run", "--suite", "quick", "--retry", "faild"], "did you mean failed"),
        (["run", "--suite", "quick", "--sedes", "1"], "did you mean --seeds"),
        (["run", "--suite", "quick", "--seeds", "one"], "as in 0 1 2, 0,1,2 or 0-2"),
        (["run", "--suite", "quick", "--seeds", "2-0"], "the smaller one first"),
        (["run", "--suite", "quick", "--seeds", "99999999999999999999"], "expected seeds from 0 to 4294967295"),
        (["run", "--suite", "quick", "--epochs", "3"], "it is a setting, `--set trainer.epochs=3`"),
        (["run", "--suite", "quick", "--lr=3e-4"], "it is a setting, `--set trainer.lr=3e-4`"),
        (["run", "--tasks", "ecg,spherica"], "did you mean spherical"),
        (["run", "--methods", "MoNAA"], "did you mean mona"),
        (["check"], "--help` lists the options"),
        (["data", "fetsh"], "did you mean fetch"),
        (["describe", "swin_bse"], "did you mean swin_base"),
        (["list", "taks"], "did you mean tasks"),
        (["check", "monna"], "did you mean mona"),
    ],
)
def test_wrong_names_exit_2_with_the_nearest_one_and_start_nothing(arguments, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_list_plan_and_describe_speak_json(tmp_path, capsys):
    known = {"tasks": "ecg", "suites": "quick", "methods": "mona", "backbones": "swin_base", "studies": "mona-ablation"}
    for kind, name in known.items():
        assert main(["list", kind, "--json"]) == 0
        assert name in {row["name"] for row in json.loads(capsys.readouterr().out)}
    arguments = ["--suite", "quick", "pdebench", "--data-dir", str(tmp_path), "--results-dir", str(tmp_path / "r")]
    assert main(["plan", *arguments, "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert len(cells) == len({*registry.suites()["quick"], *registry.suites()["pdebench"]})
    assert all({"id", "task", "method", "backbone", "seed", "status"} <= set(cell) for cell in cells)
    assert {cell["status"] for cell in cells} == {"missing"}
    assert main(["describe", "mona", "--json"]) == 0
    assert any(o["name"] == "mona.lambda_" for o in json.loads(capsys.readouterr().out)["options"])


def test_lists_and_descriptions_read_well_in_a_terminal(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["list", "tasks"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "name" and head.split()[-1] == "title"
    assert [line.split()[0] for line in lines if line[0] != " "] == [*registry.tasks().items]
    monkeypatch.setenv("COLUMNS", "80")
    for kind in ("tasks", "suites", "methods", "backbones", "studies"):
        assert main(["list", kind]) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
    assert main(["list", "backbones"]) == 0
    assert any(line.split()[:3] == ["swin_base", "vision", "missing"] for line in capsys.readouterr().out.splitlines())
    assert main(["describe", "swin_base"]) == 0
    assert "hf download" in " ".join(capsys.readouterr().out.split())
    assert main(["describe", "trainer"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert any(line.split()[:4] == ["trainer.batch_size", "32", "[1,", "inf)"] for line in said)
    assert any(line.split()[:2] == ["trainer.clip", "none"] for line in said)
    assert main(["describe", "ecg"]) == 0
    said = capsys.readouterr().out
    assert "{" not in said and "  trainer.optimizer: sgd" in said and "input: 1×1000" in said


def test_run_then_again_then_without_one_record_then_report_and_export(shared_data, tmp_path, capsys):
    results = tmp_path / "results"
    arguments = ["run", "--tasks", "darcy_pdebench", "spherical", "--profile", "tiny", "--methods", "vanilla",
                 "--data-dir", str(shared_data), "--results-dir", str(results)]  # fmt: skip
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert "2 cells: 0 done, 0 failed, 2 to run" in first
    assert "stand-ins are generated" in first and "cost of 2 cells: " in first.splitlines()[2]
    (scores,) = re.findall(r"\n(Scores, .*)\n(task .*)\n((?:\S.*\n)+)\* best of its task", first)
    assert "tiny, strict, generated" in scores[0] and scores[1].split()[1:] == ["trivial", "predictor", "vanilla"]
    assert [line.split()[0] for line in scores[2].splitlines()] == ["darcy_pdebench", "spherical"]
    assert main(arguments) == 0
    again = capsys.readouterr().out
    assert "nothing to do" in again and scores[2] in again
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["scores"]
    assert {row["method"] for row in rows} == {"trivial predictor", "vanilla"} and all(row["mean"] > 0 for row in rows)
    record = next(results.glob("spherical.*[0-9a-f].json"))
    kept = next(results.glob("darcy*[0-9a-f].json"))
    modified = kept.stat().st_mtime_ns
    record.unlink()
    assert main(arguments) == 0
    assert "2 cells: 1 done, 0 failed, 1 to run" in capsys.readouterr().out
    assert record.exists() and kept.stat().st_mtime_ns == modified
    assert main(["report", "--results-dir", str(results), "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "README.md").read_text()
    assert "generated" in page and "swin_micro" in page
    capsys.readouterr()
    assert main(["export", "--results-dir", str(results), "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    wanted = (
        "id task method backbone seed status protocol origin metric score score_last score_best_val score_best_test "
        "seconds_stage1 seconds_stage2"
    )
    assert len(rows) == 2 and all(set(wanted.split()) <= set(row) for row in rows)


def test_a_failing_cell_exits_1_and_the_others_go_on(shared_data, tmp_path, capsys):
    results = tmp_path / "results"
    arguments = ["run", "--tasks", "darcy_pdebench", "--profile", "tiny", "--grid", "trainer.lr=1e30,1e-4",
                 "--set", "trainer.optimizer=sgd", "--data-dir", str(shared_data), "--results-dir", str(results)]  # fmt: skip
    assert main(arguments) == 1
    statuses = sorted(json.loads(p.read_text())["status"] for p in results.glob("*.json") if "curves" not in p.name)
    assert statuses == ["diverged", "done"]
    capsys.readouterr()
    assert main(arguments) == 1  # the failure stands until somebody retries it
    assert "--retry failed" in capsys.readouterr().out


HOMELESS = """
import os, pwd, sys
def unknown(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")
pwd.getpwuid = unknown
del os.environ["HOME"]
from bench import cli
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("verb", [["list", "backbones"], ["plan", "--tasks", "ecg", "--executor", "slurm"]])
def test_a_user_without_name_and_home_is_served(verb, tmp_path):
    """As some containers run: nothing asks for a home folder that it cannot do without."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "HF_"))} | {"HOME": "/x"}
    done = subprocess.run([sys.executable, "-c", HOMELESS, *verb], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "results, code",
    [(["done"], 0), (["done", "taken"], 1), (["skipped"], 0), (["skipped since failed"], 1), (["unwritten"], 1)],
)
def test_exit_0_means_that_every_selected_cell_is_done(results, code, shared_data, tmp_path, capsys, monkeypatch):
    from bench import launch
    from bench.launch.work import Outcome, Result
    from bench.plan import Cell

    records = {"done": {"status": "done"}, "skipped": {"status": "done"}, "skipped since failed": {"status": "failed"}}
    made = [
        Result(Cell("spherical", "vanilla", "swin_micro", n), kind.partition(" ")[0], "why", records.get(kind))
        for n, kind in enumerate(results)
    ]
    monkeypatch.setattr(launch, "run", lambda *_: Outcome(made))
    assert main(["run", "--tasks", "spherical", "--profile", "tiny",
                 "--data-dir", str(shared_data), "--results-dir", str(tmp_path)]) == code  # fmt: skip


def test_a_results_folder_that_cannot_be_written_is_said_before_any_work(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = ["run", "--suite", "quick", "--data-dir", str(tmp_path / "data"), "--results-dir"]
    assert main([*arguments, str(tmp_path / "file" / "r")]) == 1
    assert "cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


@pytest.fixture
def sealed_disk(tmp_path):
    """A read-only file system."""
    folder = tmp_path / "sealed"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", str(folder)]
    made = subprocess.run(mount, check=False, capture_output=True)
    if made.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_data_folder_that_takes_no_stand_in_is_said_before_any_work(sealed_disk, tmp_path, capsys):
    arguments = ["run", "--suite", "quick", "--data-dir", str(sealed_disk), "--results-dir", str(tmp_path / "r")]
    assert main(arguments) == 1
    assert "choose another with --data-dir" in capsys.readouterr().err
    assert not list((tmp_path / "r").iterdir())


@pytest.mark.parametrize(
    "arguments",
    [["data", "generate", "--tasks", "advection", "--profile", "tiny", "--data-dir"], ["export", "--out"],
     ["report", "--out"]],
)  # fmt: skip
def test_what_cannot_be_written_is_one_message(arguments, sealed_disk, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_store(tmp_path / "results", make_record())
    assert main([*arguments, str(sealed_disk / "x")]) == 1
    said = capsys.readouterr().err
    assert "Read-only file system; " in said and "choose another place" in said


def test_a_disk_without_room_for_the_checkpoints_is_said_before_any_work(tmp_path, capsys, monkeypatch):
    free = shutil.disk_usage(tmp_path)._replace(free=100 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    arguments = ["run", "--tasks", "advection", "--profile", "tiny", "--results-dir", str(tmp_path)]
    assert main([*arguments, "--data-dir", str(tmp_path / "data")]) == 1
    assert "100 MiB free, checkpoints and records need about 340 MiB" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_closed_pipe_is_no_traceback():
    done = subprocess.run(
        f"{sys.executable} -m bench list tasks --json | head -1", shell=True, capture_output=True, text=True, cwd=ROOT,
        check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_the_table_of_tasks_in_the_docs_is_what_the_command_prints(capsys):
    assert main(["list", "tasks", "--format", "markdown"]) == 0
    assert capsys.readouterr().out.strip() in (ROOT / "docs" / "tasks.md").read_text()
