"""`bench evaluate`: score a whole model that a cell kept (`--set analysis.keep_weights=true`), on its task or on another one."""

from __future__ import annotations

import argparse
import json

from bench import registry
from bench.cli.options import add_data_dir, to_path
from bench.cli.printing import table
from bench.errors import Exit
from bench.words import say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench evaluate`."""
    parser.add_argument("weights", type=to_path, metavar="WEIGHTS", help="a .safetensors file beside a record")
    parser.add_argument("--task", metavar="NAME", help="another task of the same shapes (default: the model's own)")
    add_data_dir(parser)
    parser.add_argument("--json", action="store_true", help="print the scores as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print every metric of the model on the test split."""
    task = None if args.task is None else registry.tasks().select([args.task])[0]
    from bench.cell.whole import evaluate, read_about

    trained_on = read_about(args.weights)["task"]
    cell, scores = evaluate(args.weights, task, args.data_dir)
    if args.json:
        print(json.dumps({**cell.key(), "trained_on": trained_on, "metrics": scores}))
        return Exit.OK
    say(f"{cell}: {cell.origin} data, protocol {cell.protocol}")
    if cell.task != trained_on:
        say(f"trained on {trained_on}, only scored on {cell.task}, with the normalisation of {cell.task}")
    print(table([{"metric": name, **metric} for name, metric in scores.items()]))
    return Exit.OK
