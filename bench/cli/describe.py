"""Say everything about one task, method, backbone, suite, setting section or study."""

from __future__ import annotations

import argparse
import json
import shutil
import textwrap
from dataclasses import fields
from typing import Any

from bench import registry, settings
from bench.backbones import BACKBONES
from bench.cli.options import add_data_dir
from bench.cli.printing import table
from bench.errors import Exit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench describe`."""
    parser.add_argument("name", help="a task, method, backbone, suite, study, or a section of settings such as trainer")
    add_data_dir(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the description."""
    found = describe(args.name)
    print(json.dumps(found, indent=1, default=str) if args.json else text(found))
    return Exit.OK


def describe(name: str) -> dict[str, Any]:
    """Everything that is known of a name, as plain data; UsageError with the nearest names if there is no such thing."""
    from bench import studies

    if name.endswith(".toml"):
        return studies.describe(name)
    tasks, methods = registry.tasks(), registry.methods()
    broken = {b.name for b in (*tasks.broken, *methods.broken)}
    others = (*BACKBONES, *registry.suites(), *settings.SECTIONS, *studies.all_studies())
    name = registry.one("name", name, [*tasks.items, *methods.items, *broken, *others])
    if name in tasks.items or (name in broken and name not in methods.items):
        return _task(name)
    if name in methods.items:
        return _method(name)
    if name in BACKBONES:
        b = BACKBONES[name]
        return {
            "backbone": name,
            **{f.name: getattr(b, f.name) for f in fields(b) if f.name != "name"},
            "weights": b.missing() or "here",
        }
    if name in registry.suites():
        return {"suite": name, "tasks": registry.suites()[name]}
    if name in settings.SECTIONS:
        return {"settings": name, "options": _options(settings.SECTIONS[name], name)}
    return studies.describe(name)


def _task(name: str) -> dict[str, Any]:
    t = registry.tasks()[name]
    return {
        "task": t.name,
        "title": t.title,
        "suites": list(t.suites),
        "kind": t.kind,
        "input": t.input_shape,
        "output": t.output_shape,
        "loss": t.loss,
        "metric": t.metric,
        "further metrics": list(t.more_metrics),
        "metric under the paper protocol": t.paper_metric or t.metric,
        "loss under the paper protocol": t.paper_loss or t.loss,
        "settings under the paper protocol": dict(t.paper_recipe),
        "trivial predictor": t.trivial,
        "backbone": t.backbone,
        "split sizes": dict(t.splits),
        "split policy": t.split_policy,
        "files": [
            {k: v for k, v in vars(f).items() if v} for f in t.files
        ],
        "published settings": dict(t.recipe),
        "quick settings": dict(t.quick),
        "converged settings": "none: its stand-in tests the machinery" if t.converged is None else dict(t.converged),
        "stand-in sizes": {k: dict(v) for k, v in t.sizes.items()},
        "source": t.source,
        "licence": t.licence,
        "citation": t.citation,
        "known defects": list(t.defects),
        "defined in": registry.tasks().origin[name],
    }  # fmt: skip


def _method(name: str) -> dict[str, Any]:
    m = registry.methods()[name]
    return {
        "method": name,
        "title": m.title,
        "what it does": " ".join((m.__doc__ or "").split()),
        "citation": m.citation,
        "starts from pretrained weights": m.pretrained,
        "reads source data": m.needs_source,
        "options": _options(m, name),
        "presets": {k: dict(v) for k, v in m.presets.items()},
        "defined in": registry.methods().origin[name],
    }


def _options(cls: type, section: str) -> list[dict[str, Any]]:
    return [
        {"name": f"{section}.{f.name}", "default": f.default, "allowed": f.metadata.get("allowed"),
         "role": f.metadata.get("role", "identity"), "meaning": f.metadata.get("help", "")}
        for f in fields(cls)
    ]  # fmt: skip


def text(found: dict[str, Any]) -> str:
    """A description for people: one line per fact, tables and lists indented below their name."""
    width = shutil.get_terminal_size((120, 0)).columns
    return "\n".join(_lines(key, value, width) for key, value in found.items() if value not in (None, "", [], (), {}))


def _lines(key: str, value: Any, width: int) -> str:
    if isinstance(value, dict):
        below = [f"{k}: {_short(v)}" for k, v in value.items()]
    elif isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
        same = all(list(item) == list(value[0]) for item in value)
        rows = [{k: "none" if k == "default" and v is None else v for k, v in item.items()} for item in value]
        below = table(rows).split("\n") if same else [_short(item) for item in rows]
    elif isinstance(value, (list, tuple)) and value and any(" " in str(item) for item in value):
        below = [str(item) for item in value]
    else:
        return textwrap.fill(f"{key}: {_short(value)}", width, subsequent_indent="  ", break_long_words=False)
    return "\n".join([f"{key}:", *(f"  {line}" for line in below)])


def _short(value: Any) -> str:
    """A value within a line: shapes as 1×256, other lists and mappings with commas."""
    if isinstance(value, dict):
        return ", ".join(f"{k} {_short(v)}" for k, v in value.items()) or "no changes"
    if isinstance(value, (list, tuple)):
        return ("×" if all(type(item) is int for item in value) else ", ").join(map(str, value))
    return str(value)
