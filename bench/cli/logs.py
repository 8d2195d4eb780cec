"""Show what a cell has printed, and its error if it failed.

CELL is an id, the beginning of one (four digits or more), or the file name of a record.
"""

from __future__ import annotations

import argparse
import collections
import re
from collections.abc import Iterable
from pathlib import Path

from bench.cli.options import add_places
from bench.errors import Exit, UsageError, unknown
from bench.launch.one import log_path
from bench.launch.options import whole
from bench.launch.slurm import manifest
from bench.launch.status import Row, rows
from bench.records.store import Store
from bench.words import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench logs`."""
    add_places(parser)
    parser.add_argument("cell", metavar="CELL", help="id, beginning of an id, or file name of a record")
    parser.add_argument("--tail", type=whole, default=None, metavar="N", help="only the last N lines")


def run(args: argparse.Namespace) -> int:
    """Print the cell's log, the log of the Slurm job that carried it, and the error in its record."""
    store = Store(args.results_dir)
    row = find(args.cell, rows(store))
    say(f"{row.cell} ({row.cell.id}): {row.status} {row.detail}".rstrip())
    files = [(title, path) for title, path in _files(store, row) if path.is_file()]
    for title, path in files:
        print(f"--- {title}: {path}")
        with path.open(errors="replace") as lines:
            for line in lines if args.tail is None else collections.deque(lines, args.tail):
                say(line.removesuffix("\n"))
    record = store.get(row.cell.key())
    error = record["error"] if record is not None else None
    if error:
        print("--- error in the record")
        say(str(error.get("traceback") or error.get("message", "")))
    elif not files:
        print("no log: it has not run, or ran inline, where everything it printed went to the terminal")
    return Exit.OK


def find(text: str, found: Iterable[Row]) -> Row:
    """The one cell that is meant. The text is only compared with known ids, never made into a path."""
    known = {row.cell.id: row for row in found}
    wanted = re.search(r"(?:^|\.)([0-9a-f]{4,16})(?:\.(?:curves\.)?(?:json|npz))?$", Path(text).name)
    hits = [row for cell_id, row in known.items() if wanted and cell_id.startswith(wanted[1])]
    if not hits:
        raise unknown("cell", text, known)
    if len(hits) > 1:
        raise UsageError(f"{text!r} is the beginning of {len(hits)} ids: {', '.join(row.cell.id for row in hits[:5])}")
    return hits[0]


def _files(store: Store, row: Row) -> list[tuple[str, Path]]:
    """What the log files of a cell are called, and where they would be."""
    out = [("log", log_path(store, row.cell.id))]
    for written in manifest.load_all(store):
        for job, cells, array in written.jobs():
            if job and row.cell.id in cells:
                out.append((f"Slurm job {job}", written.log(array, job)))
    return out
