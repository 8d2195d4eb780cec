"""`bench export`: every record as one row of a table, for tools that are not this one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.cli.options import to_path
from bench.cli.problems import set_aside
from bench.cli.selection import add_results_dir
from bench.errors import Exit, UsageError, unknown
from bench.records import flat
from bench.records.store import Store
from bench.words import counted, printable, say
from tasks.files.atomic import replacing

FORMATS = ("json", "csv", "parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench export`."""
    said = "default: as the suffix of FILE says, else json"
    parser.add_argument("--format", choices=FORMATS, type=str.lower, default=None, help=said)
    parser.add_argument("--out", type=to_path, metavar="FILE", help="file to write (default: standard output)")
    add_results_dir(parser)


def run(args: argparse.Namespace) -> int:
    """Write the table, row by row; files that are not readable records are named on standard error."""
    form = format_of(args.format, args.out)
    records, problems = Store(args.results_dir).scan(flat.READ)
    set_aside(problems, "not exported", sys.stderr)
    if form == "parquet":
        pieces = iter([flat.to_parquet(records)])
    else:
        lines = flat.json_pieces(records) if form == "json" else flat.csv_lines(records)
        pieces = (line.encode(errors="backslashreplace") for line in lines)
    if args.out is None:
        for piece in pieces:
            text = piece.decode()
            sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
        return Exit.OK
    with replacing(args.out) as temporary, temporary.open("wb") as file:
        file.writelines(pieces)
    say(f"{counted(len(records), 'record')}: {args.out}")
    return Exit.OK


def format_of(given: str | None, out: Path | None) -> str:
    """The format asked for; without one that of the file's suffix. UsageError where that names none."""
    if given == "parquet" and out is None:
        raise UsageError("--format parquet is not text: name a file with --out FILE")
    if given is not None or out is None:
        return given or "json"
    suffix = out.suffix.removeprefix(".").lower() or "json"
    if suffix not in FORMATS:
        raise unknown(f"format of --out {out}", suffix, FORMATS)
    return suffix
