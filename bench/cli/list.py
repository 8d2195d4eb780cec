"""List what there is: tasks, suites, methods, backbones or studies. `describe NAME` says everything about one of them."""

from __future__ import annotations

import argparse
import json
import shutil
from typing import Any

from bench import registry
from bench.backbones import BACKBONES
from bench.cli.selection import add_data_dir
from bench.cli.tables import fitted, markdown
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
    kinds = {"tasks": _tasks, "suites": _suites, "methods": _methods, "backbones": _backbones, "studies": _studies}
    what = registry.one("kind of thing", args.what, kinds)
    rows = kinds[what]()
    if args.format == "json":
        print(json.dumps(rows, indent=1))
        return Exit.OK if rows else Exit.SOME_FAILED
    if args.format == "markdown":
        say(markdown(rows))
    else:
        say(fitted(rows, COLUMNS[what], max(80, shutil.get_terminal_size().columns)))
    for broken in (*registry.tasks().broken, *registry.methods().broken):
        say(f"\nleft out: {broken.name} ({broken.where}): {broken.reason}")
    return Exit.OK if rows else Exit.SOME_FAILED


def _tasks() -> list[dict[str, Any]]:
    return [
        {
            "name": t.name,
            "title": t.title,
            "suites": list(t.suites),
            "kind": t.kind,
            "input": "×".join(map(str, t.input_shape)),
            "output": "×".join(map(str, t.output_shape)),
            "metric": t.metric,
            "backbone": t.backbone,
            "train": t.splits.get("train"),
            "val": t.splits.get("val"),
            "test": t.splits.get("test"),
            "licence": t.licence,
        }
        for t in registry.tasks().items.values()
    ]


def _suites() -> list[dict[str, Any]]:
    return [{"name": name, "tasks": tasks} for name, tasks in registry.suites().items()]


def _methods() -> list[dict[str, Any]]:
    return [
        {"name": m.name, "title": m.title, "presets": list(m.presets), "citation": m.citation}
        for m in registry.methods().items.values()
    ]


def _backbones() -> list[dict[str, Any]]:
    return [
        {
            "name": b.name,
            "title": b.title,
            "modality": b.modality,
            "weights": "here" if b.missing() is None else "missing",
            "licence": b.licence,
            "cure": b.missing(),
        }
        for b in BACKBONES.values()
    ]


def _studies() -> list[dict[str, Any]]:
    from bench import studies

    return [{"name": s.name, "question": s.question, "claims": list(s.claims)} for s in studies.all_studies().values()]
