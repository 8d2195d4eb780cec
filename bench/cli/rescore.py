"""`bench rescore`: compute the scores of finished cells again from the predictions that they kept.

Exit code 1 if a record disagrees with its own predictions. Cells that kept none, and data that are not here, are named.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

from bench.cli.options import add_data_dir, add_list, to_path
from bench.cli.printing import set_aside, table
from bench.errors import Exit, UsageError
from bench.records import store as stores
from bench.records.record import Record
from bench.records.store import Store
from bench.words import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench rescore`."""
    add_store(parser)
    add_list(parser, "--metrics", "metrics to compute besides those of the record (`describe TASK` names some)")


def add_store(parser: argparse.ArgumentParser) -> None:
    """The folder to look at, the data, and `--json`; as `bench verify` has them, too."""
    parser.add_argument("results", nargs="?", type=to_path, default=stores.default_dir(), metavar="RESULTS",
                        help="results folder (default: $BENCH_RESULTS or results)")  # fmt: skip
    add_data_dir(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object per record")


def finished(folder: Path) -> tuple[Store, list[Record], int]:
    """A store, its records that are done, and how many files are no readable records."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: expected a results folder")
    store = Store(folder)
    records, problems = store.scan()
    set_aside(problems, "not read")
    return store, [record for record in records if record["status"] == "done"], len(problems)


def run(args: argparse.Namespace) -> int:
    """Say of every finished record whether its predictions give its scores."""
    store, records, damaged = finished(args.results)
    from bench.cell.rescore import rescore
    from bench.errors import unknown
    from tasks.metrics import METRICS

    for name in args.metrics or ():
        if name not in METRICS:
            raise unknown("metric", name, METRICS)
    rows, words = [], Counter[str]()
    for found in rescore(store, records, args.data_dir, args.metrics or ()):
        words[found.word] += 1
        asked = {name: metric["value"] for name, metric in found.scores.items()}
        row = {"record": store.stem(found.record), "rescored": found.word, **asked, "reason": found.reason}
        if args.json:
            print(json.dumps(row))
        rows.append({**row, **{name: asked.get(name) for name in args.metrics or ()}})
    if not args.json:
        print(table(rows))
        say(f"{words['yes']} equal digit for digit, {words['no']} disagree, {words['unknown']} could not be tried")
    return Exit.SOME_FAILED if words["no"] or damaged else Exit.OK
