"""Say what a run would do, without doing it: its cells, which are done, failed or missing, and what it will cost."""

from __future__ import annotations

import argparse
import collections
import json
import sys

from bench import registry
from bench.cli.announce import data_taken
from bench.cli.problems import set_aside
from bench.cli.selection import add_planning, analyses_of, chosen_cells, places, runtime
from bench.errors import Exit
from bench.launch.options import add_launch_arguments, launch_options
from bench.plan import Planned, plan, to_run
from bench.records.store import Problem, Store
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
    from bench.cost import of_plan

    store = Store(args.results_dir)
    chosen, extra, options = chosen_cells(args), runtime(args), launch_options(args)
    aside: list[Problem] = []
    planned = plan(chosen, store, aside)
    set_aside(aside, "not a record, so its cell is missing", sys.stderr)
    todo = to_run(planned, args.retry, analyses_of(extra))
    cost = of_plan(todo, store)
    counts = collections.Counter(p.status for p in planned)
    broken = [*registry.tasks().broken, *registry.methods().broken]
    if args.json:
        shown = {"cells": [_row(p) | {"seconds": cost.by_cell.get(p.cell.id)} for p in planned], "counts": dict(counts), "to_run": [c.id for c in todo],
                 "cost": cost.to_dict(), "broken": [vars(b) for b in broken]}  # fmt: skip
        print(json.dumps(shown, indent=1))
        return Exit.OK
    for one in broken:
        say(f"bench: {one.name} ({one.where}) is left out: {one.reason}")
    statuses = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    say(f"{counted(len(chosen), 'cell')}: {statuses}; {len(todo)} to run")
    for sentence in data_taken(args, chosen):
        say(sentence)
    for item in planned[:SHOWN]:
        stale = f"  stale: {item.stale}" if item.stale else ""
        seconds = cost.by_cell.get(item.cell.id)
        about = f", about {duration(seconds)}" if seconds is not None else ""
        say(f"  {item.status:14} {item.cell}  ({item.cell.origin}, {item.cell.profile}{about}){stale}")
    if len(planned) > SHOWN:
        say(f"  … and {len(planned) - SHOWN} more (--json lists all)")
    say(cost.sentence())
    if args.executor == "slurm" and todo:
        from bench.launch import describe_submission

        say(describe_submission(todo, places(args), extra, options))
    return Exit.OK


def _row(planned: Planned) -> dict[str, object]:
    """A cell as `--json` has it."""
    cell = planned.cell
    facts = {"origin": cell.origin, "profile": cell.profile, "protocol": cell.protocol}
    return {**cell.key(), "status": planned.status, "stale": planned.stale, **facts, "overrides": dict(cell.overrides)}
