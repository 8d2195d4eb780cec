"""docs/design.md is true: its words exist in the code, its rooms are the folders, its arrows are the imports."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "design.md").read_text()
NAMES = re.findall(r"^\| [^|]+ \| [^|]+ \| `((?:bench|tasks|methods)[\w.]*)` \|$", PAGE, re.MULTILINE)
ROOMS = re.findall(r"^\| `((?:bench|tasks|methods)[\w./]*)` \|", PAGE, re.MULTILINE)
FLOORS = (
    ("bench/cli",),
    ("bench/report", "bench/launch", "bench/doctor.py"),
    ("bench/cell",),
    ("bench/analysis",),
    ("bench/models", "bench/sources"),
    ("bench/records",),
    ("methods",),
    ("tasks",),
)
"""From the top: a room imports from its own floor or from those below it."""


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the house."""
    files = [p for room in ("bench", "tasks", "methods") for p in (ROOT / room).rglob("*.py")]
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in files}


def imports(path: Path, known: dict[str, Path]) -> set[str]:
    """Modules of the house that a file imports anywhere but under TYPE_CHECKING."""
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found & known.keys()


KNOWN = modules()
ARROWS = {name: imports(path, KNOWN) - {name} for name, path in KNOWN.items()}


def floor(module: str) -> int | None:
    """The number of a module's floor from the top; None for what stands between them (bench/plan.py and the like)."""
    place = str(KNOWN[module].relative_to(ROOT))
    return next((i for i, rooms in enumerate(FLOORS) if place.startswith(tuple(rooms))), None)


@pytest.mark.parametrize("name", NAMES)
def test_a_word_of_the_glossary_has_its_name_in_the_code(name):
    if name in KNOWN:
        return
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute), name


def test_the_glossary_and_the_rooms_were_found():
    assert len(NAMES) >= 15 and len(ROOMS) >= 15


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_there(room):
    assert (ROOT / room).exists()


def test_every_folder_of_code_is_a_room_of_the_page():
    folders = {p.parent.relative_to(ROOT).as_posix() + "/" for p in KNOWN.values()}
    inside = {"bench/", "methods/transport/", "bench/report/document/", "bench/report/tables/",
              "bench/report/figures/", "bench/report/pages/", "bench/launch/slurm/"}  # fmt: skip
    assert folders - inside <= set(ROOMS)


def test_no_arrow_runs_back_up():
    back = {
        f"{name} -> {target}"
        for name, targets in ARROWS.items()
        for target in targets
        if None not in (a := floor(name), b := floor(target)) and b < a  # type: ignore[operator]
    }
    assert not back


def test_tasks_and_methods_know_nothing_of_the_harness():
    back = {f"{n} -> {t}" for n, targets in ARROWS.items() for t in targets if not n.startswith("bench") and t.startswith("bench")}  # fmt: skip
    assert not back
    assert not {n for n, targets in ARROWS.items() if n.startswith("tasks") and any(t.startswith("methods") for t in targets)}  # fmt: skip


def test_there_is_no_circle_between_modules():
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join([*path[path.index(name) :], name])
        if name not in done:
            for target in sorted(at_import(name)):
                visit(target, (*path, name))
            done.add(name)

    for name in KNOWN:
        visit(name, ())


def at_import(name: str) -> set[str]:
    """Modules that are imported when this one is: not those inside functions, not a package that holds it."""
    top = ast.Module(
        [n for n in ast.parse(KNOWN[name].read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)], []
    )
    found = {a.name for n in top.body if isinstance(n, ast.Import) for a in n.names}
    for node in top.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{a.name}" for a in node.names} & KNOWN.keys()
            found |= inner or {node.module}
    return (found & KNOWN.keys()) - {name}
