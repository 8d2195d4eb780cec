"""PDEBench 2D shallow water (radial dam break): the depth at t = 0 to the depth at t = 1."""

from __future__ import annotations

from pathlib import Path

from tasks.files.manifest import official
from tasks.pde import Pairs, pde
from tasks.recipe import published

FILE = official("2D_rdb_NA_NA.h5", about="6.2 GB")


def generate(root: Path, *, samples: int, nx: int, nt: int) -> None:
    """The radial solution averaged onto `nx` by `nx` cells (`nx` even), `nt` times."""
    from tasks.generators import shallow_water

    shallow_water.generate(root / FILE.path, samples=samples, nx=nx, nt=nt)


TASK = pde(
    name="shallow_water",
    title="PDEBench 2D shallow water",
    file=FILE,
    pairs=Pairs("grouped", "xy", points=128, frames=101, paper_train=100, paper_test=99, policy="pdebench-last10"),
    samples=1000,
    recipe=published(opt="adamw", lr=1e-4, wd=0.0, batch=4, epochs=200, warmup=10, decay=200, clip=1.0),
    sizes={
        "published": {"samples": 200, "nx": 64, "nt": 21},
        "quick": {"samples": 96, "nx": 32, "nt": 6},
        "tiny": {"samples": 24, "nx": 32, "nt": 3},
    },
    generate=generate,
    stand_in="solves the same dam break in the radius",
    defects=(
        "A sample carries a single number, the radius of the dam.",
        "Two official splits exist: PDEBench's single-file loader tests on the first 10 % (and wants a group `0023`), "
        "its multi-file loader and published cross-modal code on the last 10 %, as here.",
        "Only the depth is stored; axes are (t, x, y), unlike diffusion-reaction 2D.",
        "Published code trains on frame 100 and tests on frame 99.",
    ),
)
