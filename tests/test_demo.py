"""What `make demo` promises: every method learns on the quick suite, and the committed run of it is the current one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from bench import plan, registry
from bench.cell import story as cells
from bench.plan import Places, Selection
from bench.records.store import Store

ROOT = Path(__file__).parent.parent
DEMO = re.search(r"^METHODS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()


def test_the_committed_demo_beats_the_trivial_predictor_on_every_task(tmp_path):
    """All metrics of the quick suite are errors: clearly better means at most 85 % of the mean's or majority class's."""
    store = Store(ROOT / "results" / "quick")
    planned = plan.plan(plan.cells(Selection(suites=("quick",), methods=tuple(DEMO)), tmp_path), store)
    records = {str(p.cell): store.get(p.cell.key()) for p in planned if p.status == "done"}
    assert len(planned) == 4 * len(DEMO)
    own = {name: task.trivial for name, task in registry.tasks().items.items()}
    ratios = {
        cell: record["score"]
        / record["trivial"].get("all", {own[record["task"]]: record["trivial"]["score"]})[own[record["task"]]]
        for cell, record in records.items()
    }
    assert len(ratios) == len(planned), [str(p.cell) for p in planned if p.status != "done"]
    # Ridge is a floor of its own, good or bad: on ecg a linear map of the raw signal is not much.
    assert {cell: ratio for cell, ratio in ratios.items() if ratio > 0.85 and "/ ridge /" not in cell} == {}
    # Recipes must still be those of these records; methods may be edited, as their own tests cover them.
    assert [p.stale for p in planned if p.stale and "settings" in p.stale] == []


@pytest.mark.slow
@pytest.mark.parametrize("method", [name for name in registry.methods().items if name != "vanilla"])
def test_every_method_learns(method, shared_data, tmp_path):
    """On the cheapest task of the quick suite; `test_cell` trains vanilla on all four."""
    (cell,) = plan.cells(Selection(tasks=("darcy_pdebench",), methods=(method,), profile="quick"), shared_data)
    record = cells.run(cell, Places(shared_data, tmp_path), {})
    assert record["score"] < 0.85 * record["trivial"]["all"]["mean"]


def test_the_demo_leaves_the_checkout_as_it_was():
    lines = re.findall(
        r"^\t.*\$\(BIN\)/python -m bench (?:run|report) .*$", (ROOT / "Makefile").read_text(), re.MULTILINE
    )
    assert len(lines) == 2
    folders = [folder for line in lines for folder in re.findall(r"--(?:results-dir|out) (\S+)", line)]
    assert sorted(set(folders)) == ["reports/demo", "results/demo"]
    for path in (
        "results/demo/x.json",
        "reports/demo/README.md",
        "reports/latest/README.md",
    ):  # the last is the default
        ignored = subprocess.run(["git", "check-ignore", "--quiet", "--no-index", path], cwd=ROOT, check=False)
        assert ignored.returncode == 0, path
