"""PDEBench 1D compressible Navier-Stokes (eta = zeta = 0.1, periodic): all fields at t = 0 to t = 1."""

from __future__ import annotations

from tasks.contract import Data, Request
from tasks.files.manifest import official
from tasks.generators import stand_in
from tasks.pde import Pairs, pde
from tasks.recipe import published, quick, sizes

FILE = official("1D_CFD_Rand_Eta0.1_Zeta0.1_periodic_Train.hdf5", about="12.4 GB")
PAIRS = Pairs(
    "cfd", "x", points=1024, frames=101, inputs=(0, 1, 2), targets=(0, 1, 2), paper_train=100, paper_test=100,
    constants={"eta": 0.1, "zeta": 0.1},
)  # fmt: skip


def read(request: Request) -> Data:
    """Density, pressure, velocity at t = 0 and t = 1.

    `strict` keeps three channels of 1,024 points, standardises inputs and decodes predictions per channel. `paper` lays
    the fields end to end, 1 x 3072, and z-scores inputs and targets by the training inputs' point statistics.
    """
    from tasks.files.pairs import cut, end_to_end, load, normalise_by_inputs

    loaded = load(request, FILE, PAIRS)
    if request.protocol == "paper":
        return cut(request, PAIRS, normalise_by_inputs(request, end_to_end(loaded), PAIRS.policy))
    loaded.notes.update(published_input_shape=[3, 1024], published_output_shape=[3, 1024])  # not end to end
    return cut(request, PAIRS, loaded, standardise=True)


TASK = pde(
    name="cfd_1d",
    title="PDEBench 1D compressible Navier-Stokes (eta = zeta = 0.1)",
    file=FILE,
    pairs=PAIRS,
    shape=(1, 3072),
    loss="rmse",
    paper_metric="nrmse_normalised",
    paper_more_metrics=("rmse_normalised", "max_error_normalised"),
    recipe=published(opt="adamw", lr=1e-4, wd=1e-3, batch=4, epochs=200, warmup=5, decay=200, clip=1.0, seq=128),
    quick=quick(epochs=8),
    sizes=sizes(samples=(288, 96, 24), nx=(128, 64, 32), nt=(51, 6, 3)),
    read=read,
    generate=stand_in("tasks.generators.cfd_1d", (FILE,)),
    stand_in="solves the same equations from independent draws of the same family",
    defects=(
        "Published code z-scores inputs and targets by the inputs' statistics and never undoes it: its score lives in "
        "that space (nrmse_normalised) and must not stand beside nrmse.",
        "Published code lays the three fields end to end, 1 x 3072; strict keeps (3, 1024).",
        "In physical units pressure (mean 59) outweighs density (6) and velocity (0.5): see nrmse_pertimestep too.",
        "Random keys are re-used in the generator: pressure shapes of one run of 1,000 equal the density shapes of the "
        "next, so training and test samples share field shapes.",
        "About 2.4 % off the best solver of the stated equations; viscosity enters as rho times eta.",
        "Training loss is the RMSE in published code, the score the nRMSE.",
    ),
)
