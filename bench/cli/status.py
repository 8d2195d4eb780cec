"""Say where every cell is: done, running (epoch, speed, time left), pending with Slurm's reason, failed, lost.

Without a selection: every cell that the results folder, its submissions or its running jobs know. Needs no Slurm.
"""

from __future__ import annotations

import argparse
import collections
import json
import sys
import time

from bench.cli.choosing import add_selection, wanted
from bench.cli.printing import set_aside
from bench.errors import Exit
from bench.launch.options import seconds
from bench.launch.status import Row, rows
from bench.records.store import Problem, Store
from bench.selection import chosen, refuse
from bench.streams import lost
from bench.words import counted, say

SHOWN = 60
"""Cells printed one by one; done ones are only counted."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench status`."""
    add_selection(parser)
    parser.add_argument("--watch", nargs="?", type=seconds, const=5.0, default=None, metavar="S",
                        help="refresh every S seconds (default 5) until nothing waits or runs")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print an array of objects, once")


def run(args: argparse.Namespace) -> int:
    """Print the state; exit code 1 if a cell has failed or is lost."""
    if args.json:
        refuse(args, ["watch"], "--json prints the state once")
    store, cells = Store(args.results_dir), chosen(wanted(args), args.data_dir)
    while True:
        aside: list[Problem] = []
        found = rows(store, cells, aside)
        set_aside(aside, "not a record", sys.stderr)
        if args.json:
            print(json.dumps([row.to_dict() for row in found], indent=1))
        else:
            if args.watch is not None and sys.stdout.isatty():
                print("\x1b[H\x1b[J", end="")  # home, clear to the end
            say(text(found))
        active = any(row.status in ("running", "pending") for row in found)
        if args.watch is None or args.json or not active or lost(sys.stdout):
            break
        time.sleep(max(0.2, args.watch))
    bad = any(row.status not in ("done", "running", "pending", "missing") for row in found)
    return Exit.SOME_FAILED if bad else Exit.OK


def text(found: list[Row]) -> str:
    """Counts, then one line for each cell that is not done."""
    if not found:
        return "no cells: nothing has been run or submitted with this results folder"
    counts = collections.Counter(row.status for row in found)
    lines = [f"{counted(len(found), 'cell')}: " + ", ".join(f"{n} {status}" for status, n in counts.items())]
    unfinished = [row for row in found if row.status != "done"]
    for row in unfinished[:SHOWN]:
        where = " ".join(part for part in (row.where, f"job {row.job}" if row.job else "") if part)
        lines.append(f"  {row.status:9} {row.cell}  {row.detail}" + (f"  ({where})" if where else ""))
    if len(unfinished) > SHOWN:
        lines.append(f"  … and {len(unfinished) - SHOWN} more (--json lists all)")
    return "\n".join(lines)
