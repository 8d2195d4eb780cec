"""The report as README.md, which links its tables and figures as files beside it."""

from __future__ import annotations

from bench.report import table as render
from bench.report.page import Banner, Block, Code, Fold, Page, Text
from bench.report.table import Table


def markdown(page: Page) -> str:
    """README.md of a report folder; figures and tables are linked as files beside it."""
    parts = [f"# {page.title}", *(_block(b) for b in page.banners)]
    for section in page.sections:
        parts += [f"## {section.title}", *(_block(b) for b in section.blocks)]
    return "\n\n".join([*parts, *([page.footer] if page.footer else [])]).rstrip() + "\n"


def _block(block: Block) -> str:
    if isinstance(block, Text):
        return block.text
    if isinstance(block, Banner):
        return f"> **{block.text}**"
    if isinstance(block, Code):
        return f"```sh\n{block.text}\n```"
    if isinstance(block, Fold):
        inner = "\n\n".join(_block(b) for b in block.blocks)
        return f"<details>\n<summary>{block.title}</summary>\n\n{inner}\n\n</details>"
    if isinstance(block, Table):
        files = f"Files: [csv](tables/{block.name}.csv) · [tex](tables/{block.name}.tex)"
        return f"**{block.title}**\n\n{render.markdown(block)}\n{files}"
    image = f"![{block.title}](figures/{block.name}.svg)"
    return f"**{block.title}**\n\n{image}\n\n{block.caption} Data: [csv](figures/{block.name}.csv)"
