"""The report as README.md, which links its tables and figures as files beside it.

Texts of a page know `code` and **bold**. Whatever else in them would mean something to markdown or HTML (tags, links,
images) came from a record or a file name, and is shown as it is.
"""

from __future__ import annotations

import html
import re

from bench.report.document import table as render
from bench.report.document.page import Banner, Block, Code, Fold, Page, Text
from bench.report.document.table import Table
from bench.words import printable

CODE = re.compile(r"(?<!`)`[^`\n]+`(?!`)")
"""A span that every renderer takes for code: one backtick on either side, none inside."""
ACTIVE = re.compile(r"[\\<\[\]`&]")


def markdown(page: Page) -> str:
    """README.md of a report folder; figures and tables are linked as files beside it."""
    parts = [f"# {inert(page.title)}", *(_block(b) for b in page.banners)]
    for section in page.sections:
        parts += [f"## {inert(section.title)}", *(_block(b) for b in section.blocks)]
    whole = "\n\n".join(parts).rstrip() + "\n"
    return printable(whole)


def inert(text: str) -> str:
    """A text of a page as markdown in which `code` and **bold** are all that does anything."""
    out, end = [], 0
    for span in CODE.finditer(text):
        out += [ACTIVE.sub(r"\\\g<0>", text[end : span.start()]), span[0]]
        end = span.end()
    return "".join([*out, ACTIVE.sub(r"\\\g<0>", text[end:])])


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return inert(block.text)
    if isinstance(block, Banner):
        return f"> **{inert(block.text)}**"
    if isinstance(block, Code):
        longest = max((len(run) for run in re.findall("`+", block.text)), default=0)
        fence = "`" * max(3, longest + 1)
        return f"{fence}sh\n{block.text}\n{fence}"
    if isinstance(block, Fold):
        inner = "\n\n".join(_block(b) for b in block.blocks)
        return f"<details>\n<summary>{html.escape(block.title)}</summary>\n\n{inner}\n\n</details>"
    if isinstance(block, Table):
        files = f"Files: [csv](tables/{block.name}.csv) · [tex](tables/{block.name}.tex)"
        return f"**{inert(block.title)}**\n\n{render.markdown(block)}\n{files}"
    image = f"![{inert(block.title)}](figures/{block.name}.svg)"
    return f"**{inert(block.title)}**\n\n{image}\n\n{inert(block.caption)} Data: [csv](figures/{block.name}.csv)"
