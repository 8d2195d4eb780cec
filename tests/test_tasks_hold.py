"""What every task resolves to, held against a file: recipes, splits, shapes, files, cell ids, and what its reader gives.

A change of how tasks are written must leave all of it as it is. A change that is meant shows in the diff of the file:
`python -m tests.test_tasks_hold` writes it anew.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import plan, protocols, registry, settings
from bench import standins as data
from bench.plan import Cell
from tasks.contract import Request, Split

HELD = Path(__file__).parent / "golden" / "tasks.json"
METHODS = ("vanilla", "mona", "orca")


def declared(name: str) -> dict[str, Any]:
    """Everything that a task says and resolves to, without its data."""
    task = registry.tasks()[name]
    cells = [
        Cell(name, method, task.backbone, 0, profile, protocol)
        for method in METHODS
        for profile in plan.PROFILES
        for protocol in protocols.PROTOCOLS
    ]
    plain = ("title", "suites", "kind", "input_shape", "output_shape", "loss", "metric", "paper_metric", "more_metrics",
             "trivial", "backbone", "splits", "split_policy", "sizes", "defects")  # fmt: skip
    return {
        **{key: getattr(task, key) for key in plain},
        "files": [[f.path, f.size, f.checksum, f.url] for f in task.files],
        "ids": {f"{c.method} {c.profile} {c.protocol}": c.id for c in cells},
        "settings": {
            f"{c.profile} {c.protocol}": settings.flatten(plan.resolve(c), "identity")
            for c in cells
            if c.method == "vanilla"
        },
    }


def described(split: Split | None) -> dict[str, Any] | None:
    """Length, shapes, types and a few numbers of a split's first samples."""
    if split is None:
        return None
    batch = split.batch(np.arange(min(4, len(split))), None)
    arrays = {"x": batch.x, "y": batch.y, **batch.extra}
    return {
        "length": len(split),
        **{
            key: [list(a.shape), str(a.dtype), *(float(f"{v:.6g}") for v in (a.mean(), a.std(), a.flat[0], a.flat[-1]))]
            for key, a in arrays.items()
        },
    }


def read(name: str, folder: Path) -> dict[str, Any]:
    """What the reader makes of the tiny stand-in under both protocols."""
    task = registry.tasks()[name]
    data.generate(task, folder, "tiny")
    root = data.standin_root(folder, "tiny")
    out = {}
    for protocol in ("strict", "paper"):
        loaded = task.read(Request(root, protocol))  # type: ignore[arg-type]
        parts = {part: described(getattr(loaded, part)) for part in ("train", "val", "test")}
        out[protocol] = {**parts, "shapes": [loaded.input_shape, loaded.output_shape]}
    return out


def plain(value: Any) -> Any:
    """As it comes back from JSON."""
    return json.loads(json.dumps(value))


def close(found: Any, held: Any) -> bool:
    """Equal, numbers of arrays up to what another processor's arithmetic changes."""
    if isinstance(held, dict):
        return found.keys() == held.keys() and all(close(found[k], held[k]) for k in held)
    if isinstance(held, list):
        return len(found) == len(held) and all(close(f, h) for f, h in zip(found, held, strict=True))
    return found == pytest.approx(held, rel=1e-3, abs=1e-5) if isinstance(held, float) else found == held


NAMES = list(registry.tasks().items)


def test_the_file_holds_every_task():
    assert set(json.loads(HELD.read_text())) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_says_what_it_said(name):
    held = json.loads(HELD.read_text())[name]["declared"]
    found = plain(declared(name))
    assert {key for key in held if found.get(key) != held[key]} == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_reader_gives_what_it_gave(name, shared_data):
    held = json.loads(HELD.read_text())[name]["read"]
    found = plain(read(name, shared_data))
    assert close(found, held), f"found {found}\nheld {held}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        now = {name: {"declared": declared(name), "read": read(name, Path(scratch))} for name in NAMES}
    HELD.write_text(json.dumps(now, indent=None, sort_keys=True) + "\n")
