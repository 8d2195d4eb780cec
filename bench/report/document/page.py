"""The report as a document: sections of text, tables and figures. `markdown` and `html` say how it looks, `write` puts it on disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.report.document.table import Table
from bench.report.figures.drawing import Drawing


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
    blocks: tuple[Text | Code | Table | Drawing, ...]


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
    records: int
    """How many records it shows: those of a store that belong to other pages do not count."""

    def walk(self) -> Iterator[Block]:
        """Every block, those inside of folds too."""
        for section in self.sections:
            for block in section.blocks:
                yield from block.blocks if isinstance(block, Fold) else (block,)

    def tables(self) -> list[Table]:
        """Every table; ValueError if two would be written to one file."""
        return _unique([b for b in self.walk() if isinstance(b, Table)])

    def drawings(self) -> list[Drawing]:
        """Every figure; ValueError if two would be written to one file."""
        return _unique([b for b in self.walk() if isinstance(b, Drawing)])


def present(*blocks: Block | None) -> tuple[Block, ...]:
    """The blocks that there are."""
    return tuple(block for block in blocks if block is not None)


def fold(title: str, table: Table | None) -> Fold | None:
    """A table that is closed until opened; None without one."""
    return None if table is None else Fold(title, (table,))


def _unique(items: list) -> list:
    names = [item.name for item in items]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise ValueError(f"two blocks of the report have one name: {', '.join(twice)}")
    return items
