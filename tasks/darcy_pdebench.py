"""PDEBench Darcy flow, beta = 0.1: from the permeability a to the pressure u."""

from __future__ import annotations

from tasks.contract import Data, Request
from tasks.files.manifest import official
from tasks.generators import stand_in
from tasks.pde import Pairs, pde
from tasks.recipe import published, sizes

FILE = official("2D_DarcyFlow_beta0.1_Train.hdf5", about="1.3 GB")
PAIRS = Pairs("darcy", "xy", points=64, stored=128, frames=1, inputs=(0,), targets=(1,), constants={"beta": 0.1})


def read(request: Request) -> Data:
    """`nu` and `tensor` at every second of 128 x 128 points.

    `strict` standardises inputs and decodes predictions (one mean and deviation each): u is of order 0.02.
    """
    from tasks.files.pairs import cut, load

    return cut(request, PAIRS, load(request, FILE, PAIRS), standardise=request.protocol == "strict")


TASK = pde(
    name="darcy_pdebench",
    title="PDEBench Darcy flow (beta 0.1)",
    file=FILE,
    pairs=PAIRS,
    suites=("pdebench", "quick"),
    recipe=published(opt="adamw", lr=1e-4, wd=1e-5, batch=4, epochs=100, warmup=5, decay=200, eval_batch=100),
    sizes=sizes(samples=(300, 200, 24), nx=(64, 32, 32)),
    read=read,
    generate=stand_in("tasks.generators.darcy_pdebench", (FILE,)),
    stand_in="is the discrete steady state for the same family of coefficients",
    defects=(
        "Official targets for small beta are no steady states: they are the frame at t = 1.75 of a relaxation from an "
        "undisclosed random state. Distance from the steady state in emulations at beta 0.1: mean 0.15 to 0.30, median "
        "0.011 to 0.019, maximum 1.5; it cannot be learnt from the input.",
        "The reference thresholds the coefficient at each batch's mean, so the 200 samples of a batch are coupled.",
        "Coefficients are not those of FNO's Darcy data (task darcy_nb360).",
        "The solution is zero one half cell outside the grid (ghost cells), not on its edge.",
    ),
)
