"""What the tests of the ten NAS-Bench-360 tasks share."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np

from tasks.contract import Batch, Data, Request, Split, Task

NAMES = ("cifar100", "spherical", "darcy_nb360", "psicov", "cosmic", "ninapro", "fsd50k", "ecg", "satellite", "deepsea")


def task(name: str) -> Task:
    return importlib.import_module(f"tasks.{name}").TASK


def stand_in(folder: Path, name: str) -> Path:
    """The folder with the tiny stand-in of a task, generated on first use."""
    root = folder / f"nas-{name}"
    if not root.exists():
        task(name).generate(root, **task(name).sizes["tiny"])
    return root


def whole(split: Split, rng: np.random.Generator | None = None) -> Batch:
    return split.batch(np.arange(len(split)), rng)


def read(folder: Path, name: str, protocol: str = "strict", **request) -> Data:
    return task(name).read(Request(stand_in(folder, name), protocol, **request))
