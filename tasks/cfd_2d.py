"""PDEBench 2D compressible Navier-Stokes (M = 1, eta = zeta = 0.1): all fields at t = 0 to t = 1."""

from __future__ import annotations

from tasks.contract import Data, Request
from tasks.files.manifest import official
from tasks.generators import stand_in
from tasks.pde import Pairs, pde
from tasks.recipe import published, sizes

FILE = official("2D_CFD_Rand_M1.0_Eta0.1_Zeta0.1_periodic_128_Train.hdf5", size=55_050_245_208)
PAIRS = Pairs(
    "cfd", "xy", points=64, stored=128, frames=21, inputs=(0, 1, 2, 3), targets=(0, 1, 2, 3), paper_train=20,
    paper_test=20, constants={"m": 1.0, "eta": 0.1, "zeta": 0.1},
)  # fmt: skip


def read(request: Request) -> Data:
    """Density, pressure and both velocities at t = 0 and t = 1, every second of 128 x 128 points.

    `strict` standardises inputs and decodes predictions per channel. `paper` z-scores inputs and targets per point by
    the first 100 samples of the file, and tests on the last 10 %.
    """
    from tasks.files.pairs import cut, load, normalise_each_frame

    loaded = load(request, FILE, PAIRS)
    if request.protocol == "paper":
        return cut(request, PAIRS, normalise_each_frame(loaded, first=100), policy="pdebench-last10")
    return cut(request, PAIRS, loaded, standardise=True)


TASK = pde(
    name="cfd_2d",
    title="PDEBench 2D compressible Navier-Stokes (M 1.0, eta = zeta = 0.1)",
    file=FILE,
    pairs=PAIRS,
    suites=("extra",),
    paper_metric="nrmse_normalised",
    paper_more_metrics=("rmse_normalised", "max_error_normalised"),
    recipe=published(opt="adamw", lr=1e-3, wd=1e-3, batch=4, epochs=200, warmup=5, decay=200, clip=1.0),
    sizes=sizes(samples=(48, 24, 16), nx=(32, 16, 8), nt=(11, 3, 2)),
    read=read,
    generate=stand_in("tasks.generators.cfd_2d", (FILE,)),
    stand_in="solves the same equations from the same kind of random fields",
    defects=(
        "Published code has this task, no published table does.",
        "Published code z-scores every point, time and channel by the first 100 samples and never undoes it: its score "
        "lives in that space (nrmse_normalised).",
        "Published code tests on the last 10 % of this flat file; PDEBench and strict on the first 10 %.",
        "Published heads pool three planes into four channels: rank 3.",
        "Some official trajectories look odd, and the continuity check fails at the coarse time step.",
    ),
)
