"""Ratios that hold on a shared machine: variants take turns in one process, and are compared by CPU time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median


def seconds(run: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    start = time.process_time()
    run()
    return time.process_time() - start


def cpu_seconds(variants: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each variant over `rounds` rounds, after one run of each that is not counted.

    CPU time of one thread does not count the time that other processes had the core.
    """
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(rounds + 1):
        for name, run in variants.items():
            once = seconds(run)
            if turn:
                taken[name].append(once)
    return {name: median(times) for name, times in taken.items()}


def table(rows: Mapping[str, Mapping[str, float]], digits: int = 3) -> str:
    """Rows and columns as text, for `pytest -s`."""
    columns = list(next(iter(rows.values())))
    lines = ["".join(f"{c:>22}" for c in ["", *columns])]
    lines += [f"{name:>22}" + "".join(f"{row[c]:>22.{digits}g}" for c in columns) for name, row in rows.items()]
    return "\n".join(["", *lines])
