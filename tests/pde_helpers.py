"""What the PDE tests share: the nine tasks, tiny stand-ins, and three files that another project's generators wrote."""

from __future__ import annotations

import functools
import importlib
import shutil
import tempfile
from pathlib import Path

import pytest

from tasks.contract import Task

NAMES = (
    "advection", "burgers", "diffusion_reaction_1d", "diffusion_sorption", "cfd_1d",
    "darcy_pdebench", "shallow_water", "diffusion_reaction_2d", "cfd_2d",
)  # fmt: skip
TASKS: dict[str, Task] = {name: importlib.import_module(f"tasks.{name}").TASK for name in NAMES}


@functools.cache
def _made_once(name: str) -> tuple[tempfile.TemporaryDirectory, Path]:
    folder, task = tempfile.TemporaryDirectory(), TASKS[name]
    task.generate(Path(folder.name), **task.sizes["tiny"])
    return folder, Path(folder.name) / task.files[0].path


def tiny(name: str, root: Path) -> Path:
    """A copy of the task's tiny stand-in, with its sidecar, below `root`; the path of its file."""
    path = root / TASKS[name].files[0].path
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        for made in _made_once(name)[1].parent.iterdir():
            shutil.copy(made, path.parent)
    return path


def shared_samples() -> Path:
    """A folder with three files of PDEBench's own generators beside the repository; skips the test where it is not."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "pdebench_samples"
    if not folder.is_dir():
        pytest.skip("no ../shared/pdebench_samples beside the repository")
    return folder
