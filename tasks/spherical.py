"""Spherical: CIFAR-100 projected on a rotated sphere (NAS-Bench-360)."""

from __future__ import annotations

from tasks.contract import Data, File, Request, Task
from tasks.generators import stand_in
from tasks.recipe import published, quick, sizes

FILE = File(
    path="spherical/s2_cifar100.gz",
    get="the NAS-Bench-360 folder on Google Drive, file id 1EJbc2n0tYOh0PsbVQ0yyTz58UI3wHFud",
)
POLICY = "the last fifth of the training images validates"


def read(request: Request) -> Data:
    """Images (n, 3, 60, 60) uint8 given out as x / 255, labels 0..99 (fewer classes in a stand-in).

    `strict` validates on the last fifth of the training images, `paper` trains on all of them.
    """
    import numpy as np

    from tasks.files import nb360
    from tasks.files.locate import find
    from tasks.files.pickles import load_pickle

    request.check_options()
    path = find(request.root, FILE)
    table = load_pickle(path, gz=True)
    parts = {}
    for part in ("train", "test"):
        content = nb360.member(path, table, part)
        x = nb360.array(path, f"{part} images", nb360.member(path, content, "images"), (None, 3, 60, 60), "u")
        y = nb360.labels(path, f"{part} label", nb360.member(path, content, "labels"), len(x), 100)
        parts[part] = x.astype(np.uint8, copy=False), y
    training, test = parts["train"], parts["test"]
    rows = nb360.training_rows(request, len(training[0]), val=10_000, total=50_000, labels=training[1])
    classes = int(max(training[1].max(), test[1].max())) + 1
    scale = (np.array(0, np.float32), np.array(255, np.float32))
    return nb360.in_memory(request, POLICY, rows, training, test, (classes,), scale=scale)


TASK = Task(
    name="spherical",
    title="Spherical (CIFAR-100 on the sphere)",
    suites=("nas_bench_360", "quick"),
    kind="classes",
    input_shape=(3, 60, 60),
    output_shape=(100,),
    loss="cross_entropy",
    metric="error",
    paper_metric="error_chunks_1024",
    more_metrics=("error",),
    trivial="majority",
    backbone="swin_base",
    splits={"train": 40_000, "val": 10_000, "test": 10_000},
    split_policy=POLICY,
    files=(FILE,),
    recipe=published(opt="adamw", lr=1e-4, wd=0.1, batch=32, accum=4, epochs=60, warmup=5, decay=60),
    quick=quick(lr=5e-4, wd=0.05, accum=1, epochs=6, warmup=0.5, eval_batch=128, emb_epochs=2, emb_samples=32),
    sizes=sizes(samples=(50_000, 1_800, 100), chunk=(500, 20, 20), rotation_percent=(100, 10, 10)),
    read=read,
    generate=stand_in("tasks.generators.spherical", (FILE,)),
    licence="CC BY-SA (listed by NAS-Bench-360)",
    citation="Tu et al. 2022, NAS-Bench-360 (NeurIPS Datasets and Benchmarks); projection: Cohen et al. 2018, S2CNN",
    source=f"Official: {FILE.get}. The stand-in projects scikit-learn's digits by the same geometry.",
    defects=(
        "NAS-Bench-360 feeds raw values 0..255, later code divides by 255; this reader divides, without augmentation.",
        "The paper speaks of the northern hemisphere; the mask of the generator has no effect, a square of the southern"
        " one is covered.",
        "500 consecutive images share one rotation.",
    ),
)
