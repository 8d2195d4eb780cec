"""Say what a run would do, without doing it: its cells, which are done, failed or missing, and what it will cost."""

from __future__ import annotations

import argparse
import collections
import json

from bench import registry
from bench.cli.selection import add_selection, places, runtime, selected
from bench.errors import Exit
from bench.launch.options import add_launch_arguments, launch_options
from bench.plan import RETRY, plan, to_run
from bench.store import Store

SHOWN = 40
"""Cells printed one by one; larger plans are summed up (--json has them all)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench plan`: those of `bench run`."""
    add_selection(parser)
    parser.add_argument("--study", metavar="NAME", help="the cells of a study instead of a selection")
    parser.add_argument(
        "--size", default="quick", help="size of the study: quick, medium, large, full or tiny, as far as it has them"
    )
    parser.add_argument("--retry", nargs="+", choices=RETRY, default=[], help="as in run")
    add_launch_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the plan as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the plan."""
    from bench.cost import estimate

    store = Store(args.results_dir)
    if args.study is None:
        chosen, extra = selected(args), runtime(args)
    else:
        from bench import studies

        chosen = studies.cells_of(args.study, args.size, args.data_dir)
        extra = {**studies.runtime_of(args.study), **runtime(args)}
    planned = plan(chosen, store)
    analyses = {name.removeprefix("analysis."): on for name, on in extra.items() if name.startswith("analysis.")}
    todo = to_run(planned, args.retry, analyses)
    cost = estimate(todo, store)
    counts = collections.Counter(p.status for p in planned)
    broken = [*registry.tasks().broken, *registry.methods().broken]
    if args.json:
        rows = [
            {**p.cell.key(), "status": p.status, "stale": p.stale, "origin": p.cell.origin, "profile": p.cell.profile,
             "protocol": p.cell.protocol, "overrides": dict(p.cell.overrides)}
            for p in planned
        ]  # fmt: skip
        shown = {"cells": rows, "counts": dict(counts), "to_run": [c.id for c in todo], "cost": cost.to_dict(),
                 "broken": [vars(b) for b in broken]}  # fmt: skip
        print(json.dumps(shown, indent=1))
        return Exit.OK
    for one in broken:
        print(f"bench: {one.name} ({one.where}) is left out: {one.reason}")
    print(
        f"{len(chosen)} cells: "
        + ", ".join(f"{n} {status}" for status, n in counts.most_common())
        + f"; {len(todo)} to run"
    )
    for item in planned[:SHOWN]:
        print(
            f"  {item.status:14} {item.cell}  ({item.cell.origin}, {item.cell.profile})"
            + (f"  stale: {item.stale}" if item.stale else "")
        )
    if len(planned) > SHOWN:
        print(f"  … and {len(planned) - SHOWN} more (--json lists all)")
    print(cost.sentence())
    if args.executor == "slurm" and todo:
        from bench.launch import describe_submission

        print(describe_submission(todo, places(args), extra, launch_options(args)))
    return Exit.OK
