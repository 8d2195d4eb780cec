"""PDEBench 2D shallow water (radial dam break): the depth at t = 0 to the depth at t = 1."""

from __future__ import annotations

from tasks.files.manifest import official
from tasks.generators import stand_in
from tasks.pde import Pairs, pde
from tasks.recipe import published, sizes

FILE = official("2D_rdb_NA_NA.h5", about="6.2 GB")


TASK = pde(
    name="shallow_water",
    title="PDEBench 2D shallow water",
    file=FILE,
    pairs=Pairs("grouped", "xy", points=128, frames=101, paper_train=100, paper_test=99, policy="pdebench-last10"),
    samples=1000,
    recipe=published(opt="adamw", lr=1e-4, wd=0.0, batch=4, epochs=200, warmup=10, decay=200, clip=1.0),
    sizes=sizes(samples=(200, 96, 24), nx=(64, 32, 32), nt=(21, 6, 3)),
    generate=stand_in("tasks.generators.shallow_water", (FILE,)),
    stand_in="solves the same dam break in the radius",
    defects=(
        "A sample carries a single number, the radius of the dam.",
        "Two official splits exist: PDEBench's single-file loader tests on the first 10 % (and wants a group `0023`), "
        "its multi-file loader and published cross-modal code on the last 10 %, as here.",
        "Only the depth is stored; axes are (t, x, y), unlike diffusion-reaction 2D.",
        "Published code trains on frame 100 and tests on frame 99.",
    ),
)
