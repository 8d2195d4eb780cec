"""What gets installed: the wheel holds all that the harness reads and nothing else; versions are exact, without addresses."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from bench import __version__

ROOT = Path(__file__).parent.parent
PACKAGES = ("bench", "tasks", "methods")
OF_OTHERS = {"torchvision", "nvidia-ml-py"}
"""Declared though others import them: timm the first, which `bench doctor` compares with torch, and torch the second."""
AT_WILL = {"hdf5plugin", "optuna", "peft", "pyarrow", "pynvml"}
"""Imported only where they are installed; a message says what to install else, and no load of a GPU is read without the last."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns("__pycache__")
    for name in (*PACKAGES, "benchmarks"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=skip)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(folder / "source")], check=True, timeout=300)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The `bin` of an environment of its own that has the wheel, and sees the packages that are installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True, timeout=300)
    (site,) = folder.glob("lib/*/site-packages")
    others = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (site / "others.pth").write_text("\n".join(others))  # their own .pth files, which may lead here, are not read
    return folder / "bin"


@pytest.mark.slow
def test_the_wheel_holds_what_the_harness_reads_and_nothing_else(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {
        path.relative_to(ROOT).as_posix()
        for folder in PACKAGES
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == wanted


@pytest.mark.slow
def test_the_wheel_works_outside_of_the_checkout(installed, tmp_path):
    """From the look around to the page: none of it may need a file that only a checkout has."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "BENCH_", "VIRTUAL_ENV"))}

    def said_by(program: str, *arguments: str) -> str:
        command = [installed / program, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    where = said_by(
        "python", "-c", "import bench, tasks, methods; print(bench.__file__, tasks.__file__, methods.__file__)"
    )
    assert all(Path(file).is_relative_to(installed.parent) for file in where.split())
    assert "darcy_pdebench" in said_by("bench", "list", "tasks")
    assert "mona-ablation" in said_by("bench", "list", "studies")
    assert "swin_micro" in said_by("bench", "describe", "swin_micro")
    assert "all checks hold" in said_by("bench", "check", "ridge")
    assert "1 done" in said_by("bench", "run", "--tasks", "darcy_pdebench", "--methods", "ridge", "--probe")
    assert "of 1 record" in said_by("bench", "report", "--html")
    assert said_by("python", "-c", "import bench; print(len(bench.load_records()))").split() == ["1"]
    page = tmp_path / "reports" / "latest"
    assert "ridge" in (page / "README.md").read_text() and "<style" in (page / "index.html").read_text()


def test_versions_are_exact_without_addresses_and_cover_every_dependency():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    pinned = {_canonical(line.partition("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for names in project["optional-dependencies"].values() for name in names]
    asked = {_canonical(re.match(r"[A-Za-z0-9._-]+", name)[0]) for name in [*project["dependencies"], *extras]}
    assert asked - {project["name"]} <= pinned


def test_the_citation_has_what_its_format_demands_and_the_version_is_this_one():
    """The keys that CFF 1.2.0 requires, with its words where it has a list of them."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert (cited["cff-version"], cited["type"], cited["license"]) == ("1.2.0", "software", "MIT")
    assert cited["authors"] and all("name" in who or "family-names" in who for who in cited["authors"])
    assert cited["version"] == __version__


def test_the_changelog_ends_at_this_version():
    text = (ROOT / "CHANGELOG.md").read_text()
    (newest, *_) = re.findall(r"^## \[([^\]]+)\] - (.*)$", text, re.MULTILINE)
    assert newest[0] == __version__
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= kinds


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
