"""List what there is: tasks, suites, methods, backbones or studies."""

from __future__ import annotations

import argparse
import json
from typing import Any

from bench import registry
from bench.errors import Exit, unknown
from bench.models.backbones import BACKBONES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench list`."""
    parser.add_argument(
        "what", nargs="?", default="tasks", help="tasks, suites, methods, backbones or studies (default: tasks)"
    )
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="how to print it")
    parser.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")


def run(args: argparse.Namespace) -> int:
    """Print the list."""
    kinds = {"tasks": _tasks, "suites": _suites, "methods": _methods, "backbones": _backbones, "studies": _studies}
    if args.what not in kinds:
        raise unknown("kind of thing", args.what, kinds)
    rows = kinds[args.what]()
    if args.format == "json":
        print(json.dumps(rows, indent=1))
        return Exit.OK
    print(table(rows, markdown=args.format == "markdown"))
    for broken in (*registry.tasks().broken, *registry.methods().broken):
        print(f"\nleft out: {broken.name} ({broken.where}): {broken.reason}")
    return Exit.OK


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
            "weights": b.missing() or "here",
            "licence": b.licence,
        }
        for b in BACKBONES.values()
    ]


def _studies() -> list[dict[str, Any]]:
    from bench import studies

    return [{"name": s.name, "question": s.question, "claims": list(s.claims)} for s in studies.all_studies().values()]


def table(rows: list[dict[str, Any]], markdown: bool = False) -> str:
    """Rows of the same keys as aligned text or a markdown table."""
    if not rows:
        return "(none)"
    header = list(rows[0])
    cells = [[_text(row[key]) for key in header] for row in rows]
    if markdown:
        lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
        return "\n".join([*lines, *(f"| {' | '.join(c.replace('|', '¦') for c in row)} |" for row in cells)])
    widths = [max(len(row[i]) for row in [header, *cells]) for i in range(len(header))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in [header, *cells])


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
