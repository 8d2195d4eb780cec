"""One random generator per sample, so that asking for more samples never changes the first ones."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import numpy as np


def seed_of(task: str, i: int) -> list[int]:
    """The entropy of sample `i` of `task`: [CRC-32 of the task's name, i]."""
    return [zlib.crc32(task.encode()), i]


def sample_rng(task: str, i: int) -> np.random.Generator:
    """A generator that depends on the task's name and the sample's number alone."""
    return np.random.default_rng(np.random.SeedSequence(seed_of(task, i)))


def in_blocks(
    task: str, samples: int, block: int, solve: Callable[[list[np.random.Generator]], np.ndarray]
) -> Iterator[np.ndarray]:
    """Samples one by one, float32, from `solve`, which makes `block` of them (first axis) from their generators.

    Blocks are always whole, the last one is cut: a sample shares its time steps and its place in memory with the same
    neighbours whatever the number of samples, so it is the same bit for bit.
    """
    for start in range(0, samples, block):
        made = solve([sample_rng(task, i) for i in range(start, start + block)])
        yield from made[: samples - start].astype(np.float32)
