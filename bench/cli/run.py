"""Run the cells of a selection. What is done is not done again; what was interrupted resumes.

A task without official data here gets a stand-in and the quick recipe, unless --profile says otherwise. A run that names
neither task nor suite takes every task whose official data are here; without any, the suite `quick` on stand-ins.

examples:
  python -m bench run --methods mona orca
  python -m bench run --tasks 'diffusion_*' --methods mona --seeds 0 1 2 --executor local -j 2
  python -m bench run --tasks ecg --methods vanilla --grid trainer.lr=1e-4,3e-4 --set trainer.epochs=3
  python -m bench run --tasks ecg --methods vanilla --retry failed

exit codes:
  0    every selected cell is done (--executor slurm without --wait: done or in the queue)
  1    some are not: failed, run by somebody else at present, or not written
  2    wrong names or options; nothing was started
  130  interrupted by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP; the same command resumes
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable

from bench import registry, words
from bench.cli import scores
from bench.cli.choosing import add_planning, places, wanted
from bench.cost import of_plan
from bench.errors import Exit
from bench.launch.options import add_launch_arguments, launch_options
from bench.plan import Planned
from bench.records.store import Store
from bench.selection import Todo, refuse_without_room, todo
from bench.words import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench run`."""
    add_planning(parser)
    add_launch_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def run(args: argparse.Namespace) -> int:
    """Run what is to be run; exit code 1 if a cell of the selection is not done."""

    def say(text: str) -> None:
        """To people on stdout; beside JSON on stderr."""
        words.say(text, sys.stderr if args.json else sys.stdout)

    for one in registry.broken():
        say(f"bench: {one.name} ({one.where}) is left out: {one.reason}")
    options, found = launch_options(args), todo(wanted(args), places(args), args.retry)
    _describe(found, say)
    if not found.cells:
        say("nothing to do")
        _conclude(args, found.planned, {"ran": [], "failed": [p.cell.id for p in found.failed]})
        return Exit.SOME_FAILED if found.failed else Exit.OK
    say(of_plan(found.cells, Store(args.results_dir)).sentence())
    at_once = min(len(found.cells), args.jobs or 1) if args.executor == "local" else 1
    refuse_without_room(found.cells, places(args), at_once)

    from bench import launch
    from bench.machine import command as shown_command

    outcome = launch.run(found.cells, places(args), found.runtime, args.executor, options, shown_command())
    ended = {name: [r.cell.id for r in getattr(outcome, name)] for name in ("failed", "unfinished")}
    _conclude(args, found.planned, {"ran": [c.id for c in found.cells], **ended})
    recorded = [r for r in outcome.failed if r.record is not None]
    if recorded:
        say(f"`python -m bench logs {recorded[0].cell.id}` shows the whole error; --retry failed runs it again")
    in_queue = args.executor == "slurm" and not args.wait
    left = outcome.failed if in_queue else outcome.unfinished
    return Exit.SOME_FAILED if left or found.failed else Exit.OK


def _describe(found: Todo, say: Callable[[str], None]) -> None:
    """Say which data there are, and what will be done."""
    for sentence in found.data:
        say(sentence)
    done = len(found.planned) - len(found.cells) - len(found.failed)
    say(f"{counted(len(found.planned), 'cell')}: {done} done, {len(found.failed)} failed, {len(found.cells)} to run")
    runs = set(found.cells)
    for item in found.planned:
        if item.stale and item.cell not in runs:
            say(f"  stale: {item.cell}: {item.stale} (--retry stale runs it again)")
    for item in found.failed:
        say(f"  {item.status}: {item.cell} (--retry failed runs it again)")


def _conclude(args: argparse.Namespace, planned: list[Planned], ended: dict[str, list[str]]) -> None:
    """Print the scores of all cells that have a record now; under --json beside the ids of the cells by how they ended."""
    store = Store(args.results_dir)
    records = [record for item in planned if (record := store.get(item.cell.key())) is not None]
    tables = scores.of(records) if records else []
    if args.json:
        print(json.dumps({**ended, "scores": [row for table in tables for row in scores.rows(table)]}))
    elif tables:
        scores.show(tables)
        print("`python -m bench report` writes them with figures, intervals and sources")
