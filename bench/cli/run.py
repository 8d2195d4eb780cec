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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench import registry, words
from bench import standins as data
from bench.backbones import BACKBONES
from bench.cli import scores
from bench.cli.announce import data_taken, embedded_default
from bench.cli.selection import add_planning, analyses_of, chosen_cells, places, runtime
from bench.cost import of_plan
from bench.errors import Exit
from bench.launch.options import add_launch_arguments, launch_options
from bench.plan import Cell, Planned, plan, to_run
from bench.records.store import Store, ensure_writable
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

    for broken in (*registry.tasks().broken, *registry.methods().broken):
        say(f"bench: {broken.name} ({broken.where}) is left out: {broken.reason}")
    store = Store(args.results_dir)
    chosen, extra, options = chosen_cells(args), runtime(args), launch_options(args)
    planned = plan(chosen, store)
    todo = to_run(planned, args.retry, analyses_of(extra))
    if embedded_default(args, chosen):  # it is there to show everything; done cells need not run again for it
        extra = {"analysis.probe": True, **extra}
    extra |= _kept_analyses([p for p in planned if p.cell in set(todo)])
    for sentence in data_taken(args, chosen):
        say(sentence)
    failed_before = _describe(planned, todo, say)
    if not todo:
        say("nothing to do")
        _conclude(args, store, chosen, {"ran": [], "failed": [p.cell.id for p in failed_before]})
        return Exit.SOME_FAILED if failed_before else Exit.OK
    say(of_plan(todo, store).sentence())
    _refuse_what_cannot_end_well(todo, store, args)

    from bench import launch
    from bench.machine import command as shown_command

    outcome = launch.run(todo, places(args), extra, args.executor, options, shown_command())
    ended = {name: [r.cell.id for r in getattr(outcome, name)] for name in ("failed", "unfinished")}
    _conclude(args, store, chosen, {"ran": [c.id for c in todo], **ended})
    recorded = [r for r in outcome.failed if r.record is not None]
    if recorded:
        say(f"`python -m bench logs {recorded[0].cell.id}` shows the whole error; --retry failed runs it again")
    in_queue = args.executor == "slurm" and not args.wait
    left = outcome.failed if in_queue else outcome.unfinished
    return Exit.SOME_FAILED if left or failed_before else Exit.OK


def _describe(planned: Sequence[Planned], todo: Sequence[Cell], say: Callable[[str], None]) -> list[Planned]:
    """Say what there is and what will be done; returns the cells that failed before and are not run again."""
    runs = set(todo)
    failed_before = [p for p in planned if p.status not in ("done", "missing") and p.cell not in runs]
    done = len(planned) - len(todo) - len(failed_before)
    say(f"{counted(len(planned), 'cell')}: {done} done, {len(failed_before)} failed, {len(todo)} to run")
    for item in planned:
        if item.stale and item.cell not in runs:
            say(f"  stale: {item.cell}: {item.stale} (--retry stale runs it again)")
    for item in failed_before:
        say(f"  {item.status}: {item.cell} (--retry failed runs it again)")
    return failed_before


def _conclude(args: argparse.Namespace, store: Store, chosen: Sequence[Cell], ended: dict[str, list[str]]) -> None:
    """Print the scores of all cells that have a record now; under --json beside the ids of the cells by how they ended."""
    records = [record for cell in chosen if (record := store.get(cell.key())) is not None]
    tables = scores.of(records) if records else []
    if args.json:
        print(json.dumps({**ended, "scores": [row for table in tables for row in table.rows()]}))
    elif tables:
        scores.show(tables)
        print("`python -m bench report` writes them with figures, intervals and sources")


def _refuse_what_cannot_end_well(todo: Sequence[Cell], store: Store, args: argparse.Namespace) -> None:
    """SetupError before any work if a folder cannot be written, or the disk has no room for the checkpoints."""
    largest = max(BACKBONES[cell.backbone].checkpoint_bytes() for cell in todo)
    at_once = min(len(todo), args.jobs or 1) if args.executor == "local" else 1
    store.ensure_writable(at_once * largest + (16 << 20))
    if any(cell.origin == "generated" and not _standin_here(cell, args.data_dir) for cell in todo):
        ensure_writable(args.data_dir, "data folder, where stand-ins are to be generated,", "--data-dir")


def _standin_here(cell: Cell, data_dir: Path) -> bool:
    samples = dict(cell.overrides).get("data.samples")
    return data.standin_here(registry.tasks()[cell.task], data_dir, cell.profile, samples)


def _kept_analyses(planned: Sequence[Planned]) -> dict[str, Any]:
    """The analyses that the records about to be replaced hold, so that a run for another one loses none."""
    held = [p.record["analysis"] for p in planned if p.record is not None and p.status == "done"]
    return {f"analysis.{name}": True for analysis in held for name in analysis}
