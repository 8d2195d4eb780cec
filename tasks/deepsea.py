"""DeepSEA: 36 chromatin features from 1,000 bases of DNA (NAS-Bench-360)."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Data, DataError, File, Request, Task

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

    nb360.check_options(request)
    path = find(request.root, FILE)
    x, y = {}, {}
    for part in ("train", "val", "test"):
        x[part] = read_binary(path, f"x_{part}", (None, 1000, 4), transpose_rows)
        y[part] = read_binary(path, f"y_{part}", (None, LABELS)).astype(np.float32)
        if len(x[part]) != len(y[part]):
            raise DataError(
                path, f"{len(x[part])} x_{part} and {len(y[part])} y_{part}", "as many of each", nb360.AGAIN
            )
    together, targets = np.concatenate([x["train"], x["val"]]), np.concatenate([y["train"], y["val"]])
    rows = nb360.limited(nb360.last_rows(len(together), len(x["val"])), request)
    parts = nb360.array_parts(together, targets, rows, x["test"], y["test"])
    absent = [part for part in parts if not parts[part].y.any(0).all()]  # type: ignore[attr-defined]
    return nb360.assemble(request, POLICY, rows, parts, (4, 1000), (LABELS,), {"labels_without_positives_in": absent})


def generate(root: Path, *, samples: int, **size: int) -> None:
    """Random DNA with planted motifs, in the layout of `deepsea_filtered.npz`: a label is on where its motif occurs.

    Imitates sequence-specific binding only; there is no biology in it.
    """
    from tasks.generators.deepsea import write

    write(root / FILE.path, samples=samples, **size)


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
    recipe={
        "trainer.optimizer": "adam",
        "trainer.lr": 1e-5,
        "trainer.weight_decay": 0.0,
        "trainer.batch_size": 16,
        "trainer.epochs": 13,
        "trainer.warmup_epochs": 10,
        "trainer.decay_epochs": 25,
        "trainer.clip": 1.0,
        "trainer.eval_batch_size": 1000,
        "model.target_seq_len": 512,
        "stage1.epochs": 60,
        "stage1.max_samples": 64,
    },
    quick={
        "trainer.lr": 3e-4,
        "trainer.epochs": 2,
        "trainer.warmup_epochs": 0.2,
        "trainer.decay_epochs": 2,
        "trainer.eval_batch_size": 64,
        "model.target_seq_len": 50,
        "stage1.epochs": 2,
        "stage1.max_samples": 16,
    },
    sizes={"published": {"samples": 71_753}, "quick": {"samples": 1_000}, "tiny": {"samples": 80}},
    read=read,
    generate=generate,
    licence="CC BY 4.0 (listed by NAS-Bench-360)",
    citation="Zhou & Troyanskaya 2015; Zhang et al. 2021 (AMBER); Tu et al. 2022, NAS-Bench-360",
    source=f"Official: {FILE.get}. The stand-in is synthesised.",
    defects=(
        "36 of 919 labels and 5 % of the training rows of the original data.",
        "Published code shuffles the test set and averages AUROC over chunks of about 1,000 rows.",
    ),
)
