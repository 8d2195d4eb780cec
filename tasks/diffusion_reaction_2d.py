"""PDEBench 2D diffusion-reaction (FitzHugh-Nagumo): u at t = 0 to v at t = 5."""

from __future__ import annotations

from tasks.files.manifest import official
from tasks.generators import stand_in
from tasks.pde import Pairs, pde
from tasks.recipe import converged, published, sizes

FILE = official("2D_diff-react_NA_NA.h5", about="13 GB")


TASK = pde(
    name="diffusion_reaction_2d",
    title="PDEBench 2D diffusion-reaction",
    file=FILE,
    pairs=Pairs(
        "grouped",
        "yx",
        points=128,
        frames=101,
        inputs=(0,),
        targets=(1,),
        paper_train=100,
        paper_test=99,
        policy="pdebench-last10",
    ),
    suites=("pdebench", "evidence"),
    samples=1000,
    recipe=published(opt="adam", lr=1e-4, wd=1e-3, batch=4, epochs=200, warmup=5, decay=200, clip=1.0),
    converged=converged(lr=2e-3, epochs=30, patience=8),
    sizes=sizes({"samples": 256}, samples=(200, 128, 24), nx=(32, 32, 32), nt=(21, 6, 3)),
    generate=stand_in("tasks.generators.diffusion_reaction_2d", (FILE,)),
    stand_in="solves the same equations from the same kind of noise",
    defects=(
        "Nearly unlearnable as published: the input is u alone, the target v, and v(0) is independent noise that the "
        "model never sees. Published scores are near 0.8.",
        "u at the end is never predicted.",
        "Axes are stored (t, y, x, c), unlike shallow water and Darcy.",
        "Published code trains on frame 100 and tests on frame 99.",
    ),
)
