"""PDEBench Darcy flow, beta = 0.1: from the permeability a to the pressure u."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Data, Request, Task
from tasks.files.manifest import CITATION, LICENCE, MORE_METRICS, NO_VALIDATION, official

FILE = official("2D_DarcyFlow_beta0.1_Train.hdf5", about="1.3 GB")


def read(request: Request) -> Data:
    """`nu` and `tensor` at every second of 128 x 128 points.

    `strict` standardises inputs and decodes predictions (one mean and deviation each): u is of order 0.02.
    """
    from tasks.files.pairs import Pairs, read_pairs

    spec = Pairs("darcy", "xy", points=64, stored=128, frames=1, inputs=(0,), targets=(1,), constants={"beta": 0.1})
    return read_pairs(request, FILE, spec, standardise=request.protocol == "strict")


def generate(root: Path, *, samples: int, nx: int) -> None:
    """The steady state on an `nx` by `nx` grid."""
    from tasks.generators import darcy_pdebench

    darcy_pdebench.generate(root / FILE.path, samples=samples, nx=nx)


TASK = Task(
    name="darcy_pdebench",
    title="PDEBench Darcy flow (beta 0.1)",
    suites=("pdebench", "quick"),
    kind="dense",
    input_shape=(1, 64, 64),
    output_shape=(1, 64, 64),
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
        "trainer.lr": 1e-4,
        "trainer.weight_decay": 1e-5,
        "trainer.batch_size": 4,
        "trainer.epochs": 100,
        "trainer.warmup_epochs": 5,
        "trainer.decay_epochs": 200,
        "trainer.eval_batch_size": 100,
        "stage1.epochs": 60,
        "stage1.max_samples": 128,
    },
    quick={
        "trainer.lr": 1e-3,
        "trainer.batch_size": 16,
        "trainer.epochs": 6,
        "trainer.warmup_epochs": 1,
        "trainer.decay_epochs": 6,
        "stage1.epochs": 3,
        "stage1.max_samples": 32,
    },
    sizes={
        "published": {"samples": 300, "nx": 64},
        "quick": {"samples": 200, "nx": 32},
        "tiny": {"samples": 24, "nx": 32},
    },
    read=read,
    generate=generate,
    licence=LICENCE,
    citation=CITATION,
    source="PDEBench on DaRUS; the stand-in is the discrete steady state for the same family of coefficients",
    defects=(
        "Official targets for small beta are no steady states: they are the frame at t = 1.75 of a relaxation from an "
        "undisclosed random state. Distance from the steady state in emulations at beta 0.1: mean 0.15 to 0.30, median "
        "0.011 to 0.019, maximum 1.5; it cannot be learnt from the input.",
        "The reference thresholds the coefficient at each batch's mean, so the 200 samples of a batch are coupled.",
        "Coefficients are not those of FNO's Darcy data (task darcy_nb360).",
        "The solution is zero one half cell outside the grid (ghost cells), not on its edge.",
        NO_VALIDATION,
    ),
)
