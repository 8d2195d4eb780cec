"""The report as one page that needs nothing from outside: figures inline, tables that sort, light and dark.

report.html, report.css and report.js beside this file are what it looks like. Every text is escaped unless a filter here
made it HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from bench.report.document.page import Page
from bench.report.document.table import Entry, Table
from bench.report.figures.drawing import Drawing, inline

LONG = 32
"""Letters from which on a column of text may break on a page."""


def to_html(page: Page, drawn: Mapping[str, str]) -> str:
    """The whole page; `drawn` has the SVG text of every figure by name."""

    def svg(drawing: Drawing) -> Markup:
        return Markup(inline(drawn[drawing.name], drawing.name, str(escape(drawing.title))))

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    environment.filters |= {"kind": lambda block: type(block).__name__, "svg": svg}
    environment.filters |= {f.__name__: f for f in (items, markup, breakable, long, tooltip)}
    return environment.get_template("report.html").render(page=page, longest=LONG).strip() + "\n"


def items(text: str) -> list[str]:
    """The items of a text whose every line begins with `- `; none if it is a paragraph."""
    lines = text.split("\n")
    return [line[2:] for line in lines] if all(line.startswith("- ") for line in lines) else []


def markup(text: str) -> Markup:
    """`code` and **bold**, everything else escaped."""
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text)))
    return Markup(re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escaped))


def breakable(label: str) -> Markup:
    """A name that may break after an underscore, comma or bracket where the screen is narrow."""
    return Markup(re.sub(r"([_,\[])", r"\1<wbr>", str(escape(label))))


def long(table: Table) -> list[bool]:
    """For each column whether it holds words that should break into lines."""
    wide = [any(len(entries[i].text) > LONG for _, entries in table.rows) for i in range(len(table.columns))]
    return [found and column.text for found, column in zip(wide, table.columns, strict=True)]


def tooltip(entry: Entry) -> str:
    """What hovering over an entry tells: interval, seeds, records (at most eight ids, shortened)."""
    parts = []
    if entry.low is not None and entry.high is not None:
        parts.append(f"{100 * entry.level:.3g} % interval {entry.low:.4g} to {entry.high:.4g}")
    if entry.n:
        parts.append(f"n = {entry.n}")
    shown = ", ".join(i[:8] for i in entry.records[:8]) + (" ..." if len(entry.records) > 8 else "")
    return "; ".join([*parts, f"records {shown}"])
