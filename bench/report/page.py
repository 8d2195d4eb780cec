"""The report as a document: sections of text, tables and figures, and their markdown with all files beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.report import table as render
from bench.report.drawing import Drawing
from bench.report.table import Table


@dataclass(frozen=True)
class Text:
    """A paragraph, with `code` and **bold** as in markdown."""

    text: str


@dataclass(frozen=True)
class Banner:
    """What a reader must know before the first number."""

    text: str


@dataclass(frozen=True)
class Code:
    """Commands, to be copied."""

    text: str


@dataclass(frozen=True)
class Fold:
    """Blocks that are closed until opened."""

    title: str
    blocks: tuple[Block, ...]


Block = Text | Banner | Code | Table | Drawing | Fold


@dataclass(frozen=True)
class Section:
    """A heading with its blocks."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    banners: tuple[Banner, ...]
    sections: tuple[Section, ...]
    footer: str = field(default="")

    def walk(self) -> Iterator[Block]:
        """Every block, those inside of folds too."""
        for section in self.sections:
            yield from _walk(section.blocks)

    def tables(self) -> list[Table]:
        """Every table; ValueError if two would be written to one file."""
        return _unique([b for b in self.walk() if isinstance(b, Table)])

    def drawings(self) -> list[Drawing]:
        """Every figure; ValueError if two would be written to one file."""
        return _unique([b for b in self.walk() if isinstance(b, Drawing)])


def _walk(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, Fold):
            yield from _walk(block.blocks)
        else:
            yield block


def _unique(items: list) -> list:
    names = [item.name for item in items]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"two blocks of the report have one name: {', '.join(twice)}")
    return items


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


def write(page: Page, folder: Path, html: bool = False) -> list[Path]:
    """Write README.md, tables/, figures/ and, if asked, index.html below `folder`; returns the files to open.

    Tables and figures of an earlier report there are removed, so that the folder holds one report.
    """
    for sub in ("tables", "figures"):
        for old in (folder / sub).glob("*") if (folder / sub).is_dir() else ():
            if old.suffix in (".csv", ".tex", ".svg"):
                old.unlink()
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for block in page.tables():
        (folder / "tables" / f"{block.name}.csv").write_text(render.to_csv(block), encoding="utf-8")
        (folder / "tables" / f"{block.name}.tex").write_text(render.latex(block), encoding="utf-8")
    drawn = {d.name: d.svg() for d in page.drawings()}
    for drawing in page.drawings():
        drawing.save(folder / "figures", drawn[drawing.name])
    (folder / "README.md").write_text(markdown(page), encoding="utf-8")
    out = [folder / "README.md"]
    if html:
        from bench.report.html import to_html

        (folder / "index.html").write_text(to_html(page, drawn), encoding="utf-8")
        out.append(folder / "index.html")
    return out
