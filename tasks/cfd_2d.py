"""PDEBench 2D compressible Navier-Stokes (M = 1, eta = zeta = 0.1): all fields at t = 0 to t = 1."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Data, Request, Task
from tasks.files.manifest import CITATION, LICENCE, MORE_METRICS, NO_VALIDATION, ONE_JUMP, official

FILE = official("2D_CFD_Rand_M1.0_Eta0.1_Zeta0.1_periodic_128_Train.hdf5", size=55_050_245_208)


def read(request: Request) -> Data:
    """Density, pressure and both velocities at t = 0 and t = 1, every second of 128 x 128 points.

    `strict` standardises inputs and decodes predictions per channel. `paper` z-scores inputs and targets per point by
    the first 100 samples of the file, and tests on the last 10 %.
    """
    from tasks.files.pairs import Pairs, cut, load
    from tasks.files.paper_cfd import normalise_each_frame

    channels = (0, 1, 2, 3)
    spec = Pairs(
        "cfd", "xy", points=64, stored=128, frames=21, inputs=channels, targets=channels, paper_train=20, paper_test=20,
        constants={"m": 1.0, "eta": 0.1, "zeta": 0.1},
    )  # fmt: skip
    loaded = load(request, FILE, spec)
    if request.protocol == "paper":
        return cut(request, spec, normalise_each_frame(loaded, first=100), policy="pdebench-last10")
    return cut(request, spec, loaded, standardise=True)


def generate(root: Path, *, samples: int, nx: int, nt: int) -> None:
    """A finite-volume solution (MUSCL, HLLC), `nx` by `nx` cells, `nt` times."""
    from tasks.generators import cfd_2d

    cfd_2d.generate(root / FILE.path, samples=samples, nx=nx, nt=nt)


TASK = Task(
    name="cfd_2d",
    title="PDEBench 2D compressible Navier-Stokes (M 1.0, eta = zeta = 0.1)",
    suites=("extra",),
    kind="dense",
    input_shape=(4, 64, 64),
    output_shape=(4, 64, 64),
    loss="nrmse",
    metric="nrmse",
    more_metrics=MORE_METRICS,
    trivial="mean",
    backbone="swin_base",
    splits={"train": 8100, "val": 900, "test": 1000},
    split_policy="pdebench-first10: the first 10 % are test; a seeded 10 % of the rest is validation (strict)",
    files=(FILE,),
    recipe={
        "trainer.optimizer": "adamw",
        "trainer.lr": 1e-3,
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
        "published": {"samples": 48, "nx": 32, "nt": 11},
        "quick": {"samples": 24, "nx": 16, "nt": 3},
        "tiny": {"samples": 16, "nx": 8, "nt": 2},
    },
    paper_metric="nrmse_normalised",
    paper_more_metrics=("rmse_normalised", "max_error_normalised"),
    read=read,
    generate=generate,
    licence=LICENCE,
    citation=CITATION,
    source="PDEBench on DaRUS; the stand-in solves the same equations from the same kind of random fields",
    defects=(
        "Published code has this task, no published table does.",
        "Published code z-scores every point, time and channel by the first 100 samples and never undoes it: its score "
        "lives in that space (nrmse_normalised).",
        "Published code tests on the last 10 % of this flat file; PDEBench and strict on the first 10 %.",
        "Published heads pool three planes into four channels: rank 3.",
        "Some official trajectories look odd, and the continuity check fails at the coarse time step.",
        ONE_JUMP,
        NO_VALIDATION,
    ),
)
