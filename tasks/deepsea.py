"""DeepSEA: 36 chromatin features from 1,000 bases of DNA (NAS-Bench-360)."""

from __future__ import annotations

from tasks.contract import Data, DataError, File, Request, Task
from tasks.generators import stand_in
from tasks.recipe import published, quick, sizes

FILE = File(
    path="deepsea/deepsea_filtered.npz",
    get="the NAS-Bench-360 folder on Google Drive, folder id 1OOp6UrCiP79mTIkCrUdjjHWDo8K0bJUw (860 MB)",
)
LABELS = 36
POLICY = "as published, three parts of one file"


def read(request: Request) -> Data:
    """One-hot bases (n, 4, 1000) kept as uint8, targets (n, 36) in {0, 1}; `paper` adds validation to training."""
    import numpy as np

    from tasks.files import nb360
    from tasks.files.locate import find
    from tasks.files.npz import read_binary, transpose_rows

    request.check_options()
    path = find(request.root, FILE)
    x, y = {}, {}
    for part in ("train", "val", "test"):
        x[part] = read_binary(path, f"x_{part}", (None, 1000, 4), transpose_rows)
        y[part] = read_binary(path, f"y_{part}", (None, LABELS)).astype(np.float32)
        if len(x[part]) != len(y[part]):
            raise DataError(path, f"{len(x[part])} x_{part} and {len(y[part])} y_{part}", "as many of each")
    training = np.concatenate([x["train"], x["val"]]), np.concatenate([y["train"], y["val"]])
    rows = nb360.limited(nb360.last_rows(len(training[0]), len(x["val"])), request)
    targets = {part: training[1][index] for part, index in rows.items()} | {"test": y["test"]}
    notes = {"labels_without_positives_in": [part for part in targets if not targets[part].any(0).all()]}
    return nb360.in_memory(request, POLICY, rows, training, (x["test"], y["test"]), (LABELS,), notes=notes)


TASK = Task(
    name="deepsea",
    title="DeepSEA (chromatin features from DNA)",
    suites=("nas_bench_360",),
    kind="multilabel",
    input_shape=(4, 1000),
    output_shape=(LABELS,),
    loss="bce_pos4",
    metric="one_minus_auroc",
    paper_metric="one_minus_auroc_chunks_1008",
    more_metrics=("one_minus_map",),
    trivial="label_prior",
    backbone="roberta_base",
    splits={"train": 71_753, "val": 2_490, "test": 149_400},
    split_policy=POLICY,
    files=(FILE,),
    recipe=published(
        opt="adam", lr=1e-5, wd=0.0, batch=16, epochs=13, warmup=10, decay=25, clip=1.0, seq=512, emb_samples=64
    ),
    quick=quick(lr=3e-4, epochs=2, warmup=0.2, seq=50, eval_batch=64, emb_epochs=2, emb_samples=16),
    sizes=sizes(samples=(71_753, 1_000, 80)),
    read=read,
    generate=stand_in("tasks.generators.deepsea", (FILE,)),
    licence="CC BY 4.0 (listed by NAS-Bench-360)",
    citation="Zhou & Troyanskaya 2015; Zhang et al. 2021 (AMBER); Tu et al. 2022, NAS-Bench-360",
    source=f"Official: {FILE.get}. The stand-in is synthesised.",
    defects=(
        "36 of 919 labels and 5 % of the training rows of the original data.",
        "Published code shuffles the test set and averages AUROC over chunks of about 1,000 rows.",
    ),
)
