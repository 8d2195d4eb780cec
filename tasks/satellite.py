"""Satellite: land cover from a year of Formosat-2 observations of one pixel (NAS-Bench-360)."""

from __future__ import annotations

from tasks.contract import Data, File, Request, Task
from tasks.generators import stand_in
from tasks.recipe import published, quick, sizes

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

    request.check_options()
    parts = {}
    for part, file in FILES.items():
        path = find(request.root, file)
        table = load_npy_object(path)
        values = nb360.entry(path, table, "data", (None, 46)).astype(np.float32)
        labels = nb360.labels(path, "label", nb360.member(path, table, "label"), len(values), CLASSES, first=1)
        if request.protocol == "strict":
            spread = values.std(1, keepdims=True)
            values = (values - values.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)
        parts[part] = values[:, None], labels
    labels, notes = parts["train"][1], {"series_z_scored": request.protocol == "strict"}
    rows = nb360.training_rows(request, len(labels), 100_000, 900_000, nb360.seeded_rows, labels)
    return nb360.in_memory(request, POLICY, rows, parts["train"], parts["test"], (CLASSES,), notes=notes)


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
    recipe=published(opt="adamw", lr=3e-5, wd=3e-6, batch=16, accum=4, epochs=60, warmup=5, decay=60, seq=512),
    quick=quick(lr=3e-4, accum=1, epochs=2, warmup=0.2, seq=23, eval_batch=128, emb_epochs=2, emb_samples=16),
    sizes=sizes(samples=(900_000, 1_500, 90)),
    read=read,
    generate=stand_in("tasks.generators.satellite", FILES.values()),
    licence="GPL (listed by NAS-Bench-360)",
    citation="Petitjean et al. 2012; Dempster et al. 2020 (ROCKET); Tu et al. 2022, NAS-Bench-360",
    source=f"Official: {_GET}. The stand-in is synthesised.",
    defects=(
        "NAS-Bench-360 z-scores each series, later code does not: `strict` does, `paper` does not.",
        "Later code with a validation split cuts it out of the already shortened training set (a leak).",
    ),
)
