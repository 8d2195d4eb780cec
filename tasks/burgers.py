"""PDEBench 1D Burgers, nu = 1: from the state at t = 0 to the state at t = 2."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Data, Request, Task
from tasks.files.manifest import CITATION, LICENCE, MORE_METRICS, NO_VALIDATION, ONE_JUMP, official

FILE = official("1D_Burgers_Sols_Nu1.0.hdf5", about="8.2 GB")


def read(request: Request) -> Data:
    """u(., 0) and u(., 2) at all 1,024 points; a file with x in (-1, 1) is accepted with a warning."""
    from tasks.files.pairs import Pairs, cut, load
    from tasks.files.stale import burgers_domain

    spec = Pairs("scalar", "x", points=1024, frames=201, paper_train=200, paper_test=200, constants={"nu": 1.0})
    loaded = load(request, FILE, spec)
    loaded.notes["warnings"] += burgers_domain(loaded.header)
    return cut(request, spec, loaded)


def generate(root: Path, *, samples: int, nx: int, nt: int) -> None:
    """A spectral solution from PDEBench's random sines, `nx` points by `nt` times."""
    from tasks.generators import burgers

    burgers.generate(root / FILE.path, samples=samples, nx=nx, nt=nt)


TASK = Task(
    name="burgers",
    title="PDEBench 1D Burgers (nu 1.0)",
    suites=("pdebench",),
    kind="dense",
    input_shape=(1, 1024),
    output_shape=(1, 1024),
    loss="rmse",
    metric="nrmse",
    more_metrics=MORE_METRICS,
    trivial="mean",
    backbone="roberta_base",
    splits={"train": 8100, "val": 900, "test": 1000},
    split_policy="pdebench-first10: the first 10 % are test; a seeded 10 % of the rest is validation (strict)",
    files=(FILE,),
    recipe={
        "trainer.optimizer": "adam",
        "trainer.lr": 1e-5,
        "trainer.weight_decay": 1e-5,
        "trainer.batch_size": 4,
        "trainer.epochs": 200,
        "trainer.warmup_epochs": 5,
        "trainer.decay_epochs": 200,
        "trainer.clip": 1.0,
        "trainer.eval_batch_size": 1000,
        "model.target_seq_len": 128,
        "stage1.epochs": 60,
        "stage1.max_samples": 128,
    },
    # the embedder of published code is cut for the 256 points that it declares; the 1,024 it gets make 512 tokens
    paper_recipe={"model.target_seq_len": 512},
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
        "published": {"samples": 300, "nx": 256, "nt": 41},
        "quick": {"samples": 256, "nx": 128, "nt": 11},
        "tiny": {"samples": 24, "nx": 64, "nt": 6},
    },
    read=read,
    generate=generate,
    licence=LICENCE,
    citation=CITATION,
    source="PDEBench on DaRUS; the stand-in is a spectral solution for the same family of initial conditions",
    defects=(
        "Frozen: in files made with the reference generator every frame from number 3 to 38 on is bit-identical to the "
        "last, the mean plus a residue of deviation 3e-4 to 5e-3. The task is in effect to predict the input's mean.",
        "Files downloaded before 2024 carry x in (-1, 1); they are accepted with a warning.",
        "Published code declares 1 x 256 but reads 1 x 1024: its embedder, cut for 128 tokens, then makes 512 (`paper`).",
        "Training loss is the RMSE, the score the nRMSE.",
        ONE_JUMP,
        NO_VALIDATION,
    ),
)
