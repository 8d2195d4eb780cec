"""Cells become arrays: grouped by needs, short ones packed, cut at MaxArraySize, sharing one throttle. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.launch.options import SlurmOptions
from bench.launch.slurm.needs import Needs
from bench.launch.work import Work

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
    own: SlurmOptions
    """The options for cells of this kind."""

    @property
    def cells(self) -> int:
        """Number of cells in all elements."""
        return sum(map(len, self.elements))


def arrays(
    needed: Mapping[Needs, Sequence[Work]], max_array_size: int, options: Mapping[bool, SlurmOptions]
) -> list[Array]:
    """The sbatch calls for cells grouped by needs, by the `options` with (True) and without (False) a GPU.

    Together they run `array_parallelism` elements at once, that of cells with a GPU.
    """
    plain: list[tuple[Needs, list[tuple[Work, ...]], int]] = []
    for group in sorted(needed):
        todo = list(needed[group])
        per = max(1, options[bool(group.gpus)].pack_minutes // group.minutes)
        elements = [tuple(todo[i : i + per]) for i in range(0, len(todo), per)]
        minutes = min(per, len(todo)) * group.minutes + OVERHEAD_MINUTES
        for start in range(0, len(elements), max_array_size):
            plain.append((group, elements[start : start + max_array_size], minutes))
    shares = share([len(elements) for _, elements, _ in plain], options[True].array_parallelism)
    return [
        Array(group, tuple(elements), minutes, part, options[bool(group.gpus)])
        for (group, elements, minutes), part in zip(plain, shares, strict=True)
    ]


def share(sizes: Sequence[int], total: int) -> list[int]:
    """`total` divided among arrays in proportion to their sizes: each gets at least 1 and at most its size."""
    out = [1] * len(sizes)
    for _ in range(total - len(sizes)):
        hungry = [i for i, size in enumerate(sizes) if out[i] < size]
        if not hungry:
            break
        # One at a time to whoever has the smallest part of its size: simple, and there are few arrays.
        out[min(hungry, key=lambda i: out[i] / sizes[i])] += 1
    return out
