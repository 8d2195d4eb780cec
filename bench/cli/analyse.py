"""`bench analyse`: probe, t-SNE, discrepancy or similarity of finished cells, from what they kept.

A cell keeps source features when it ran with any of these analyses, and its weights when it ran with
`--set analysis.keep_weights=true`. A cell that kept neither must run again: `bench run ... --probe`.
"""

from __future__ import annotations

import argparse

from bench.cli.choosing import seeds
from bench.cli.options import add_list, add_places, names
from bench.cli.printing import set_aside
from bench.errors import Exit, UsageError
from bench.records.store import Store
from bench.selection import fitting
from bench.words import say

ANALYSES = {
    "probe": "error of a linear classifier on source features, by epoch",
    "tsne": "t-SNE coordinates of source features",
    "discrepancy": "modality semantic knowledge discrepancy D",
    "similarity": "linear CKA to the pretrained body, and weight movement by block",
}
FILTERS = ("task", "method", "backbone", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench analyse`."""
    for name, meaning in ANALYSES.items():
        parser.add_argument(f"--{name}", action="store_true", help=meaning)
    parser.add_argument("--again", action="store_true", help="also where the record has the analysis already")
    add_places(parser)
    group = parser.add_argument_group("selection", "default: every finished cell; names take wildcards")
    for name in FILTERS:
        kind, metavar = (seeds, "N") if name == "seed" else (names, "NAME")
        add_list(group, f"--{name}s", f"{name}s", metavar, kind)


def run(args: argparse.Namespace) -> int:
    """Add the analyses to the records and say what came of each; SOME_FAILED if a cell did not keep what they need."""
    wanted = [name for name in ANALYSES if getattr(args, name)]
    if not wanted:
        raise UsageError(f"nothing to do: name at least one of {', '.join(f'--{name}' for name in ANALYSES)}")
    store = Store(args.results_dir)
    records, problems = store.scan()
    set_aside(problems, "not read")
    done = [record for record in records if record["status"] == "done"]
    chosen = fitting(done, dict, {name: getattr(args, f"{name}s") for name in FILTERS}, "among the finished cells")
    if not chosen:
        say(f"no finished cell in {store.folder}")
        return Exit.OK
    from bench.analysis.again import analyse

    failed = 0
    for record in chosen:
        outcome = analyse(store, record, wanted, args.data_dir, args.again)
        failed += any(text.startswith("not possible") for text in outcome.values())
        for name, text in outcome.items():
            say(f"{store.stem(record)} {name}: {text}")
    return Exit.SOME_FAILED if failed else Exit.OK
