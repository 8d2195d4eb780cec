"""One random generator per sample, so that asking for more samples never changes the first ones."""

from __future__ import annotations

import zlib

import numpy as np


def seed_of(task: str, i: int) -> list[int]:
    """The entropy of sample `i` of `task`: [CRC-32 of the task's name, i]."""
    return [zlib.crc32(task.encode()), i]


def sample_rng(task: str, i: int) -> np.random.Generator:
    """A generator that depends on the task's name and the sample's number alone."""
    return np.random.default_rng(np.random.SeedSequence(seed_of(task, i)))
