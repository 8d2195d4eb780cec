"""What must be here before workers start: every stand-in generated once, every weight file present.

Workers and cluster nodes then find all they need on disk; nothing is downloaded and nothing is made twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench import plan, registry
from bench import standins as data
from bench.backbones import BACKBONES
from bench.errors import SetupError
from bench.plan import Cell


def prepare(cells: Sequence[Cell], data_dir: Path) -> list[str]:
    """Generate the stand-ins that these cells read and check their weights; the names of what was made.

    Raises SetupError naming every backbone whose weights are missing, and every task whose official data are.
    """
    missing = _missing(cells, data_dir)
    if missing:
        raise SetupError("nothing was started, for something is missing:\n  " + "\n  ".join(missing))
    return make_standins(cells, data_dir)


def make_standins(cells: Sequence[Cell], data_dir: Path) -> list[str]:
    """Generate the stand-ins that these cells read, each once; the names of the tasks for which one was made."""
    made, seen = [], set()
    for cell in cells:
        key = (cell.task, cell.profile, plan.resolve(cell).data.samples)
        if cell.origin == "generated" and key not in seen:
            seen.add(key)
            if data.generate(registry.tasks()[cell.task], data_dir, *key[1:]):
                made.append(cell.task)
    return made


def _missing(cells: Sequence[Cell], data_dir: Path) -> list[str]:
    missing = []
    for name in dict.fromkeys(cell.backbone for cell in cells if not cell.random_weights):
        reason = BACKBONES[name].unusable()
        if reason is not None:
            missing.append(f"backbone {name!r}: {reason}")
    for name in dict.fromkeys(cell.task for cell in cells if cell.origin == "official"):
        if not data.official_here(registry.tasks()[name], data_dir):
            missing.append(f"task {name!r}: its official files are not all below {data_dir}")
    return missing
