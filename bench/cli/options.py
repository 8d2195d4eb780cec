"""Options that most verbs share, folders and lists, and the types of their values. What chooses cells is in `choosing`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bench import standins


def to_path(text: str) -> Path:
    """A file or folder; `~` is expanded here too, since a shell leaves it alone in `--out=~/x`."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def names(text: str) -> list[str]:
    """`mona,orca` as a list."""
    return [part for part in text.split(",") if part]


class Joined(argparse.Action):
    """A list in any form: `--x a b`, `--x a,b` and `--x a --x b` are one. Each value once; None where not given."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Add what was given here to what was given before."""
        before = getattr(namespace, self.dest) or []
        setattr(namespace, self.dest, list(dict.fromkeys([*before, *(item for part in values for item in part)])))


def add_list(group: Any, option: str, meaning: str, metavar: str = "NAME", kind: Any = names) -> None:
    """Add an option that takes a list."""
    group.add_argument(option, nargs="+", action=Joined, type=kind, metavar=metavar, help=meaning)


def add_places(parser: argparse.ArgumentParser) -> None:
    """`--data-dir` and `--results-dir`."""
    group = parser.add_argument_group("folders")
    add_data_dir(group)
    add_results_dir(group)


def add_data_dir(group: Any) -> None:
    """`--data-dir`, of a parser or a group."""
    group.add_argument("--data-dir", type=to_path, default=standins.default_dir(), metavar="DIR",
                       help="data files (default: $BENCH_DATA or data)")  # fmt: skip


def add_results_dir(group: Any) -> None:
    """`--results-dir`."""
    from bench.records import store  # here, for verbs that read no records

    group.add_argument("--results-dir", type=to_path, default=store.default_dir(), metavar="DIR",
                       help="records (default: $BENCH_RESULTS or results)")  # fmt: skip
