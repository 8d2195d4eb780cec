"""Cells become arrays: grouped by needs, short ones packed, cut at MaxArraySize, sharing one throttle. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.launch.one import Work
from bench.launch.slurm.needs import Needs

OVERHEAD_MINUTES = 5
"""Starting Python, reading data, and the minute by which Slurm may send its signal early."""


@dataclass(frozen=True)
class Array:
    """One sbatch call."""

    needs: Needs
    elements: tuple[tuple[Work, ...], ...]
    """The cells of each array element, run one after another."""
    minutes: int
    """Time limit of an element."""
    parallelism: int
    """Elements that may run at once."""
    after: int | None = None
    """Index of the array that must have ended first, where there are more arrays than may run at once."""

    @property
    def cells(self) -> int:
        """Number of cells in all elements."""
        return sum(map(len, self.elements))


def arrays(
    needed: Mapping[Needs, Sequence[Work]], max_array_size: int, parallelism: int, pack_minutes: Mapping[bool, int]
) -> list[Array]:
    """The sbatch calls for cells grouped by needs. At no time do more than `parallelism` elements run together.

    `pack_minutes` is how long an element of packed cells may take, for cells with (True) and without (False) a GPU.
    """
    plain: list[tuple[Needs, list[tuple[Work, ...]], int]] = []
    for group in sorted(needed):
        todo = list(needed[group])
        per = max(1, pack_minutes[bool(group.gpus)] // group.minutes)
        elements = [tuple(todo[i : i + per]) for i in range(0, len(todo), per)]
        minutes = min(per, len(todo)) * group.minutes + OVERHEAD_MINUTES
        for start in range(0, len(elements), max_array_size):
            plain.append((group, elements[start : start + max_array_size], minutes))
    shares = share([len(elements) for _, elements, _ in plain], parallelism)
    chained = len(plain) > parallelism
    return [
        Array(group, tuple(elements), minutes, shares[i], i - parallelism if chained and i >= parallelism else None)
        for i, (group, elements, minutes) in enumerate(plain)
    ]


def share(sizes: Sequence[int], total: int) -> list[int]:
    """`total` divided among arrays in proportion to their sizes: each gets at least 1 and at most its size.

    With more arrays than `total` each gets 1, and the caller lets them follow each other.
    """
    out = [1] * len(sizes)
    left = total - len(sizes)
    while left > 0:
        hungry = [i for i, size in enumerate(sizes) if out[i] < size]
        if not hungry:
            break
        # One at a time to whoever has the smallest part of its size: simple, and there are few arrays.
        out[min(hungry, key=lambda i: out[i] / sizes[i])] += 1
        left -= 1
    return out
