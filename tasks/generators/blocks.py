"""Batched solvers whose samples still do not depend on how many are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tasks.generators.seeds import sample_rng


def in_blocks(
    task: str, samples: int, block: int, solve: Callable[[list[np.random.Generator]], np.ndarray]
) -> Iterator[np.ndarray]:
    """Samples one by one from `solve`, which makes `block` of them (first axis) from their generators.

    Blocks are always whole, the last one is cut: a sample shares its time steps and its place in memory with the same
    neighbours whatever the number of samples, so it is the same bit for bit.
    """
    for start in range(0, samples, block):
        made = solve([sample_rng(task, i) for i in range(start, start + block)])
        yield from made[: samples - start]
