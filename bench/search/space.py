"""What is searched: ranges of settings as they are typed, and the mark of the cells that belong to a search. Imports nothing heavy."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError, unknown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

NUMBERS: Mapping[str, type] = {"uniform": float, "loguniform": float, "int": int, "logint": int}
"""Kinds of ranges between two numbers."""
FORMS = "uniform(LOW,HIGH), loguniform(LOW,HIGH), int(LOW,HIGH), logint(LOW,HIGH) or choice(A,B,...)"
DIGITS = 4
"""Significant digits of a number that is drawn: it can be typed, and rounding elsewhere makes no other cell of it."""
EDGE = 0.05
"""The part of a range at either end that counts as its edge."""


@dataclass(frozen=True)
class Range:
    """The values that a setting may take in a search."""

    kind: str
    """One of `NUMBERS`, or `choice`."""
    values: tuple[Any, ...]
    """The two ends; of a choice every value, as text."""

    def __str__(self) -> str:
        return f"{self.kind}({','.join(map(str, self.values))})"

    @property
    def log(self) -> bool:
        """Whether it is even in the logarithm."""
        return self.kind.startswith("log")

    @property
    def fractional(self) -> bool:
        """Whether it holds other numbers than whole ones."""
        return NUMBERS.get(self.kind) is float

    def distribution(self) -> BaseDistribution:
        """The same for Optuna."""
        from optuna import distributions as known

        if self.kind == "choice":
            return known.CategoricalDistribution(self.values)
        kind = known.IntDistribution if NUMBERS[self.kind] is int else known.FloatDistribution
        low, high = self.values
        return kind(low, high, log=self.log)

    def rounded(self, drawn: Any) -> Any:
        """A drawn value with `DIGITS` digits, within the range."""
        if not isinstance(drawn, float):
            return drawn
        return min(max(float(f"{drawn:.{DIGITS}g}"), self.values[0]), self.values[1])

    def at_edge(self, value: Any) -> bool:
        """Whether a better value may lie beyond the range: this one is within `EDGE` of an end, or the last of an order."""
        ends = _ends(self.values)
        if ends is None or isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        (low, high), scale = ends, math.log if self.log else float
        if self.kind == "choice":
            return len(self.values) > 1 and value in (low, high)
        return not EDGE < (scale(value) - scale(low)) / (scale(high) - scale(low)) < 1 - EDGE


def _ends(values: tuple[Any, ...]) -> tuple[float, float] | None:
    """The smallest and the largest of the values; None where they are words, which have no order."""
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return None
    return min(numbers), max(numbers)


def parse(name: str, text: str) -> Range:
    """`loguniform(1e-4,1e-2)` as a range of the setting `name`; a UsageError says what is wrong."""
    found = re.fullmatch(r"\s*(\w+)\((.*)\)\s*", text)
    said = f"--search {name}={text}"
    if found is None:
        raise UsageError(f"{said}: expected {FORMS}")
    kind, inside = found[1].lower(), [part.strip() for part in found[2].split(",")]
    if kind == "choice":
        if len(inside) < 2 or not all(inside) or len(set(inside)) < len(inside):
            raise UsageError(f"{said}: expected two or more values, each once")
        return Range(kind, tuple(inside))
    if kind not in NUMBERS:
        raise unknown("kind of range", kind, [*NUMBERS, "choice"])
    try:
        low, high = map(NUMBERS[kind], inside)
    except ValueError:
        raise UsageError(f"{said}: expected two {'whole ' if NUMBERS[kind] is int else ''}numbers") from None
    if not (-math.inf < low < high < math.inf) or (kind.startswith("log") and low <= 0):
        above = " above 0" if kind.startswith("log") else ""
        raise UsageError(f"{said}: expected two finite numbers{above}, the smaller one first")
    return Range(kind, (low, high))


@dataclass(frozen=True)
class Searched:
    """That a cell belongs to a search. Part of its identity: a cell that settings were chosen by is never one of a table."""

    space: tuple[tuple[str, str], ...]
    """Setting -> its range in words, sorted by name."""
    sampler: str
    seed: int
    """Of the search: what is drawn, and the seed of its trials."""
    trials: int | None = None
    """Of a repeat of the choice: how many trials it was chosen from. None: one of the trials."""

    def to_dict(self) -> dict[str, Any]:
        """As a record has it."""
        return {"space": dict(self.space), "sampler": self.sampler, "seed": self.seed, "trials": self.trials}

    @classmethod
    def of(cls, plain: Mapping[str, Any] | None) -> Searched | None:
        """The inverse of `to_dict`; None where there is no search."""
        return None if plain is None else cls(**{**plain, "space": tuple(sorted(plain["space"].items()))})


def is_trial(thing: Any) -> bool:
    """Whether a record, or a cell, is a search's trial: settings were chosen by it, so it stands in no table of results."""
    search = Searched.of(thing["search"]) if isinstance(thing, dict) else thing.search
    return search is not None and search.trials is None
