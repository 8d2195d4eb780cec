"""Say in one screen what this machine can do: each line good, missing or broken, with the cure.

It changes nothing without --clean. Missing is what only limits the choice (no GPU, no Slurm, weights that are not here); broken is what makes a run fail.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from bench.cli.options import add_places
from bench.errors import Exit
from bench.words import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench doctor`."""
    add_places(parser)
    add = parser.add_argument
    add("--clean", action="store_true", help="remove what finished cells and killed processes have left")
    add("--json", action="store_true", help="print an array of objects")


def run(args: argparse.Namespace) -> int:
    """Print the findings; exit code 1 if anything is broken."""
    from bench import leftovers
    from bench.doctor import examine
    from bench.records.store import Store

    if args.clean:
        store = Store(args.results_dir)
        for path in leftovers.clean(leftovers.find(store, store.scan(leftovers.READ)[0], args.data_dir)):
            say(f"removed {path}", sys.stderr)
    findings = examine(args.data_dir, args.results_dir)
    if args.json:
        print(json.dumps([dataclasses.asdict(f) for f in findings], indent=1))
    else:
        width = max(len(f.what) for f in findings)
        for f in findings:
            cure = f"\n{' ' * (width + 11)}-> {f.cure}" if f.cure else ""
            say(f"{f.state:7}  {f.what:<{width}}  {f.detail}{cure}")
    return Exit.SOME_FAILED if any(f.state == "broken" for f in findings) else Exit.OK
