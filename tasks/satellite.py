"""Satellite: land cover from a year of Formosat-2 observations of one pixel (NAS-Bench-360)."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Data, DataError, File, Request, Task

_GET = "satellite folder of NAS-Bench-360 on Google Drive, folder id 1OOp6UrCiP79mTIkCrUdjjHWDo8K0bJUw"
FILES = {part: File(path=f"satellite/satellite_{part}.npy", get=_GET) for part in ("train", "test")}
CLASSES = 24
POLICY = "a ninth of the training series, drawn with a fixed seed, validates"


def read(request: Request) -> Data:
    """Series (n, 1, 46) of one vegetation index over a year, labels 0..23.

    `strict` z-scores each series, as NAS-Bench-360 does, and validates on 100,000 drawn with a fixed seed; `paper`
    gives the raw values and trains on all 900,000.
    """
    import numpy as np

    from tasks.files import nb360
    from tasks.files.locate import find
    from tasks.files.pickles import load_npy_object

    nb360.check_options(request)
    x, y = {}, {}
    for part, file in FILES.items():
        path = find(request.root, file)
        table = load_npy_object(path, cure=nb360.AGAIN)
        values = nb360.array(path, "data", nb360.member(path, table, "data"), (None, 46)).astype(np.float32)
        y[part] = nb360.labels(path, "label", nb360.member(path, table, "label"), len(values), CLASSES, first=1)
        if request.protocol == "strict":
            spread = values.std(1, keepdims=True)
            values = (values - values.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)
        x[part] = values[:, None]
    n = len(x["train"])
    rows = nb360.limited(nb360.seeded_rows(n, nb360.held_out(n, 100_000, 900_000)), request)
    parts = nb360.array_parts(x["train"], y["train"], rows, x["test"], y["test"])
    notes = {"series_z_scored": request.protocol == "strict"}
    return nb360.assemble(request, POLICY, rows, parts, (1, 46), (CLASSES,), notes)


def generate(root: Path, *, samples: int, **size: int) -> None:
    """Harmonic vegetation curves with class-dependent seasons, in the layout of the two official files.

    Imitates one vegetation index at 46 dates of a year with cloud dips; not real land cover.
    """
    from tasks.generators.satellite import write

    if size:
        raise DataError(root, f"the arguments {sorted(size)}", "samples only", "Leave them out.")
    write({part: root / file.path for part, file in FILES.items()}, samples=samples)


TASK = Task(
    name="satellite",
    title="Satellite (land cover from time series)",
    suites=("nas_bench_360",),
    kind="classes",
    input_shape=(1, 46),
    output_shape=(CLASSES,),
    loss="cross_entropy",
    metric="error",
    paper_metric="error_chunks_1008",
    more_metrics=("error",),
    trivial="majority",
    backbone="roberta_base",
    splits={"train": 800_000, "val": 100_000, "test": 100_000},
    split_policy=POLICY,
    files=tuple(FILES.values()),
    recipe={
        "trainer.optimizer": "adamw",
        "trainer.lr": 3e-5,
        "trainer.weight_decay": 3e-6,
        "trainer.batch_size": 16,
        "trainer.accumulation": 4,
        "trainer.epochs": 60,
        "trainer.warmup_epochs": 5,
        "trainer.decay_epochs": 60,
        "trainer.eval_batch_size": 1000,
        "model.target_seq_len": 512,
        "stage1.epochs": 60,
        "stage1.max_samples": 128,
    },
    quick={
        "trainer.lr": 3e-4,
        "trainer.accumulation": 1,
        "trainer.epochs": 2,
        "trainer.warmup_epochs": 0.2,
        "trainer.decay_epochs": 2,
        "trainer.eval_batch_size": 128,
        "model.target_seq_len": 23,
        "stage1.epochs": 2,
        "stage1.max_samples": 16,
    },
    sizes={"published": {"samples": 900_000}, "quick": {"samples": 1_500}, "tiny": {"samples": 90}},
    read=read,
    generate=generate,
    licence="GPL (listed by NAS-Bench-360)",
    citation="Petitjean et al. 2012; Dempster et al. 2020 (ROCKET); Tu et al. 2022, NAS-Bench-360",
    source=f"Official: {_GET}. The stand-in is synthesised.",
    defects=(
        "NAS-Bench-360 z-scores each series, later code does not: `strict` does, `paper` does not.",
        "Later code with a validation split cuts it out of the already shortened training set (a leak).",
    ),
)
