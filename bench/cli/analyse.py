"""`bench analyse`: probe, t-SNE, discrepancy or similarity of finished cells, from what they kept.

A cell keeps source features when it ran with any of these analyses, and its weights when it ran with
`--set analysis.keep_weights=true`. A cell that kept neither must run again: `bench run ... --probe`.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.errors import Exit, UsageError, unknown
from bench.store import Store

HELP = "probe, t-SNE, discrepancy or similarity of finished cells"
ANALYSES = {
    "probe": "error of a linear classifier on source features, by epoch",
    "tsne": "t-SNE coordinates of source features",
    "discrepancy": "modality semantic knowledge discrepancy D",
    "similarity": "linear CKA to the pretrained body, and weight movement by block",
}
FILTERS = ("task", "method", "backbone")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench analyse`."""
    for name, meaning in ANALYSES.items():
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    parser.add_argument("--again", action="store_true", help="also where the record has the analysis already")
    data = Path(os.environ.get("BENCH_DATA") or "data")
    results = Path(os.environ.get("BENCH_RESULTS") or "results")
    parser.add_argument("--results-dir", type=Path, default=results, help="default: $BENCH_RESULTS or results")
    parser.add_argument("--data-dir", type=Path, default=data, help="default: $BENCH_DATA or data")
    group = parser.add_argument_group("selection", "default: every finished cell; names take wildcards")
    for name in FILTERS:
        group.add_argument(f"--{name}s", nargs="+", default=["*"], metavar="NAME", help=f"{name}s by name")
    group.add_argument("--seeds", nargs="+", type=int, default=None, metavar="N", help="seeds")


def run(args: argparse.Namespace) -> int:
    """Add the analyses to the records and say what came of each; SOME_FAILED if a cell did not keep what they need."""
    names = [name for name in ANALYSES if getattr(args, name)]
    if not names:
        raise UsageError(f"nothing to do: name at least one of {', '.join(f'--{name}' for name in ANALYSES)}")
    store = Store(args.results_dir)
    records, problems = store.scan()
    for problem in problems:
        print(f"not read: {problem.path}: {problem.reason}")
    chosen = choose([record for record in records if record["status"] == "done"], args)
    if not chosen:
        print(f"no finished cell in {store.folder}")
        return Exit.OK
    from bench.analysis.again import analyse

    failed = 0
    for record in chosen:
        outcome = analyse(store, record, names, args.data_dir, args.again)
        failed += any(text.startswith("not possible") for text in outcome.values())
        for name, text in outcome.items():
            print(f"{store.stem(record)} {name}: {text}")
    return Exit.SOME_FAILED if failed else Exit.OK


def choose(records: Sequence[dict[str, Any]], args: argparse.Namespace) -> list[dict[str, Any]]:
    """The records whose task, method, backbone and seed were named; a name that fits none is a UsageError."""
    for name in FILTERS:
        _check(name, getattr(args, f"{name}s"), {record[name] for record in records})
    if args.seeds is not None:
        _check("seed", map(str, args.seeds), {str(record["seed"]) for record in records})
    return [
        record
        for record in records
        if all(any(fnmatch.fnmatchcase(record[n], p) for p in getattr(args, f"{n}s")) for n in FILTERS)
        and (args.seeds is None or record["seed"] in args.seeds)
    ]


def _check(kind: str, patterns: Iterable[str], present: set[str]) -> None:
    for pattern in patterns:
        if pattern != "*" and not fnmatch.filter(present, pattern):
            raise unknown(f"{kind} among the finished cells", pattern, present)
