"""What gets installed: the wheel holds all that the harness reads and nothing else; versions are exact, without addresses."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("bench", "tasks", "methods")
OF_OTHERS = {"torchvision"}
"""Declared though nothing here imports it: timm does, and `bench doctor` looks whether it fits torch."""
AT_WILL = {"hdf5plugin", "peft", "pyarrow"}
"""Imported only where they are installed; a message says what to install else."""


@pytest.mark.slow
def test_the_wheel_holds_what_the_harness_reads_and_nothing_else(tmp_path):
    source = tmp_path / "source"
    skip = shutil.ignore_patterns("__pycache__")
    for folder in (*PACKAGES, "benchmarks"):
        shutil.copytree(ROOT / folder, source / folder, ignore=skip)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(tmp_path), str(source)], check=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == wanted


def test_versions_are_exact_without_addresses_and_cover_every_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    pinned = {_canonical(line.partition("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    asked = {_canonical(re.match(r"[A-Za-z0-9._-]+", name)[0]) for name in [*project["dependencies"], *extras]}
    assert asked - {project["name"]} <= pinned


def test_what_is_imported_is_declared_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {_canonical(re.match(r"[A-Za-z0-9._-]+", text)[0]) for text in project["dependencies"]}
    packages = importlib.metadata.packages_distributions()
    modules = {name for folder in PACKAGES for path in (ROOT / folder).rglob("*.py") for name in _imported(path)}
    outside = modules - sys.stdlib_module_names - set(PACKAGES) - AT_WILL
    assert {_canonical(packages.get(name, [name])[0]) for name in outside} == declared - OF_OTHERS


def _imported(path: Path) -> set[str]:
    """The top-level modules that a file imports anywhere."""
    found = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {alias.name for node in found if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in found if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return {name.partition(".")[0] for name in names}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
