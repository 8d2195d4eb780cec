"""Which records an edit makes stale: those of the plug-ins that import the edited module, and no others."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from bench import plan, registry
from bench import standins as data
from bench.plan import Cell
from bench.records.store import Store
from tasks import source
from tasks.contract import Request
from tests.record_factory import record_for

ROOT = Path(__file__).parent.parent
EVERY = list(registry.tasks().items)
NAS = registry.suites()["nas_bench_360"]
PDE = [task for task in EVERY if task not in NAS]
CELLS = [Cell(t, "vanilla", "minilm", origin=o) for t in EVERY for o in ("official", "generated")]
CELLS += [Cell("advection", m, "minilm") for m in registry.methods().items if m != "vanilla"]
UNREAD = {"tasks.files.fetch", "tasks.files.verify"}
"""They fetch and check files; what a reader makes of a file does not depend on them."""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A copy of tasks/ and methods/ that the walk reads in place of the checkout's; `edit` changes a module there."""
    for name in source.PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(source, "places", lambda top: (tmp_path / top,))
    _forget()
    yield tmp_path
    monkeypatch.undo()
    _forget()


def _forget():
    for cached in (source.modules, source.imports, source._file_hash):
        cached.cache_clear()


def _name(path: Path, tree: Path) -> str:
    parts = path.relative_to(tree).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.fixture
def stale_after(tree):
    store = Store(tree / "results")
    for cell in CELLS:
        store.write(record_for(cell))

    def edit(path: Path) -> set[tuple[str, str, str]]:
        before = path.read_bytes()
        path.write_bytes(before + b"# edited\n")
        source._file_hash.cache_clear()
        planned = plan.plan(CELLS, store)
        path.write_bytes(before)
        return {(p.cell.task, p.cell.method, p.cell.origin) for p in planned if p.stale}

    assert not any(p.stale for p in plan.plan(CELLS, store))
    return edit


def test_an_edited_module_makes_exactly_the_records_stale_that_depend_on_it(tree, stale_after):
    for path in sorted(p for name in source.PACKAGES for p in (tree / name).rglob("*.py")):
        module, found = _name(path, tree), stale_after(path)
        assert found == {(c.task, c.method, c.origin) for c in CELLS if module in _behind(c)}, module
        assert bool(found) != (module in UNREAD or module.startswith("tasks.own")), module  # own: of no shipped task


def _behind(cell: Cell) -> set[str]:
    task, method = registry.tasks().module[cell.task], registry.methods().module[cell.method]
    read = [source.modules(root, cell.origin == "generated") for root in (task, *registry.SCORING)]
    return set().union(source.modules(method), *read)


@pytest.mark.parametrize(
    ("file", "tasks", "methods"),
    [
        ("tasks/files/pairs.py", PDE, []),
        ("tasks/files/pdebench.py", PDE, []),
        ("tasks/files/nb360.py", NAS, []),
        ("tasks/files/audio.py", ["fsd50k"], []),
        ("tasks/files/stale.py", ["advection", "burgers"], []),
        ("tasks/ecg.py", ["ecg"], []),
        ("tasks/metrics/pde.py", EVERY, []),
        ("tasks/losses.py", EVERY, []),
        ("methods/meta_gradient.py", [], ["lp_ft", "mona"]),
        ("methods/transport/sinkhorn.py", [], ["orca", "recraft"]),
        ("methods/transport/kernels.py", [], ["mmd_joint", "orca", "recraft"]),
        ("methods/embedder_warmup.py", [], ["embedder_warmup", "lp_ft", "mmd_joint", "mona"]),
    ],
)
def test_editing_a_helper_reaches_those_who_use_it(tree, stale_after, file, tasks, methods):
    found = stale_after(tree / file)
    wanted = {(c.task, c.method, c.origin) for c in CELLS if c.task in tasks or c.method in methods}
    assert found == wanted


def test_a_plug_in_of_a_package_follows_that_package(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "method.py").write_text("def align():\n    from . import helper\n    from .deep import x\n")
    (folder / "helper.py").write_text("import torch\n")
    (folder / "deep.py").write_text("from methods.vanilla import Vanilla\nx = 'mine.lazy'\n")
    (folder / "lazy.py").write_text("")
    (folder / "unused.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    found = source.modules("mine.method")
    assert {n for n in found if n.startswith("mine")} == {
        "mine",
        *(f"mine.{m}" for m in ("method", "helper", "deep", "lazy")),
    }
    assert "methods.vanilla" in found and "methods.contract" in found
    before = source.digest("mine.method")
    (folder / "unused.py").write_text("1")
    source._file_hash.cache_clear()
    assert source.digest("mine.method") == before
    (folder / "deep.py").write_text("x = 2\n")
    _forget()
    assert source.digest("mine.method") != before


@pytest.mark.parametrize(("task", "reader"), [("advection", "pairs"), ("darcy_nb360", "darcy_mat")])
def test_the_copy_of_an_edited_reader_is_not_read_again(tree, task, reader):
    spec = registry.tasks()[task]
    data.generate(spec, tree, "tiny")
    request = Request(data.standin_root(tree, "tiny"), cache=tree / ".cache")
    fresh = spec.read(request).train.batch(np.arange(2), None).y
    for copy in (tree / ".cache").glob("*.npz"):
        with np.load(copy) as arrays:
            spoilt = {name: arrays[name] * 0 + 1 for name in arrays.files}
        np.savez(copy, **spoilt)
    assert not np.allclose(spec.read(request).train.batch(np.arange(2), None).y, fresh), "the copy is what is read"
    with (tree / "tasks" / "files" / f"{reader}.py").open("a") as file:
        file.write("# edited\n")
    source._file_hash.cache_clear()
    assert np.array_equal(spec.read(request).train.batch(np.arange(2), None).y, fresh)


def test_a_stand_in_is_made_anew_after_its_generator_was_edited(tree):
    task = registry.tasks()["advection"]
    assert data.generate(task, tree, "tiny") and not data.generate(task, tree, "tiny")
    with (tree / "tasks" / "generators" / "burgers.py").open("a") as file:
        file.write("# edited\n")
    source._file_hash.cache_clear()
    assert data.standin_here(task, tree, "tiny")
    with (tree / "tasks" / "generators" / "sines.py").open("a") as file:
        file.write("# edited\n")
    source._file_hash.cache_clear()
    assert not data.standin_here(task, tree, "tiny")
    assert data.generate(task, tree, "tiny") and data.standin_here(task, tree, "tiny")
