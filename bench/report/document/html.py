"""The report as one page that needs nothing from outside: figures inline, tables that sort, light and dark."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path

from bench.report.document import table as render
from bench.report.document.page import Banner, Block, Code, Fold, Page, Section, Text
from bench.report.document.table import Table
from bench.report.figures.drawing import inline

ASSETS = Path(__file__).parent
"""report.css and report.js lie beside this file and are written into the page."""


def to_html(page: Page, drawn: Mapping[str, str]) -> str:
    """The whole page; `drawn` has the SVG text of every figure by name."""
    css = (ASSETS / "report.css").read_text(encoding="utf-8")
    script = (ASSETS / "report.js").read_text(encoding="utf-8")
    links = "".join(f'<li><a href="#s{i}">{html.escape(s.title)}</a></li>' for i, s in enumerate(page.sections))
    body = "\n".join(_section(i, s, drawn) for i, s in enumerate(page.sections))
    banners = "".join(_block(b, drawn) for b in page.banners)
    title = html.escape(page.title)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<style>\n{css}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{banners}\n"
        f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n{body}\n</main>\n'
        f"<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _section(index: int, section: Section, drawn: Mapping[str, str]) -> str:
    inner = "\n".join(_block(b, drawn) for b in section.blocks)
    return f'<section id="s{index}"><h2>{html.escape(section.title)}</h2>\n{inner}\n</section>'


def _block(block: Block, drawn: Mapping[str, str]) -> str:
    if isinstance(block, Text):
        return text(block.text)
    if isinstance(block, Banner):
        return f'<p class="banner" role="note">{inline_markup(block.text)}</p>'
    if isinstance(block, Code):
        return f"<pre><code>{html.escape(block.text)}</code></pre>"
    if isinstance(block, Fold):
        inner = "\n".join(_block(b, drawn) for b in block.blocks)
        return f"<details><summary>{html.escape(block.title)}</summary>{inner}</details>"
    if isinstance(block, Table):
        return f"<h3>{html.escape(block.title)}</h3>{render.to_html(block)}"
    svg = inline(drawn[block.name], block.name, html.escape(block.title))
    figure = f'<figure class="drawing"><div class="scroll">{svg}</div>'
    return f"<h3>{html.escape(block.title)}</h3>{figure}<figcaption>{html.escape(block.caption)}</figcaption></figure>"


def text(source: str) -> str:
    """Paragraphs and lists of lines that begin with `- `, as HTML."""
    lines = source.split("\n")
    if all(line.startswith("- ") for line in lines):
        return "<ul>" + "".join(f"<li>{inline_markup(line[2:])}</li>" for line in lines) + "</ul>"
    return f"<p>{inline_markup(source)}</p>"


def inline_markup(source: str) -> str:
    """`code` and **bold**, everything else escaped."""
    escaped = html.escape(source, quote=False)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escaped)
