"""`bench verify`: what of each record of a folder can be checked again, in three tiers.

complete: the record holds to its schema and every file that it names is there and whole. rescored: its predictions give its
scores, digit for digit. reproduced: its cell, run again here, gives them (only with --reproduce: it trains every cell).
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import Any

from bench.cli.printing import table
from bench.cli.rescore import add_store, finished
from bench.errors import Exit
from bench.records.complete import damaged_sidecars
from bench.words import say

TIERS = ("complete", "rescored", "reproduced")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench verify`."""
    add_store(parser)
    parser.add_argument("--reproduce", action="store_true", help="run every cell again, in a folder of its own")


def run(args: argparse.Namespace) -> int:
    """Print one row for each finished record; SOME_FAILED if any tier that was tried says no."""
    store, records, damaged = finished(args.results)
    from bench.cell.rescore import reproduce, rescore

    broken: dict[str, list[str]] = {}
    for record, path, reason in damaged_sidecars(store, records):
        broken.setdefault(record["id"], []).append(f"{path.name}: {reason}")
    rows: list[dict[str, Any]] = []
    for found in rescore(store, records, args.data_dir):
        record, lost = found.record, broken.get(found.record["id"], [])
        row = {"record": store.stem(record), "complete": "no" if lost else "yes", "rescored": found.word}
        again = reproduce(record, args.data_dir) if args.reproduce else None
        row["reproduced"] = "not tried" if again is None else again.word
        reasons = [*lost, found.reason, "" if again is None else again.reason]
        rows.append(row | {"reason": "; ".join(filter(None, reasons))})
        if args.json:
            print(json.dumps(rows[-1]))
    if not args.json:
        print(table(rows))
        for tier in TIERS:
            words = [row[tier] for row in rows]
            say(f"{tier}: " + ", ".join(f"{count} {word}" for word, count in sorted(Counter(words).items())))
    return Exit.SOME_FAILED if damaged or any("no" in map(row.get, TIERS) for row in rows) else Exit.OK
