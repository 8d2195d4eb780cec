"""`--stage`: data on the node's own disk, the same fingerprint and score, nothing left behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import standins as data
from bench.launch.one import run_one
from bench.launch.stage import staged
from bench.launch.work import Job, Work
from bench.plan import Cell, Places
from bench.registry import tasks
from tasks.files.fingerprint import fingerprint
from tasks.files.locate import find

ROOT = Path(__file__).parent.parent
CELL = Cell("advection", "vanilla", "minilm", profile="tiny", origin="generated")
SCRIPT = """
import sys
from pathlib import Path
from bench.plan import Places
from bench.launch.stage import staged
from tests.test_stage import CELL
print(staged(CELL, Places(Path(sys.argv[1]), Path("r")), sys.argv[2]).data_dir)
"""


@pytest.fixture
def places(shared_data, tmp_path) -> Places:
    data.generate(tasks()["advection"], shared_data, "tiny")
    return Places(shared_data, tmp_path / "results")


def test_copies_are_the_same_data_and_the_rest_is_where_it_was(places, tmp_path):
    (places.data_dir / "cifar-10").mkdir(exist_ok=True)
    mirror = staged(CELL, places, str(tmp_path)).data_dir
    assert mirror.is_relative_to(tmp_path) and (mirror / "cifar-10").is_symlink()
    roots = [folder / "generated" / "tiny" for folder in (mirror, places.data_dir)]
    copy, original = ([find(root, file) for file in tasks()["advection"].files] for root in roots)
    assert not any(path.is_symlink() for path in copy)
    assert fingerprint(copy) == fingerprint(original)
    assert staged(CELL, places, str(tmp_path)).data_dir == mirror  # once per node


def test_the_last_process_removes_the_copies(places, tmp_path):
    command = [sys.executable, "-c", SCRIPT, places.data_dir, tmp_path]
    said = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    assert Path(said).is_relative_to(tmp_path)
    assert list((tmp_path / f"bench-{os.getuid()}").iterdir()) == []


def test_a_disk_without_room_is_said_and_stops_nothing(places, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert staged(CELL, places, str(tmp_path / "file")) == places
    assert "warning: data not staged" in capsys.readouterr().err


@pytest.mark.usefixtures("fake_cells")
def test_a_cell_is_run_on_the_copies(places, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("bench.launch.one.staged", lambda cell, where, folder: asked.append(folder) or where)
    job = Job(str(places.data_dir), str(places.results_dir), {}, stage="auto")
    assert run_one(Work(CELL), Job(**json.loads(json.dumps(vars(job))))).outcome == "done"
    assert asked == ["auto"]
