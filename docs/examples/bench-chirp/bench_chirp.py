"""A task in a package of its own: tell rising from falling chirps in noise. Found by the entry point in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import ArraySplit, Data, DataError, File, Request, Task
from tasks.recipe import columns, quick

FILE = File(path="chirp/chirps.npz", get="made by this task's own generator; there is no official file")
LENGTH, CLASSES = 128, 3


def read(request: Request) -> Data:
    """Series (n, 1, 128) and labels: the first tenth is test, the next tenth validation, the rest training."""
    import numpy as np

    from tasks.files.locate import find
    from tasks.files.splits import drawn

    path = find(request.root, FILE)
    with np.load(path) as stored:
        x, y = stored["x"], stored["y"].astype(np.int64)
    if x.shape[1:] != (1, LENGTH):
        raise DataError(path, f"series of shape {x.shape[1:]}", f"(1, {LENGTH})", "Generate the file again.")
    n = max(1, len(x) // 10)
    train = drawn(np.arange(n if request.protocol == "paper" else 2 * n, len(x)), request, y)
    val = None if request.protocol == "paper" else ArraySplit(x[n : 2 * n], y[n : 2 * n])
    return Data(ArraySplit(x[train], y[train]), val, ArraySplit(x[:n], y[:n]), (1, LENGTH), (CLASSES,))


def generate(root: Path, *, samples: int) -> None:
    """Sample i depends on i alone, so that more samples never change the first ones."""
    import numpy as np

    from tasks.files.generated import opened

    t = np.linspace(0, 1, LENGTH)
    x, y = np.empty((samples, 1, LENGTH), np.float32), np.empty(samples, np.int64)
    for i in range(samples):
        rng = np.random.default_rng([2024, i])
        y[i] = rng.integers(CLASSES)
        sweep = (rng.uniform(6, 9), -rng.uniform(6, 9), 0)[y[i]]
        phase = 2 * np.pi * (10 * t + sweep * t**2 / 2 + rng.random())
        x[i, 0] = np.sin(phase) + rng.normal(0, 0.5, LENGTH)
    with opened(root / FILE.path, task="chirp", samples=samples, size={}) as handle:
        np.savez(handle, x=x, y=y)


TASK = Task(
    name="chirp",
    title="Chirps: rising, falling or steady",
    suites=("extra",),
    kind="classes",
    input_shape=(1, LENGTH),
    output_shape=(CLASSES,),
    loss="cross_entropy",
    metric="error",
    more_metrics=(),
    trivial="majority",
    backbone="roberta_base",
    splits={"train": 800, "val": 100, "test": 100},
    split_policy="the first tenth is test, the next tenth validation",
    files=(FILE,),
    recipe=columns(opt="adamw", lr=3e-4, batch=32, epochs=20, seq=32),
    quick=quick(epochs=4),
    sizes={"published": {"samples": 1000}, "quick": {"samples": 300}, "tiny": {"samples": 60}},
    read=read,
    generate=generate,
    licence="MIT",
    citation="An example of this documentation",
    source="Synthesised; there is no official data set",
)
