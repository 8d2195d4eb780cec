"""PDEBench 1D advection, beta = 0.4: from the state at t = 0 to the state at t = 2."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Data, Request, Task
from tasks.files.manifest import CITATION, LICENCE, MORE_METRICS, NO_VALIDATION, ONE_JUMP, official

FILE = official("1D_Advection_Sols_beta0.4.hdf5", size=8_232_966_952)


def read(request: Request) -> Data:
    """u(., 0) and u(., 2) at every fourth of 1,024 points; a file that moves at the wrong speed is refused."""
    from tasks.files.pairs import Pairs, cut, load
    from tasks.files.stale import check_speed

    spec = Pairs(
        "scalar", "x", points=256, stored=1024, frames=201, paper_train=200, paper_test=200, constants={"beta": 0.4}
    )
    loaded = load(request, FILE, spec)
    found = check_speed(loaded.header, 0.4, bool(request.options.get("allow_stale")))
    loaded.notes.update({**found, "warnings": [*loaded.notes["warnings"], *found["warnings"]]})
    return cut(request, spec, loaded)


def generate(root: Path, *, samples: int, nx: int, nt: int) -> None:
    """The exact solution for PDEBench's random sines, `nx` points by `nt` times."""
    from tasks.generators import advection

    advection.generate(root / FILE.path, samples=samples, nx=nx, nt=nt)


TASK = Task(
    name="advection",
    title="PDEBench 1D advection (beta 0.4)",
    suites=("pdebench", "quick"),
    kind="dense",
    input_shape=(1, 256),
    output_shape=(1, 256),
    loss="nrmse",
    metric="nrmse",
    more_metrics=MORE_METRICS,
    trivial="mean",
    backbone="roberta_base",
    splits={"train": 8100, "val": 900, "test": 1000},
    split_policy="pdebench-first10: the first 10 % are test; a seeded 10 % of the rest is validation (strict)",
    files=(FILE,),
    recipe={
        "trainer.optimizer": "adam",
        "trainer.lr": 1e-4,
        "trainer.weight_decay": 1e-5,
        "trainer.batch_size": 4,
        "trainer.epochs": 200,
        "trainer.warmup_epochs": 5,
        "trainer.decay_epochs": 200,
        "trainer.clip": 1.0,
        "trainer.eval_batch_size": 1000,
        "model.target_seq_len": 512,
        "stage1.epochs": 60,
        "stage1.max_samples": 128,
    },
    quick={
        "trainer.optimizer": "adamw",
        "trainer.lr": 5e-4,
        "trainer.batch_size": 32,
        "trainer.epochs": 4,
        "trainer.warmup_epochs": 1,
        "trainer.decay_epochs": 4,
        "model.target_seq_len": 8,
        "stage1.epochs": 1,
        "stage1.max_samples": 32,
    },
    sizes={
        "published": {"samples": 300, "nx": 256, "nt": 41},
        "quick": {"samples": 1200, "nx": 128, "nt": 11},
        "tiny": {"samples": 24, "nx": 64, "nt": 11},
    },
    read=read,
    generate=generate,
    licence=LICENCE,
    citation=CITATION,
    source="PDEBench on DaRUS; the stand-in is the exact solution for the same family of initial conditions",
    defects=(
        "Files downloaded before October 2023 move at twice the stated speed. The speed is measured and noted in the"
        " record; a file that is more than 5 % off is refused.",
        "Last frame against the exact shift: relative error 1e-4 to 1.4e-2 (numerical diffusion), worst for windowed "
        "and folded initial conditions.",
        "Decimation [::4] gives points that are not the cell centres of a coarser grid (offset -1.5 dx).",
        ONE_JUMP,
        NO_VALIDATION,
    ),
)
