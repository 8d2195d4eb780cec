"""Solvers and synthesisers that write stand-ins in the official file layouts, seeded per sample."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from pathlib import Path

from tasks.contract import File


def stand_in(module: str, files: Iterable[File]) -> Callable[..., None]:
    """`Task.generate` by `write(*paths, samples=..., ...)` of `module`, which is imported when it is needed."""

    def generate(root: Path, **size: int) -> None:
        importlib.import_module(module).write(*(root / file.path for file in files), **size)

    generate.__module__ = module  # the code that a stand-in is made by
    return generate
