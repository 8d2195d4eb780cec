"""Own data where the harness finds them: `own/<name>/` below the data folder, with what a task is beside the arrays.

    own/<name>/arrays.npz    x, y, and the sample numbers of train, val and test
    own/<name>/task.json     name, kind, shapes, classes, sizes, split policy, checksum

`tasks_in` makes a `Task` of each; it reads only the small file, so that looking stays instant.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.contract import Data, DataError, File, Kind, Request, Task
from tasks.files.regular import NOTE, read_linked
from tasks.recipe import Recipe, columns

if TYPE_CHECKING:
    from tasks.own.arrays import Arrays

FOLDER = "own"
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
STEPS, QUICK_STEPS = 3000, 100
"""Optimiser steps that the recipes aim at, by whole epochs: what a first look needs, not a tuned schedule."""
BATCH = 32
TOKENS = 64
"""Most tokens of a 1D input: a short series has few, and a body's cost grows with them."""

LOSS_AND_METRICS: Mapping[Kind, tuple[str, str, tuple[str, ...], str]] = {
    "classes": ("cross_entropy", "error", ("f1_error_windows",), "majority"),
    "multilabel": ("bce", "one_minus_auroc", ("one_minus_map",), "label_prior"),
    "dense": ("rmse", "rmse", ("max_error",), "mean"),
}
"""By kind: loss, score, further metrics, trivial predictor."""


def store(path: Path, data_dir: Path, name: str, kind: Kind, arrays: Arrays, replace: bool = False) -> Task:
    """Keep checked arrays as the task `name` below `data_dir`; the folder appears whole or not at all."""
    import numpy as np

    from tasks.files.verify import digest
    from tasks.own.split import rows_of

    if not NAME.fullmatch(name):
        raise DataError(path, f"the name {name!r}", "a small letter, then small letters, digits and _, at most 40",
                        "Choose another --name.")  # fmt: skip
    target = data_dir / FOLDER / name
    if target.exists() and not replace:
        raise DataError(target, "a task of that name", "a new name", "Choose another --name, or --replace it.")
    rows, policy = rows_of(path, arrays)
    scratch = target.with_name(f".{name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    numbers = {f"rows_{part}": index for part, index in rows.items()}
    np.savez(scratch / "arrays.npz", allow_pickle=False, x=arrays.x, y=arrays.y, **numbers)
    facts = {
        "name": name,
        "kind": kind,
        "input_shape": arrays.x.shape[1:],
        "output_shape": arrays.output_shape,
        "classes": arrays.classes,
        "splits": {part: len(index) for part, index in rows.items()},
        "split_policy": policy,
        "sha256": digest(scratch / "arrays.npz", "sha256"),
        "made_from": path.name,
    }
    (scratch / "task.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if target.exists():
        shutil.rmtree(target)
    scratch.replace(target)
    return task_of(facts)


def tasks_in(data_dir: Path) -> dict[str, Path]:
    """Name -> the file that describes it, of every own task below `data_dir`."""
    folder = data_dir / FOLDER
    if not folder.is_dir():
        return {}
    found = (p / "task.json" for p in sorted(folder.iterdir()) if not p.name.startswith("."))
    return {p.parent.name: p for p in found if p.is_file()}


def load_task(path: Path) -> Task:
    """The task that a `task.json` describes; DataError if it is not one of ours."""
    try:
        facts = json.loads(read_linked(path, NOTE))
        if facts["name"] != path.parent.name:
            raise ValueError(f"it describes {facts['name']!r}")
        return task_of(facts)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(path, f"no description of a task ({type(error).__name__}: {error})", "a file written by "
                        "`bench data import`", "Import the data again with --replace.") from error  # fmt: skip


def task_of(facts: Mapping[str, Any]) -> Task:
    """The `Task` of a description, with a recipe by its kind and size."""
    name, kind = facts["name"], facts["kind"]
    loss, metric, more, trivial = LOSS_AND_METRICS[kind]
    file = File(
        f"{FOLDER}/{name}/arrays.npz", checksum=f"sha256:{facts['sha256']}", get="your own file, imported again"
    )
    one_dimensional = len(facts["input_shape"]) == 2
    train = int(facts["splits"]["train"])

    def reader(request: Request) -> Data:
        return read(request, file, facts)

    return Task(
        name=name,
        title=f"{name} (own data, from {facts['made_from']})",
        suites=("own",),
        kind=kind,
        input_shape=tuple(facts["input_shape"]),
        output_shape=tuple(facts["output_shape"]),
        loss=loss,
        metric=metric,
        more_metrics=more,
        trivial=trivial,
        backbone="roberta_base" if one_dimensional else "swin_base",
        splits=facts["splits"],
        split_policy=facts["split_policy"],
        files=(file,),
        recipe=_recipe(train, STEPS, 60, 1e-4),
        quick=_recipe(train, QUICK_STEPS, 20, 3e-4),
        read=reader,
        licence="your own",
        citation="your own",
        source=f"Imported from {facts['made_from']}.",
    )


def _recipe(train: int, steps: int, most_epochs: int, lr: float) -> Recipe:
    """AdamW for about `steps` steps, 3 to `most_epochs` epochs, a twelfth of them warm-up."""
    epochs = max(3, min(most_epochs, round(steps * BATCH / train)))
    return columns(
        opt="adamw", lr=lr, wd=0.01, batch=BATCH, epochs=epochs, warmup=epochs / 12, decay=epochs, clip=1.0, seq=TOKENS,
        emb_epochs=max(1, epochs // 4), emb_samples=64,
    )  # fmt: skip


def read(request: Request, file: File, facts: Mapping[str, Any]) -> Data:
    """The splits as they were drawn at the import, inputs and fields z-scored channel by channel."""
    from tasks.contract import ArraySplit
    from tasks.files import nb360
    from tasks.files.arrays import LARGEST_DATA, read_arrays
    from tasks.files.locate import find
    from tasks.files.splits import moments

    request.check_options()
    path = find(request.root, file)
    try:
        held = read_arrays(path.resolve(), most=LARGEST_DATA)
        x, y = held["x"], held["y"]
        rows = {part: held[f"rows_{part}"] for part in ("train", "val", "test")}
    except (OSError, ValueError, KeyError) as error:
        raise DataError(path, f"no readable arrays ({error})", "what `bench data import` wrote",
                        "Import the data again with --replace.") from error  # fmt: skip
    test = rows.pop("test")
    rows = {**nb360.limited(rows, request, y if facts["kind"] == "classes" else None), "test": test}
    scale = moments(x[rows["train"]])
    decode = moments(y[rows["train"]]) if facts["kind"] == "dense" else None
    parts = {part: ArraySplit(x[index], y[index], scale=scale) for part, index in rows.items()}
    notes = {"normalised_by_training_set": True, "classes": list(facts["classes"])}
    shapes = tuple(facts["input_shape"]), tuple(facts["output_shape"])
    return nb360.assemble(request, facts["split_policy"], rows, parts, *shapes, notes, decode)
