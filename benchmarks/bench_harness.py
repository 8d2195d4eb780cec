"""What the harness itself costs: start-up, a plan of 10,000 cells, the data of the quick tasks."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench import plan, registry, settings
from bench import standins as data
from bench.plan import Selection
from bench.records.store import Store
from tests.record_factory import make_record

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("arguments", [["--help"], ["list", "tasks"], ["plan", "--suite", "quick"]], ids=" ".join)
def test_start_up(benchmark, arguments, tmp_path):
    """A whole process, import to exit; the issue's limit is 0.4 s."""
    command = [sys.executable, "-m", "bench", *arguments]
    if arguments[0] == "plan":
        command += ["--data-dir", str(tmp_path), "--results-dir", str(tmp_path / "results")]
    benchmark.pedantic(lambda: subprocess.run(command, cwd=ROOT, capture_output=True, check=True), rounds=5)


def test_plan_of_10_000_cells_against_10_000_records(benchmark, tmp_path):
    """The issue's limit is 3 s."""
    chosen = Selection(suites=("quick",), seeds=tuple(range(2500)))
    cells = plan.cells(chosen, tmp_path)
    store = Store(tmp_path / "results")
    store.folder.mkdir()
    for cell in cells:
        code = registry.code_of(cell.task, cell.method, cell.origin)
        known = {"profile": cell.profile, "origin": cell.origin, "code": code}
        record = make_record(**cell.key(), **known, settings=settings.flatten(plan.resolve(cell), "identity"))
        store.path(cell.key()).write_text(json.dumps(record))

    def whole():
        return plan.to_run(plan.plan(plan.cells(chosen, tmp_path), store))

    assert benchmark.pedantic(whole, rounds=3) == []
    assert len(cells) == 10_000


@pytest.mark.parametrize("task", registry.suites()["quick"])
def test_making_the_data_of_a_quick_task(benchmark, task, tmp_path):
    """The issue's limit is 15 s each."""
    made = benchmark.pedantic(lambda: data.generate(registry.tasks()[task], tmp_path, "quick"), rounds=1)
    assert made and not data.generate(registry.tasks()[task], tmp_path, "quick")  # the second time it is there
