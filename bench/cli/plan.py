"""Say what a run would do, without doing it: its cells, which are done, failed or missing, and what it will cost."""

from __future__ import annotations

import argparse
import collections
import json
import sys

from bench import registry
from bench.cli.choosing import add_planning, places, wanted
from bench.cli.printing import set_aside
from bench.errors import Exit
from bench.launch.options import add_launch_arguments, launch_options
from bench.plan import Planned
from bench.records.store import Store
from bench.selection import todo
from bench.words import counted, duration, say

SHOWN = 40
"""Cells printed one by one; larger plans are summed up (--json has them all)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench plan`: those of `bench run`."""
    add_planning(parser)
    add_launch_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the plan."""
    from bench.cost import of_plan, with_reckoned

    options, found = launch_options(args), todo(wanted(args), places(args), args.retry)
    set_aside(found.problems, "not a record, so its cell is missing", sys.stderr)
    cost = with_reckoned(of_plan(found.cells, Store(args.results_dir)), found.cells)
    counts = collections.Counter(p.status for p in found.planned)
    if args.json:
        cells = [_row(p) | {"seconds": cost.by_cell.get(p.cell.id)} for p in found.planned]
        shown = {"cells": cells, "counts": dict(counts), "to_run": [c.id for c in found.cells], "cost": cost.to_dict(),
                 "broken": [vars(b) for b in registry.broken()]}  # fmt: skip
        print(json.dumps(shown, indent=1))
        return Exit.OK
    for one in registry.broken():
        say(f"bench: {one.name} ({one.where}) is left out: {one.reason}")
    statuses = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    say(f"{counted(len(found.planned), 'cell')}: {statuses}; {len(found.cells)} to run")
    for sentence in found.said:
        say(sentence)
    for item in found.planned[:SHOWN]:
        stale = f"  stale: {item.stale}" if item.stale else ""
        seconds = cost.by_cell.get(item.cell.id)
        about = f", about {duration(seconds)}" if seconds is not None else ""
        say(f"  {item.status:14} {item.cell}  ({item.cell.origin}, {item.cell.profile}{about}){stale}")
    if len(found.planned) > SHOWN:
        say(f"  … and {len(found.planned) - SHOWN} more (--json lists all)")
    say(cost.sentence())
    if args.executor == "slurm" and found.cells:
        from bench.launch import describe_submission

        say(describe_submission(found.cells, places(args), found.runtime, options))
    return Exit.OK


def _row(planned: Planned) -> dict[str, object]:
    """A cell as `--json` has it."""
    cell = planned.cell
    facts = {"origin": cell.origin, "profile": cell.profile, "protocol": cell.protocol}
    return {**cell.key(), "status": planned.status, "stale": planned.stale, **facts, "overrides": dict(cell.overrides),
            "search": cell.search and cell.search.to_dict()}  # fmt: skip
