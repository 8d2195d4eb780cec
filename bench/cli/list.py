"""List what there is: tasks, suites, methods, backbones or studies. `describe NAME` says everything about one of them."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from typing import Any

from bench import registry
from bench.backbones import BACKBONES
from bench.cli.options import add_data_dir
from bench.cli.printing import fitted, markdown
from bench.errors import Exit
from bench.words import say

COLUMNS = {
    "tasks": ("name", "kind", "metric", "suites", "input", "backbone", "output", "title"),
    "suites": ("name", "tasks"),
    "methods": ("name", "presets", "title"),
    "backbones": ("name", "modality", "weights", "title"),
    "studies": ("name", "question"),
}
"""What a terminal shows of each kind, most important first; the last column stays and is wrapped, others go where there
is no room. `describe NAME`, --format markdown and --json have everything."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench list`."""
    parser.add_argument(
        "what", nargs="?", default="tasks", help="tasks, suites, methods, backbones or studies (default: tasks)"
    )
    add_data_dir(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="how to print it")
    form.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")


def run(args: argparse.Namespace) -> int:
    """Print the list; exit code 1 if there is nothing in it, as where every plug-in is broken."""
    what = registry.one("kind of thing", args.what, COLUMNS)
    rows = list(_rows(what))
    if args.format == "json":
        print(json.dumps(rows, indent=1))
        return Exit.OK if rows else Exit.SOME_FAILED
    if args.format == "markdown":
        say(markdown(rows))
    else:
        say(fitted(rows, COLUMNS[what], max(80, shutil.get_terminal_size().columns)))
    for broken in registry.broken():
        say(f"\nleft out: {broken.name} ({broken.where}): {broken.reason}")
    return Exit.OK if rows else Exit.SOME_FAILED


def _rows(what: str) -> Iterator[dict[str, Any]]:
    """One object for each thing of a kind."""
    if what == "tasks":
        for task in registry.tasks().items.values():
            yield _row(task, "name", "title", "suites", "kind") | {
                "input": "×".join(map(str, task.input_shape)),
                "output": "×".join(map(str, task.output_shape)),
                **_row(task, "metric", "backbone"),
                **{part: task.splits.get(part) for part in ("train", "val", "test")},
                "licence": task.licence,
            }
    elif what == "suites":
        yield from ({"name": name, "tasks": tasks} for name, tasks in registry.suites().items())
    elif what == "methods":
        for method in registry.methods().items.values():
            yield _row(method, "name", "title") | {"presets": list(method.presets), "citation": method.citation}
    elif what == "backbones":
        for backbone in BACKBONES.values():
            cure = backbone.missing()
            here = {"weights": "here" if cure is None else "missing", "licence": backbone.licence, "cure": cure}
            yield _row(backbone, "name", "title", "modality") | here
    else:
        from bench.studies import all_studies  # here, for it brings the plan

        yield from (_row(study, "name", "question", "claims") for study in all_studies().values())


def _row(thing: object, *names: str) -> dict[str, Any]:
    """Some attributes of a thing, tuples as JSON has them."""
    values = {name: getattr(thing, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
