"""Run the cells of a selection. What is done is not done again; what was interrupted resumes.

A task without official data here gets a stand-in and the quick recipe, unless --profile says otherwise. A run that names
neither task nor suite takes every task whose official data are here; without any, the suite `quick` on stand-ins.

examples:
  python -m bench run --methods mona orca
  python -m bench run --tasks 'diffusion_*' --methods mona --seeds 0 1 2 --executor local -j 2
  python -m bench run --tasks ecg --methods vanilla --grid trainer.lr=1e-4,3e-4 --set trainer.epochs=3
  python -m bench run --tasks ecg --methods vanilla --retry failed
  python -m bench run --tasks ecg --methods vanilla mona --search 'trainer.lr=loguniform(1e-4,1e-2)' --trials 12 --then-seeds 5

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
from collections.abc import Callable, Sequence

from bench import registry, words
from bench.cli import scores
from bench.cli.choosing import add_planning, places, wanted
from bench.cost import of_plan
from bench.errors import Exit
from bench.launch.options import LaunchOptions, add_launch_arguments, launch_options
from bench.launch.work import Outcome, Result
from bench.plan import Cell
from bench.records.store import Store
from bench.search.space import is_trial
from bench.selection import Todo, passes, refuse_without_room
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
    options, in_queue = launch_options(args), args.executor == "slurm" and not args.wait
    said: set[str] = set()
    ran: list[Cell] = []
    results: list[Result] = []
    for found in passes(wanted(args), places(args), args.retry):
        _describe(found, [sentence for sentence in found.said if sentence not in said], say)
        said |= set(found.said)
        if not found.cells:
            break
        results += _launched(found, args, options, say)
        ran += found.cells
        if in_queue:
            break  # what a search does next follows from records; the same command goes on
    return _conclude(args, found, ran, Outcome(results), in_queue, say)


def _launched(
    found: Todo, args: argparse.Namespace, options: LaunchOptions, say: Callable[[str], None]
) -> Sequence[Result]:
    """Run the cells that are to be run."""
    from bench import launch
    from bench.machine import command as shown_command

    say(of_plan(found.cells, Store(args.results_dir)).sentence())
    at_once = min(len(found.cells), args.jobs or 1) if args.executor == "local" else 1
    refuse_without_room(found.cells, places(args), at_once)
    return launch.run(found.cells, places(args), found.runtime, args.executor, options, shown_command()).results


def _describe(found: Todo, sentences: Sequence[str], say: Callable[[str], None]) -> None:
    """Say what there is to say of data and searches, and what will be done."""
    for sentence in sentences:
        say(sentence)
    done = len(found.planned) - len(found.cells) - len(found.failed)
    say(f"{counted(len(found.planned), 'cell')}: {done} done, {len(found.failed)} failed, {len(found.cells)} to run")
    runs = set(found.cells)
    for item in found.planned:
        if item.stale and item.cell not in runs:
            say(f"  stale: {item.cell}: {item.stale} (--retry stale runs it again)")
    for item in found.failed:
        say(f"  {item.status}: {item.cell} (--retry failed runs it again)")


def _conclude(
    args: argparse.Namespace,
    found: Todo,
    ran: Sequence[Cell],
    outcome: Outcome,
    in_queue: bool,
    say: Callable[[str], None],
) -> int:
    """Print the scores of all cells that have a record now, under --json beside the ids of the cells by how they ended.

    Returns the exit code. A trial that failed is an answer; a search without a choice is not done.
    """
    if not ran:
        say("nothing to do")
    failed = [r for r in outcome.failed if r.record is None or not is_trial(r.cell)]
    unfinished = [r for r in outcome.unfinished if r.record is None or not is_trial(r.cell)]
    left_before = [p.cell.id for p in found.failed if p.cell not in set(ran)]
    store = Store(args.results_dir)
    kept = [record for item in found.planned if (record := store.get(item.cell.key())) is not None]
    records = [record for record in kept if not is_trial(record)]
    tables = scores.of(records) if records else []
    if args.json:
        ended = {"failed": [r.cell.id for r in failed], "unfinished": [r.cell.id for r in unfinished]}
        if not ran:
            ended = {"failed": left_before}
        rows = [row for table in tables for row in scores.rows(table)]
        print(json.dumps({"ran": [cell.id for cell in ran], **ended, "scores": rows}))
    elif tables:
        scores.show(tables)
        print("`python -m bench report` writes them with figures, intervals and sources")
    if recorded := [r for r in failed if r.record is not None]:
        say(f"`python -m bench logs {recorded[0].cell.id}` shows the whole error; --retry failed runs it again")
    undecided = not in_queue and any(search.choice is None for search in found.searches)
    left = failed if in_queue else unfinished
    return Exit.SOME_FAILED if left or left_before or undecided else Exit.OK
