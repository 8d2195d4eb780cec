"""Cancel cells that are waiting or running on Slurm; without a selection, all that this results folder submitted.

What has ended keeps its record; what was running keeps its checkpoint, and the next run resumes it. A job of several
packed cells is cancelled only if all its cells that have not ended are chosen.
"""

from __future__ import annotations

import argparse

from bench.cli.choosing import add_selection, wanted
from bench.errors import Exit, SetupError
from bench.records.store import Store
from bench.selection import chosen
from bench.words import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench cancel`: those that choose cells."""
    add_selection(parser)


def run(args: argparse.Namespace) -> int:
    """Cancel, and say what."""
    from bench.launch.cancel import cancel
    from bench.launch.slurm import queue

    if queue.squeue() is None:
        raise SetupError("squeue does not answer here: cancel from a login node (local cells end with Ctrl-C)")
    outcome = cancel(Store(args.results_dir), chosen(wanted(args), args.data_dir))
    print(f"{counted(len(outcome.cells), 'cell')} cancelled in {counted(len(outcome.jobs), 'job')}")
    for cell in outcome.cells:
        print(f"  {cell}")
    for cell in outcome.shared:
        print(f"  not cancelled: {cell} shares its job with cells that were not chosen")
    return Exit.SOME_FAILED if outcome.shared else Exit.OK
