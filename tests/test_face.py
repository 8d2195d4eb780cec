"""`import bench`: what Python can ask for is what the command line can, with the same cells, records and messages."""

from __future__ import annotations

import doctest
import io
import re
import subprocess
import sys
from dataclasses import fields
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

import bench
from bench import cli
from bench.errors import BenchError, UsageError
from bench.face import Options
from bench.records.store import Store
from bench.selection import Wanted
from tests.record_factory import make_record, make_store

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "from-python.md"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder, with no folder named by the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("BENCH_DATA", "BENCH_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_page_is_true(here):
    """Each block of docs/from-python.md in one session, as a reader would type it."""
    blocks = "\n".join(re.findall(r"^```pycon\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    session = doctest.DocTestParser().get_doctest(blocks, {}, "from-python.md", str(PAGE), 0)
    assert len(session.examples) > 10
    said: list[str] = []
    kind = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.DocTestRunner(optionflags=kind).run(session, out=said.append).failed == 0, "".join(said)


def test_importing_it_loads_nothing_heavy_and_it_offers_what_it_says():
    code = "import sys, bench; print(*sys.modules); bench.run; bench.task; print(*sys.modules); print(*dir(bench))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, asked, offered = (set(line.split()) for line in done.stdout.splitlines())
    assert not {"torch", "numpy", "pandas", "rich", "bench.face"} & first
    assert not {"torch", "pandas", "rich"} & asked, "nor before something is done"
    assert set(bench.__all__) <= offered
    with pytest.raises(AttributeError, match="no attribute 'ruin'"):
        _ = bench.ruin


def test_a_run_takes_every_option_of_the_command():
    assert set(Options.__annotations__) == {f.name for f in fields(Wanted)}
    said = bench.face.run.__doc__
    assert all(re.search(rf"\b{name}\b", said) for name in Options.__annotations__)


ASKED = [
    ({"tasks": "ecg", "methods": "mona", "seeds": 3}, "--tasks ecg --methods mona --seeds 3"),
    ({"tasks": ["ecg"], "set": {"trainer.lr": 1e-3}}, "--tasks ecg --set trainer.lr=1e-3"),
    ({"tasks": "ecg", "grid": {"trainer.lr": [1e-3, 1e-2]}}, "--tasks ecg --grid trainer.lr=1e-3,1e-2"),
    ({"suite": "quick", "budget": ("steps", 5)}, "--suite quick --budget steps=5"),
    (
        {"study": "mona-ablation", "tasks": "diffusion_reaction_2d", "seeds": [0]},
        "--study mona-ablation --tasks diffusion_reaction_2d --seeds 0",
    ),
]


@pytest.mark.parametrize(("options", "typed"), ASKED, ids=lambda value: value if isinstance(value, str) else "")
def test_the_cells_are_those_of_the_command(here, fake_cells, capsys, options, typed):
    ran = bench.run(**options, results_dir="python", progress=False)
    assert cli.main(["run", *typed.split(), "--results-dir", "typed", "--json"]) == 0
    assert list(ran["id"]) == [cell.id for cell in cells(typed)]
    assert {r["id"] for r in Store("python").scan()[0]} == {r["id"] for r in Store("typed").scan()[0]} == set(ran["id"])


def cells(typed):
    """The cells that a command line names, in their order."""
    from bench.cli.choosing import wanted
    from bench.selection import cells_of

    return cells_of(wanted(cli.parser_of("run").parse_args(typed.split())), Path("data"))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: bench.run(methods="mna"), "unknown method 'mna': did you mean mona?"),
        (lambda: bench.run(task="ecg"), "unknown option of run 'task': did you mean tasks"),
        (lambda: bench.run(retry="fail"), "unknown status to retry 'fail': did you mean failed"),
        (lambda: bench.run(set={"trainer.l": 1}), "unknown setting 'trainer.l': did you mean trainer.lr"),
        (lambda: bench.run(seeds=-1), "seed -1: expected a whole number"),
        (lambda: bench.task("egc"), "unknown task 'egc': did you mean ecg"),
        (lambda: bench.task("ecg").load(profile="huge"), "unknown profile 'huge'"),
        (lambda: bench.backbone("swin_bas"), "unknown backbone 'swin_bas': did you mean swin_base"),
        (lambda: bench.backbone("swin_base").load(), "its pretrained weights are not here"),
        (lambda: bench.load_records("nowhere"), "nowhere is no folder: expected a results folder"),
        (lambda: bench.leaderboard("nowhere"), "nowhere is no folder"),
        (lambda: bench.write_report(size="full"), "sizes are those of a study"),
    ],
)
def test_an_error_is_the_one_of_the_command(here, monkeypatch, call, said):
    monkeypatch.setenv("HF_HUB_CACHE", str(here / "no-hub"))
    with pytest.raises(BenchError, match=re.escape(said)):
        call()


def test_a_cell_without_a_record_is_a_row_that_says_why(here, fake_cells):
    """Another process holds one of two cells: the other is run, and neither is missing from the frame."""
    from bench.launch.claim import acquire

    first, second = cells("--tasks ecg --seeds 0 1")
    with acquire(Store("results").work(first.id)):
        ran = bench.run(tasks="ecg", seeds=[0, 1], progress=False)
    assert list(ran["id"]) == [first.id, second.id] and list(ran["status"]) == ["taken", "done"]
    assert ran["error_message"][0] and ran["score"].isna().tolist() == [True, False]


def test_a_score_of_code_that_was_edited_since_comes_with_a_warning(here, fake_cells):
    bench.run(tasks="ecg", progress=False)
    store = Store("results")
    (record,) = store.scan()[0]
    store.write({**record, "code": {**record["code"], "method": "ab" * 8}})
    with pytest.warns(UserWarning, match=r"stale: ecg .* method vanilla, .* was edited since \(retry='stale'"):
        ran = bench.run(tasks="ecg", progress=False)
    assert list(ran["end"]) == [record["end"]]


@pytest.mark.parametrize(("kernel", "widgets"), [(True, True), (True, False), (False, True)])
def test_a_notebook_has_bars_where_it_can_draw_them_and_else_lines(monkeypatch, kernel, widgets):
    from bench.launch.display import Bars, Lines, display
    from bench.launch.remaining import Remaining

    module = ModuleType("ipywidgets")
    module.__spec__ = ModuleSpec("ipywidgets", None)
    # MLflow imports ipykernel into any process: the import alone makes no notebook.
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    shell = SimpleNamespace(kernel=object()) if kernel else None
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "ipywidgets", module if widgets else None)
    shown = display(Remaining([], {}, 1), out=io.StringIO())
    shown.close()
    assert isinstance(shown, Bars if kernel and widgets else Lines)


def test_records_say_the_call_that_made_them(here, fake_cells):
    ran = bench.run(tasks="ecg", seeds=[7], progress=False)
    assert list(ran["command"]) == ["bench.run(tasks='ecg', seeds=[7])"]


def test_without_progress_only_the_cell_itself_speaks(here, fake_cells, capsys):
    bench.run(tasks="ecg", progress=False)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("attempt 1 starts at step 0\n", "")
    bench.run(tasks="ecg", seeds=1)
    said = capsys.readouterr()
    assert "stand-ins are generated" in said.out and "1 done" in said.out and "ecg / vanilla" in said.err


def test_a_data_folder_brings_its_own_tasks(here, fake_cells):
    np.savez("mine.npz", x=np.ones((60, 2, 40), np.float32), y=np.arange(60) % 3)
    named = ["--name", "my_own", "--kind", "classes", "--data-dir", "elsewhere"]
    assert cli.main(["data", "import", "mine.npz", *named]) == 0
    assert bench.task("my_own", data_dir="elsewhere").load().input_shape == (2, 40)
    ran = bench.run(tasks="my_own", data_dir="elsewhere", progress=False)
    assert list(ran["task"]) == ["my_own"]
    with pytest.raises(UsageError, match="unknown task 'my_own'"):
        bench.task("my_own")


def test_records_have_the_columns_of_an_export_and_what_is_none_is_named(tmp_path, capsys):
    store = make_store(tmp_path, make_record(), make_record(seed=1, status="diverged"))
    (tmp_path / "broken.json").write_text("{")
    with pytest.warns(UserWarning, match="broken.json: not JSON"):
        found = bench.load_records(tmp_path)
    assert cli.main(["export", "--format", "csv", "--results-dir", str(tmp_path)]) == 0
    assert list(found.columns) == capsys.readouterr().out.splitlines()[0].split(",")
    assert sorted(found["status"]) == ["diverged", "done"] and len(store.scan()[0]) == 2


def test_an_empty_store_gives_an_empty_frame_with_its_columns(tmp_path):
    assert bench.load_records(tmp_path).empty and "score" in bench.load_records(tmp_path)


def test_a_leaderboard_says_what_the_report_says(tmp_path):
    records = [
        make_record(method=m, seed=s, score=v + s / 10) for m, v in (("mona", 0.2), ("orca", 0.4)) for s in (0, 1)
    ]
    make_store(tmp_path, *records, make_record(method="mona", task="burgers", score=1.5))
    board = bench.leaderboard(tmp_path).set_index(["task", "method"])
    assert list(board[board["best"]].index) == [("advection", "mona")]
    mona = board.loc[("advection", "mona")]
    assert (round(mona["mean"], 9), mona["n"], mona["average_rank"], mona["win_rate"]) == (0.25, 2, 1.0, 100.0)
    assert mona["low"] < 0.2 < 0.3 < mona["high"] and mona["metric"] == "nrmse" and mona["panel"]
    assert board.loc[("burgers", "mona"), "marks"] == ["trivial"]
    assert board.loc[("advection", "trivial predictor"), "mean"] == 1.0
    assert bench.leaderboard(tmp_path, suite="nas*").empty


@pytest.mark.slow
def test_the_notebook_runs_as_it_is_and_shows_bars(here):
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipywidgets")
    notebook = nbformat.read(ROOT / "docs" / "examples" / "first-look.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code), "outputs hold paths of who ran it"
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(here)}}).execute()
    shown = [output for cell in code for output in cell.outputs]
    assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in shown), "a bar"
    assert not any(output.get("name") == "stderr" for output in shown), shown
    assert (here / "reports" / "first-look" / "index.html").exists()
