"""Plug-ins from outside: the documented examples are built, installed, run by name; a broken one hides nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import methods
from bench import registry

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "docs" / "examples"
EXAMPLE = EXAMPLES / "bench-bitfit"


def bench(*words: str, path: Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """`python -m bench` in a process of its own that also sees the packages installed in `path`."""
    environment = os.environ | {"PYTHONPATH": f"{path}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the examples, without a network."""
    source = tmp_path_factory.mktemp("source")
    target = tmp_path_factory.mktemp("site")
    # pip builds in place; the checkout stays as it is.
    folders = [shutil.copytree(folder, source / folder.name) for folder in sorted(EXAMPLES.glob("bench-*"))]
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *map(str, folders)], check=True, timeout=300)
    return target


def test_the_example_fits_the_promise():
    lines = (EXAMPLE / "bench_bitfit.py").read_text().splitlines()
    assert len(lines) <= 40


def test_it_is_listed_with_where_it_is_from(installed, tmp_path):
    found = json.loads(bench("describe", "bitfit", "--json", path=installed, cwd=tmp_path).stdout)
    assert found["method"] == "bitfit" and "bench-bitfit" in found["defined in"]
    assert [option["name"] for option in found["options"]] == ["bitfit.norms"]


def test_the_task_is_listed_too(installed, tmp_path):
    found = json.loads(bench("describe", "chirp", "--json", path=installed, cwd=tmp_path).stdout)
    assert found["task"] == "chirp" and "bench-chirp" in found["defined in"]


def test_it_is_unknown_where_it_is_not_installed(tmp_path):
    result = bench("describe", "bitfit", path=tmp_path, cwd=tmp_path)
    assert result.returncode == 2 and "unknown name 'bitfit'" in result.stderr


@pytest.mark.slow
def test_it_runs_by_name_and_is_resumed(installed, tmp_path):
    words = ["run", "--tasks", "advection", "--methods", "bitfit", "--profile", "tiny", "--set", "bitfit.norms=true"]
    result = bench(*words, path=installed, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    (record,) = [json.loads(p.read_text()) for p in (tmp_path / "results").glob("*.json") if "curves" not in p.name]
    assert (record["status"], record["method"]) == ("done", "bitfit")
    assert record["overrides"] == {"method.norms": True}
    again = bench(*words, path=installed, cwd=tmp_path)
    assert "nothing to do" in again.stdout


@pytest.mark.slow
def test_both_examples_pass_the_conformance_tests(installed, tmp_path):
    result = bench("check", "bitfit", "chirp", path=installed, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr


def test_it_moves_the_biases_alone(installed, monkeypatch):
    import torch
    from torch import nn

    monkeypatch.syspath_prepend(str(installed))
    from bench_bitfit import BitFit

    from methods.contract import MethodError

    class Model(nn.Module):
        def __init__(self, bias: bool):
            super().__init__()
            self.embedder, self.predictor = nn.Linear(2, 3), nn.Linear(3, 1)
            self.encoder = nn.Sequential(nn.Linear(3, 3, bias=bias), nn.LayerNorm(3, bias=bias))

    model = Model(bias=True)
    moved = {id(p) for p in BitFit().trainable(model)}
    kept = [name for name, p in model.named_parameters() if id(p) not in moved]
    assert kept == ["encoder.0.weight", "encoder.1.weight"]
    kept = {id(p) for p in model.parameters()} - {id(p) for p in BitFit(norms=True).trainable(model)}
    assert kept == {id(model.encoder[0].weight)}
    with pytest.raises(MethodError, match="use linear"):
        BitFit().trainable(Model(bias=False))
    assert torch.isfinite(model.encoder[0].bias).all()


BROKEN = {
    "raises": ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
    "syntax": ("def align(:", "SyntaxError"),
    "no_method": ("x = 1", "defines no subclass"),
    "missing": ("import a_package_that_is_not_here", "a_package_that_is_not_here"),
}


def test_broken_plugins_are_named_and_hide_nothing(installed, tmp_path):
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    for name, (source, _) in BROKEN.items():
        (site / f"broken_{name}.py").write_text(source)
        info = site / f"broken_{name}-0.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: broken-{name}\nVersion: 0.1\n")
        (info / "entry_points.txt").write_text(f"[bench.methods]\nbroken_{name} = broken_{name}\n")
    listed = bench("list", "methods", path=site, cwd=tmp_path)
    assert listed.returncode == 0
    for known in ("vanilla", "mona", "bitfit"):
        assert f"\n{known} " in listed.stdout
    for name, (_, reason) in BROKEN.items():
        (line,) = [line for line in listed.stdout.splitlines() if f"broken_{name} (" in line]
        assert "left out" in line and reason in line and f"broken-{name}" in line
    asked = bench("run", "--tasks", "advection", "--methods", "broken_raises", path=site, cwd=tmp_path)
    assert asked.returncode == 2 and "no licence" in asked.stderr


OWN = {
    "half_linear": "from methods.linear import Linear\n\nclass HalfLinear(Linear):\n    name = 'half_linear'\n",
    "unfinished": "from methods.contract import Method\n\nclass Unfinished(Method):\n    def align(:\n",
    "nameless": "from methods.contract import Method\n\nclass Nameless(Method):\n    pass\n",
    "strange": "from methods.linear import Linear\n\nclass Strange(Linear):\n    name = '../\\x1b[2J'\n",
    "leaves": "import sys\n\nclass Leaves:\n    name = 'leaves'\n\nsys.exit('no GPU')\n",
    "helper": "raise RuntimeError('no plug-in, so never imported')\n",
}


def test_files_in_the_methods_folder_are_found_by_looking(tmp_path, monkeypatch):
    for name, source in OWN.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.setattr(methods, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    found = registry.methods.__wrapped__()
    assert set(found.items) == {"half_linear"} and found.origin["half_linear"] == "methods/half_linear.py"
    reasons = {broken.name: broken.reason for broken in found.broken}
    assert set(reasons) == {"unfinished", "nameless", "leaves", "strange"}
    assert "SyntaxError" in reasons["unfinished"] and "with a name" in reasons["nameless"]
    assert "is not made of letters" in reasons["strange"] and reasons["strange"].isprintable()
    assert reasons["leaves"] == "SystemExit: no GPU"


def test_a_plugin_cannot_take_a_name_that_is_taken(installed, tmp_path):
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    for info in site.glob("bench_bitfit-*.dist-info"):
        (info / "entry_points.txt").write_text("[bench.methods]\nvanilla = bench_bitfit:BitFit\n")
    (site / "bench_bitfit.py").write_text((site / "bench_bitfit.py").read_text().replace('"bitfit"', '"vanilla"'))
    listed = bench("list", "methods", path=site, cwd=tmp_path)
    assert "left out: vanilla" in listed.stdout and "the name is taken by methods/vanilla.py" in listed.stdout


@pytest.mark.parametrize("kind", ["module", "package", "on the path"])
def test_names_of_the_users_hide_none_of_ours(installed, tmp_path, kind):
    """`tasks` and `methods` in the working folder, or earlier on the path than ours; their plug-ins still work."""
    folder = tmp_path / "own" if kind == "on the path" else tmp_path
    for name in ("tasks", "methods"):
        file = folder / f"{name}.py" if kind != "package" else folder / name / "__init__.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text("raise RuntimeError('not ours')")
    path = Path(f"{folder}{os.pathsep}{installed}") if kind == "on the path" else installed
    listed = bench("list", "methods", path=path, cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert all(f"\n{name} " in listed.stdout for name in ("vanilla", "mona", "bitfit"))
    assert "left out" not in listed.stdout


def test_another_module_imported_before_ours_is_named(tmp_path):
    (tmp_path / "tasks.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-c", "import tasks, bench"], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"{tmp_path / 'tasks.py'} was imported before it" in done.stderr
