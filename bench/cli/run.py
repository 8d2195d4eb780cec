"""Run the cells of a selection. What is done is not done again; what was interrupted resumes.

A task that is named and has no official data here gets its stand-in generated. A run that names neither task nor suite
takes every task whose data are here.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from bench import registry
from bench.cli.selection import add_selection, places, runtime, selected
from bench.errors import Exit
from bench.launch.options import add_launch_arguments, launch_options
from bench.plan import RETRY, Planned, plan, to_run
from bench.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench run`."""
    add_selection(parser)
    parser.add_argument("--study", metavar="NAME", help="the cells of a study instead of a selection")
    parser.add_argument(
        "--size", default="quick", help="size of the study: quick, medium, large, full or tiny, as far as it has them"
    )
    parser.add_argument(
        "--retry", nargs="+", choices=RETRY, default=[], help="run such cells again; failed: all that failed"
    )
    add_launch_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """Run what is to be run; exit code 1 if a cell of the selection has failed."""
    for broken in (*registry.tasks().broken, *registry.methods().broken):
        print(f"bench: {broken.name} ({broken.where}) is left out: {broken.reason}")
    store = Store(args.results_dir)
    chosen, extra = _cells(args)
    planned = plan(chosen, store)
    analyses = {name.removeprefix("analysis."): on for name, on in extra.items() if name.startswith("analysis.")}
    todo = to_run(planned, args.retry, analyses)
    extra |= _kept_analyses([p for p in planned if p.cell in todo])
    failed_before = [p for p in planned if p.status not in ("done", "missing") and p.cell not in todo]
    done = len(chosen) - len(todo) - len(failed_before)
    if not args.json:
        print(f"{len(chosen)} cells: {done} done, {len(failed_before)} failed, {len(todo)} to run")
        _say_standins(todo)
        for item in planned:
            if item.stale and item.cell not in todo:
                print(f"  stale: {item.cell}: {item.stale} (--retry stale runs it again)")
        for item in failed_before:
            print(f"  {item.status}: {item.cell} (--retry failed runs it again)")
    if not todo:
        if args.json:
            print(json.dumps({"ran": [], "failed": [p.cell.id for p in failed_before]}))
        else:
            print("nothing to do")
        return Exit.SOME_FAILED if failed_before else Exit.OK
    store.ensure_writable()

    from bench import launch
    from bench.machine import command as shown_command

    outcome = launch.run(todo, places(args), extra, args.executor, launch_options(args), shown_command())
    if args.json:
        print(json.dumps({"ran": [c.id for c in todo], "failed": [r.cell.id for r in outcome.failed]}))
    return Exit.SOME_FAILED if outcome.failed or failed_before else Exit.OK


def _cells(args: argparse.Namespace):  # type: ignore[no-untyped-def]
    if args.study is None:
        return selected(args), runtime(args)
    from bench import studies

    return studies.cells_of(args.study, args.size, args.data_dir), {**studies.runtime_of(args.study), **runtime(args)}


def _kept_analyses(planned: list[Planned]) -> dict[str, Any]:
    """The analyses that the records about to be replaced hold, so that a run for another one loses none."""
    held = [p.record["analysis"] for p in planned if p.record is not None and p.status == "done"]
    return {f"analysis.{name}": True for analysis in held for name in analysis}


def _say_standins(todo) -> None:  # type: ignore[no-untyped-def]
    names = list(dict.fromkeys(cell.task for cell in todo if cell.origin == "generated"))
    if names:
        print(f"no official data here for {', '.join(names)}: stand-ins are generated, and every table says so")
