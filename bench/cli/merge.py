"""`bench merge`: the records of several stores in one folder, each with its sidecars. Clashes are refused and named."""

from __future__ import annotations

import argparse
import sys

from bench.cli.options import to_path
from bench.cli.printing import set_aside
from bench.errors import Exit, UsageError
from bench.records.merge import merge
from bench.records.store import Store
from bench.words import counted, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench merge`."""
    parser.add_argument("stores", nargs="+", type=to_path, metavar="STORE", help="results folders to read")
    parser.add_argument(
        "--out", type=to_path, required=True, metavar="DIR", help="results folder to write, new or existing"
    )


def run(args: argparse.Namespace) -> int:
    """Merge and say what was copied; exit code 1 if files could not be read, 2 for clashes."""
    for folder in args.stores:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder: bench merge expects results folders")
    merged = merge([Store(folder) for folder in args.stores], Store(args.out))
    set_aside(merged.problems, "not merged", sys.stderr)
    say(f"{counted(merged.copied, 'record')} copied to {args.out}, {merged.known} were there or came twice")
    return Exit.SOME_FAILED if merged.problems else Exit.OK
