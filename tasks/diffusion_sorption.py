"""PDEBench 1D diffusion-sorption: from a constant state to the front at t = 500."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Data, Request, Task
from tasks.files.manifest import CITATION, LICENCE, MORE_METRICS, NO_VALIDATION, ONE_JUMP, official

FILE = official("1D_diff-sorp_NA_NA.h5", about="4.0 GB")


def read(request: Request) -> Data:
    """Channel 0 at t = 0 and t = 500, all 1,024 points; under `paper`, frame 100 to train and 99 to test."""
    from tasks.files.pairs import Pairs, read_pairs

    spec = Pairs("grouped", "x", points=1024, frames=101, paper_train=100, paper_test=99, policy="pdebench-last10")
    return read_pairs(request, FILE, spec)


def generate(root: Path, *, samples: int, nx: int, nt: int) -> None:
    """A stiff, converged solution, `nx` points by `nt` times."""
    from tasks.generators import diffusion_sorption

    diffusion_sorption.generate(root / FILE.path, samples=samples, nx=nx, nt=nt)


TASK = Task(
    name="diffusion_sorption",
    title="PDEBench 1D diffusion-sorption",
    suites=("pdebench",),
    kind="dense",
    input_shape=(1, 1024),
    output_shape=(1, 1024),
    loss="nrmse",
    metric="nrmse",
    more_metrics=MORE_METRICS,
    trivial="mean",
    backbone="roberta_base",
    splits={"train": 8100, "val": 900, "test": 1000},
    split_policy="pdebench-last10: the last 10 % are test; a seeded 10 % of the rest is validation (strict)",
    files=(FILE,),
    recipe={
        "trainer.optimizer": "adamw",
        "trainer.lr": 1e-4,
        "trainer.weight_decay": 0.0,
        "trainer.batch_size": 4,
        "trainer.epochs": 200,
        "trainer.warmup_epochs": 5,
        "trainer.decay_epochs": 200,
        "trainer.clip": 1.0,
        "trainer.eval_batch_size": 1000,
        "model.target_seq_len": 32,
        "stage1.epochs": 60,
        "stage1.max_samples": 128,
    },
    quick={
        "trainer.optimizer": "adamw",
        "trainer.lr": 5e-4,
        "trainer.batch_size": 32,
        "trainer.epochs": 6,
        "trainer.warmup_epochs": 1,
        "trainer.decay_epochs": 6,
        "model.target_seq_len": 16,
        "stage1.epochs": 3,
        "stage1.max_samples": 32,
    },
    sizes={
        "published": {"samples": 300, "nx": 256, "nt": 51},
        "quick": {"samples": 160, "nx": 128, "nt": 11},
        "tiny": {"samples": 24, "nx": 64, "nt": 6},
    },
    read=read,
    generate=generate,
    licence=LICENCE,
    citation=CITATION,
    source="PDEBench on DaRUS; the stand-in is the converged solution of the same discrete equation",
    defects=(
        "Integrated with an explicit method at default tolerance although stiff: 0.5 % (t = 5) to 1.7 % (t = 500) off "
        "the converged solution, a smooth bias.",
        "The initial state is a constant (intended), so a sample carries a single number.",
        "The right wall is not no-flux as stated: its ghost cell holds D du/dx, nearly 0, so it behaves like u = 0.",
        "Published code trains on frame 100 and tests on frame 99.",
        ONE_JUMP,
        NO_VALIDATION,
    ),
)
