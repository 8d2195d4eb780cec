"""A benchmark of cross-modality transfer over NAS-Bench-360 and PDEBench: `python -m bench --help`, docs/from-python.md."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bench.beside import take

if TYPE_CHECKING:
    from bench.face import backbone, evaluate, leaderboard, load_model, load_records, run, task, write_report

__version__ = "0.1.0"
__all__ = ["backbone", "evaluate", "leaderboard", "load_model", "load_records", "run", "task", "write_report"]

take("tasks", "methods")

# cuBLAS reads it when its first handle is made, and without it matrix products on a GPU differ from run to run. Every
# process that runs a cell imports this package first: a command, a worker, a Slurm element, a notebook.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def __getattr__(name: str) -> Any:
    """The functions of `bench.face`, loaded when one is asked for: every command imports this package first."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bench import face

    return getattr(face, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
