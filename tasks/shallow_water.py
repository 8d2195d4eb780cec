"""PDEBench 2D shallow water (radial dam break): the depth at t = 0 to the depth at t = 1."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Data, Request, Task
from tasks.files.manifest import CITATION, LICENCE, MORE_METRICS, NO_VALIDATION, ONE_JUMP, official

FILE = official("2D_rdb_NA_NA.h5", about="6.2 GB")


def read(request: Request) -> Data:
    """The depth at t = 0 and t = 1, 128 x 128; under `paper`, frame 100 to train and 99 to test."""
    from tasks.files.pairs import Pairs, read_pairs

    spec = Pairs("grouped", "xy", points=128, frames=101, paper_train=100, paper_test=99, policy="pdebench-last10")
    return read_pairs(request, FILE, spec)


def generate(root: Path, *, samples: int, nx: int, nt: int) -> None:
    """The radial solution averaged onto `nx` by `nx` cells (`nx` even), `nt` times."""
    from tasks.generators import shallow_water

    shallow_water.generate(root / FILE.path, samples=samples, nx=nx, nt=nt)


TASK = Task(
    name="shallow_water",
    title="PDEBench 2D shallow water",
    suites=("pdebench",),
    kind="dense",
    input_shape=(1, 128, 128),
    output_shape=(1, 128, 128),
    loss="nrmse",
    metric="nrmse",
    more_metrics=MORE_METRICS,
    trivial="mean",
    backbone="swin_base",
    splits={"train": 810, "val": 90, "test": 100},
    split_policy="pdebench-last10: the last 10 % are test; a seeded 10 % of the rest is validation (strict)",
    files=(FILE,),
    recipe={
        "trainer.optimizer": "adamw",
        "trainer.lr": 1e-4,
        "trainer.weight_decay": 0.0,
        "trainer.batch_size": 4,
        "trainer.epochs": 200,
        "trainer.warmup_epochs": 10,
        "trainer.decay_epochs": 200,
        "trainer.clip": 1.0,
        "trainer.eval_batch_size": 1000,
        "stage1.epochs": 60,
        "stage1.max_samples": 128,
    },
    quick={
        "trainer.optimizer": "adamw",
        "trainer.lr": 1e-3,
        "trainer.batch_size": 16,
        "trainer.epochs": 6,
        "trainer.warmup_epochs": 1,
        "trainer.decay_epochs": 6,
        "stage1.epochs": 3,
        "stage1.max_samples": 32,
    },
    sizes={
        "published": {"samples": 200, "nx": 64, "nt": 21},
        "quick": {"samples": 96, "nx": 32, "nt": 6},
        "tiny": {"samples": 24, "nx": 32, "nt": 3},
    },
    read=read,
    generate=generate,
    licence=LICENCE,
    citation=CITATION,
    source="PDEBench on DaRUS; the stand-in solves the same dam break in the radius",
    defects=(
        "A sample carries a single number, the radius of the dam.",
        "Two official splits exist: PDEBench's single-file loader tests on the first 10 % (and wants a group `0023`), "
        "its multi-file loader and published cross-modal code on the last 10 %, as here.",
        "Only the depth is stored; axes are (t, x, y), unlike diffusion-reaction 2D.",
        "Published code trains on frame 100 and tests on frame 99.",
        ONE_JUMP,
        NO_VALIDATION,
    ),
)
