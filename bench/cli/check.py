"""Run the conformance tests on one task or method, shipped or plugged in: `bench check mona`."""

from __future__ import annotations

import argparse
import json

from bench import registry
from bench.cli.options import add_data_dir
from bench.errors import Exit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench check`."""
    parser.add_argument("name", nargs="+", help="tasks and methods by name")
    add_data_dir(parser)
    parser.add_argument("--json", action="store_true", help="print the outcomes as JSON")


def run(args: argparse.Namespace) -> int:
    """Print every check; exit code 1 if one does not hold."""
    known = [*registry.tasks().items, *registry.methods().items]
    broken = {b.name: b for b in registry.broken()}
    failed, out = 0, {}
    for name in [registry.one("task or method", name, [*known, *broken]) for name in args.name]:
        if name in broken:
            out[name] = [{"what": "it can be imported", "passed": False, "found": broken[name].reason}]
        else:
            from bench.cell.check import check

            out[name] = [vars(outcome) for outcome in check(name)]
        failed += sum(not o["passed"] for o in out[name])
        if not args.json:
            print(f"{name}:")
            for o in out[name]:
                found = f"\n        {o['found']}" if o["found"] else ""
                print(f"  {'ok  ' if o['passed'] else 'FAIL'}  {o['what']}{found}")
    if args.json:
        print(json.dumps(out, indent=1))
    else:
        print("all checks hold" if not failed else f"{failed} checks do not hold")
    return Exit.SOME_FAILED if failed else Exit.OK
