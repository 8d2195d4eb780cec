"""PDEBench 1D compressible Navier-Stokes (eta = zeta = 0.1, periodic): all fields at t = 0 to t = 1."""

from __future__ import annotations

from pathlib import Path

from tasks.contract import Data, Request, Task
from tasks.files.manifest import CITATION, LICENCE, MORE_METRICS, NO_VALIDATION, ONE_JUMP, official

FILE = official("1D_CFD_Rand_Eta0.1_Zeta0.1_periodic_Train.hdf5", about="12.4 GB")


def read(request: Request) -> Data:
    """Density, pressure, velocity at t = 0 and t = 1.

    `strict` keeps three channels of 1,024 points, standardises inputs and decodes predictions per channel. `paper` lays
    the fields end to end, 1 x 3072, and z-scores inputs and targets by the training inputs' point statistics.
    """
    from tasks.files.pairs import Pairs, cut, load
    from tasks.files.paper_cfd import end_to_end, normalise_by_inputs

    spec = Pairs(
        "cfd", "x", points=1024, frames=101, inputs=(0, 1, 2), targets=(0, 1, 2), paper_train=100, paper_test=100,
        constants={"eta": 0.1, "zeta": 0.1},
    )  # fmt: skip
    loaded = load(request, FILE, spec)
    if request.protocol == "paper":
        return cut(request, spec, normalise_by_inputs(end_to_end(loaded), spec.policy, request.limit))
    loaded.notes.update(published_input_shape=[3, 1024], published_output_shape=[3, 1024])  # not end to end
    return cut(request, spec, loaded, standardise=True)


def generate(root: Path, *, samples: int, nx: int, nt: int) -> None:
    """A finite-volume solution (MUSCL, HLLC), `nx` points by `nt` times."""
    from tasks.generators import cfd_1d

    cfd_1d.generate(root / FILE.path, samples=samples, nx=nx, nt=nt)


TASK = Task(
    name="cfd_1d",
    title="PDEBench 1D compressible Navier-Stokes (eta = zeta = 0.1)",
    suites=("pdebench",),
    kind="dense",
    input_shape=(1, 3072),
    output_shape=(1, 3072),
    loss="rmse",
    metric="nrmse",
    more_metrics=MORE_METRICS,
    trivial="mean",
    backbone="roberta_base",
    splits={"train": 8100, "val": 900, "test": 1000},
    split_policy="pdebench-first10: the first 10 % are test; a seeded 10 % of the rest is validation (strict)",
    files=(FILE,),
    recipe={
        "trainer.optimizer": "adamw",
        "trainer.lr": 1e-4,
        "trainer.weight_decay": 1e-3,
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
    quick={
        "trainer.optimizer": "adamw",
        "trainer.lr": 5e-4,
        "trainer.batch_size": 32,
        "trainer.epochs": 8,
        "trainer.warmup_epochs": 1,
        "trainer.decay_epochs": 8,
        "model.target_seq_len": 16,
        "stage1.epochs": 3,
        "stage1.max_samples": 32,
    },
    sizes={
        "published": {"samples": 288, "nx": 128, "nt": 51},
        "quick": {"samples": 96, "nx": 64, "nt": 6},
        "tiny": {"samples": 24, "nx": 32, "nt": 3},
    },
    paper_metric="nrmse_normalised",
    paper_more_metrics=("rmse_normalised", "max_error_normalised"),
    read=read,
    generate=generate,
    licence=LICENCE,
    citation=CITATION,
    source="PDEBench on DaRUS; the stand-in solves the same equations from independent draws of the same family",
    defects=(
        "Published code z-scores inputs and targets by the inputs' statistics and never undoes it: its score lives in "
        "that space (nrmse_normalised) and must not stand beside nrmse.",
        "Published code lays the three fields end to end, 1 x 3072; strict keeps (3, 1024).",
        "In physical units pressure (mean 59) outweighs density (6) and velocity (0.5): see nrmse_pertimestep too.",
        "Random keys are re-used in the generator: pressure shapes of one run of 1,000 equal the density shapes of the "
        "next, so training and test samples share field shapes.",
        "About 2.4 % off the best solver of the stated equations; viscosity enters as rho times eta.",
        "Training loss is the RMSE in published code, the score the nRMSE.",
        ONE_JUMP,
        NO_VALIDATION,
    ),
)
