"""PDEBench 2D diffusion-reaction (FitzHugh-Nagumo): u at t = 0 to v at t = 5."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Data, Request, Task
from tasks.files.manifest import CITATION, LICENCE, MORE_METRICS, NO_VALIDATION, ONE_JUMP, official

FILE = official("2D_diff-react_NA_NA.h5", about="13 GB")


def read(request: Request) -> Data:
    """Channel 0 (u) at t = 0 and channel 1 (v) at t = 5, 128 x 128; under `paper`, frames 100 and 99."""
    from tasks.files.pairs import Pairs, read_pairs

    spec = Pairs(
        "grouped", "yx", points=128, frames=101, inputs=(0,), targets=(1,),
        paper_train=100, paper_test=99, policy="pdebench-last10",
    )  # fmt: skip
    return read_pairs(request, FILE, spec)


def generate(root: Path, *, samples: int, nx: int, nt: int) -> None:
    """An explicit Runge-Kutta solution from white noise, `nx` by `nx` cells, `nt` times."""
    from tasks.generators import diffusion_reaction_2d

    diffusion_reaction_2d.generate(root / FILE.path, samples=samples, nx=nx, nt=nt)


TASK = Task(
    name="diffusion_reaction_2d",
    title="PDEBench 2D diffusion-reaction",
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
        "trainer.optimizer": "adam",
        "trainer.lr": 1e-4,
        "trainer.weight_decay": 1e-3,
        "trainer.batch_size": 4,
        "trainer.epochs": 200,
        "trainer.warmup_epochs": 5,
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
        "published": {"samples": 200, "nx": 32, "nt": 21},
        "quick": {"samples": 128, "nx": 32, "nt": 6},
        "tiny": {"samples": 24, "nx": 32, "nt": 3},
    },
    read=read,
    generate=generate,
    licence=LICENCE,
    citation=CITATION,
    source="PDEBench on DaRUS; the stand-in solves the same equations from the same kind of noise",
    defects=(
        "Nearly unlearnable as published: the input is u alone, the target v, and v(0) is independent noise that the "
        "model never sees. Published scores are near 0.8.",
        "u at the end is never predicted.",
        "Axes are stored (t, y, x, c), unlike shallow water and Darcy.",
        "Published code trains on frame 100 and tests on frame 99.",
        ONE_JUMP,
        NO_VALIDATION,
    ),
)
