"""Types of option values that several verbs share: folders, lists of names, seeds, and options that were given in vain."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import UsageError
from bench.plan import MAX_SEED


def to_path(text: str) -> Path:
    """A file or folder; `~` is expanded here too, since a shell leaves it alone in `--out=~/x`."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def names(text: str) -> list[str]:
    """`mona,orca` as a list."""
    return [part for part in text.split(",") if part]


def seeds(text: str) -> list[int]:
    """`3`, `0,1` and `0-2` as lists of seeds."""
    out: list[int] = []
    for part in names(text):
        first, dash, last = part.partition("-")
        if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
            raise argparse.ArgumentTypeError(f"{text!r}: expected whole numbers from 0, as in 0 1 2, 0,1,2 or 0-2")
        low, high = int(first), int(last or first)
        if not low <= high <= MAX_SEED:
            raise argparse.ArgumentTypeError(f"{part}: expected seeds from 0 to {MAX_SEED}, the smaller one first")
        out += range(low, high + 1)
    return out


class Joined(argparse.Action):
    """A list in any form: `--x a b`, `--x a,b` and `--x a --x b` are one. Each value once; None where not given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Add what was given here to what was given before."""
        before = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, list(dict.fromkeys([*before, *(item for part in values for item in part)])))


def add_list(group: Any, option: str, meaning: str, metavar: str = "NAME", kind: Any = names) -> None:
    """Add an option that takes a list."""
    group.add_argument(option, nargs="+", action=Joined, type=kind, metavar=metavar, help=meaning)


def given(args: argparse.Namespace, options: Iterable[str]) -> list[str]:
    """Those of the options (by destination) that were given, as they are typed."""
    values = {name: getattr(args, name, None) for name in options}
    return [f"--{name.replace('_', '-')}" for name, v in values.items() if v is not None and v is not False and v != []]


def refuse(args: argparse.Namespace, options: Sequence[str], reason: str) -> None:
    """UsageError if any of the options was given: here it would have no effect."""
    if found := given(args, options):
        raise UsageError(f"{' and '.join(found)}: {reason}")


def values_once(pairs: Iterable[tuple[str, str]], option: str) -> Mapping[str, str]:
    """Name -> value; UsageError where one name has two."""
    out: dict[str, str] = {}
    for name, value in pairs:
        if out.setdefault(name, value) != value:
            raise UsageError(f"{option} {name}={value}: {name} has the value {out[name]} already; --grid runs several")
    return out
