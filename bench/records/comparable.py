"""Which records may be averaged or stand side by side: those of the same data, code, weights and precision.

The one place that knows. (Protocol, profile, origin and settings are in a cell's id and tell records apart by themselves.)
Imports nothing heavy.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from bench.records.record import Record

NOT_RECORDED = "not recorded"


@dataclass(frozen=True)
class Aspect:
    """Something that has to be the same."""

    name: str
    value: Callable[[Record], str | None]
    """Of a record, in short; None where it has none (the pretrained weights of a model that starts from random ones)."""

    def of(self, record: Record) -> str | None:
        """The value; `NOT_RECORDED` where a finished record lacks it, None where one that failed does."""
        found = self.value(record)
        return NOT_RECORDED if found == "" and record["status"] == "done" else found or None


def _short(value: object) -> str:
    return str(value or "").removeprefix("sha256:")[:8]


def _body(record: Record) -> str | None:
    """Hash and size of the backbone's body; records of schema 1 say them in words, and only of pretrained ones."""
    if body := record.get("body"):
        return f"{_short(body['sha256']) or 'random'} ({body['parameters']:,} parameters)"
    weights = record["weights"] or ""
    if weights.startswith("random"):
        return None
    said = re.search(r"sha256 (\w+)", weights)
    digest = said[1] if said else weights.partition("pretrained: ")[2]
    return digest and f"{_short(digest)} ({record['parameters'].get('encoder', 0):,} parameters)"


TASK = (
    Aspect("data", lambda r: _short(r["data"].get("fingerprint"))),
    Aspect("code of the task", lambda r: _short(r["code"].get("task"))),
)
"""What makes two records records of one task."""
COLUMN = (
    *TASK,
    Aspect("precision", lambda r: r["precision"] or ""),
    Aspect("weights of the backbone", _body),
)
"""What all cells of a task share that stand in one column."""
METHOD_CODE = Aspect("code", lambda r: _short(r["code"].get("method")))
SOURCE = Aspect("source", lambda r: _short(r["source"].get("fingerprint")) or None)
"""What the cells of one row share besides: the method's code everywhere, on each task the source data that it used."""


@dataclass(frozen=True)
class Variants:
    """Records divided into sets that are comparable within."""

    numbers: tuple[int, ...]
    """The set of each record; 0 is the largest."""
    differs: tuple[str, ...]
    """In what each set differs from set 0, in words; empty for 0 itself."""


def variants(records: Sequence[Record], aspects: Sequence[Aspect] = COLUMN) -> Variants:
    """The records of one task as sets that agree in all aspects; a record without a value joins the largest set it fits."""
    keys = [tuple(aspect.of(record) for aspect in aspects) for record in records]
    whole = Counter(key for key in keys if None not in key)
    order = sorted(whole, key=lambda key: (-whole[key], key))
    numbers = []
    for key in keys:
        fitting = (n for n, other in enumerate(order) if all(k in (None, o) for k, o in zip(key, other, strict=True)))
        number = next(fitting, len(order))
        if number == len(order):
            order.append(key)
        numbers.append(number)
    return Variants(tuple(numbers), tuple(_differs(aspects, key, order[0]) for key in order))


def _differs(aspects: Sequence[Aspect], key: tuple[str | None, ...], main: tuple[str | None, ...]) -> str:
    pairs = zip(aspects, key, main, strict=True)
    return ", ".join(f"{a.name} {k} instead of {m}" for a, k, m in pairs if k != m and k is not None)


def differences(a: Iterable[Record], b: Iterable[Record]) -> list[str]:
    """In what two groups of records of one task and method differ, in words; empty where they are comparable."""
    sides, said = (list(a), list(b)), []
    for aspect in (*COLUMN, METHOD_CODE, SOURCE):
        values = [sorted({v for v in map(aspect.of, side) if v is not None}) for side in sides]
        if values[0] and values[1] and values[0] != values[1]:
            said.append(f"{aspect.name} ({' and '.join(values[0])} / {' and '.join(values[1])})")
    return said
