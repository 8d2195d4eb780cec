"""A table, as markdown and CSV (`latex` and `html` have the other forms). Every entry knows its number, its spread and its records."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.csvs import inert

ARROWS = {True: "↑", False: "↓", None: ""}
MARKS: Mapping[str, tuple[str, str]] = {
    "trivial": ("†", "does not beat the trivial predictor"),
    "floor": ("◊", "does not beat ridge regression on the raw input"),
    "partial": ("‡", "some seeds failed, as said in the cell; the mean is over the others"),
    "random": ("§", "the encoder started from random weights"),
    "source": ("°", "a generated stand-in served as source data, for the method or for its probe alone"),
    "recipe": ("¶", "run with settings that differ from the published recipe"),
    "edge": ("⊣", "at an edge of the range that was searched: a wider one may hold better"),
    "digitised": ("≈", "read off the bars of a drawing: two digits, about 1 %"),
    "secondary": ("*", "from a secondary source: quoted by others, the original was not seen"),
}
"""Mark -> its symbol and what it says. A table's legend has the marks that it uses."""


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a table. `text` is what is read; the rest is where it comes from."""

    text: str = "—"
    value: float | None = None
    spread: float | None = None
    """Sample standard deviation over seeds, None where n < 2."""
    low: float | None = None
    high: float | None = None
    """t interval over seeds, None where n < 2."""
    n: int = 0
    best: bool = False
    marks: tuple[str, ...] = ()
    """Keys of `MARKS`."""
    failures: Mapping[str, int] = field(default_factory=dict)
    """Status -> how many records behind this entry ended so."""
    records: tuple[str, ...] = ()
    """Ids of the records behind this entry."""
    level: float = 0.95
    """Of the interval."""

    @property
    def symbols(self) -> str:
        """The symbols of its marks."""
        return "".join(MARKS[m][0] for m in self.marks)


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    title: str
    detail: str = ""
    """Metric and unit, for instance."""
    higher_is_better: bool | None = None
    """None: no direction."""
    text: bool = False
    """Holds words: set flush left."""

    @property
    def arrow(self) -> str:
        """Its direction as a sign."""
        return ARROWS[self.higher_is_better]

    @property
    def head(self) -> str:
        """Title, arrow and detail in one line."""
        return " ".join(part for part in (self.title, self.arrow, f"({self.detail})" if self.detail else "") if part)


@dataclass(frozen=True)
class Table:
    """Rows of entries below columns, with a title, and notes that say how to read it."""

    name: str
    """File name without suffix."""
    title: str
    stub: str
    """Head of the first column."""
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[Entry, ...]], ...]
    """(label, entries), one per column."""
    notes: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()
    """Labels of rows that stay in place when a reader sorts the table."""
    attention: tuple[str, ...] = ()
    """What a reader must know before the first number: it stands before the rows."""

    def __post_init__(self) -> None:
        for label, entries in self.rows:
            if len(entries) != len(self.columns):
                raise ValueError(
                    f"row {label!r} of {self.name} has {len(entries)} entries for {len(self.columns)} columns"
                )

    def legend(self) -> list[str]:
        """What the marks in this table say."""
        used = {mark for _, entries in self.rows for entry in entries for mark in entry.marks}
        return [f"{symbol} {meaning}" for mark, (symbol, meaning) in MARKS.items() if mark in used]

    def entry(self, row: str, column: str) -> Entry:
        """The entry at a row label and a column title; KeyError if there is none."""
        position = [c.title for c in self.columns].index(column)
        return dict(self.rows)[row][position]


def decimals(values: Iterable[float | None], digits: int = 3) -> int | None:
    """Decimals at which the smallest non-zero of `values` has `digits` significant digits; None: use an exponent."""
    sizes = [abs(v) for v in values if v is not None and math.isfinite(v) and v != 0]
    if not sizes:
        return 2
    need = digits - 1 - math.floor(math.log10(min(sizes)))
    return min(max(need, 0), 5) if need <= 7 else None


def number(value: float, places: int | None) -> str:
    """`value` with so many decimals, or with an exponent."""
    return f"{value:.2e}" if places is None else f"{value:.{places}f}"


def md_escape(text: str) -> str:
    """`text` that markdown shows as it is, in a table too."""
    return re.sub(r"([\\|*<`\[\]&])", r"\\\1", text.replace("\n", " "))


def markdown(table: Table) -> str:
    """GitHub markdown: heads in one line, best in bold, legend and notes below."""

    def show(entry: Entry) -> str:
        text = md_escape(entry.text)
        return (f"**{text}**" if entry.best else text) + entry.symbols.replace("*", "\\*")

    def line(items: Iterable[str]) -> str:
        return "| " + " | ".join(items) + " |"

    head = [md_escape(table.stub), *(md_escape(c.head) for c in table.columns)]
    rule = ["---", *("---" if c.text else "---:" for c in table.columns)]
    body = [line([md_escape(label), *map(show, entries)]) for label, entries in table.rows]
    legend = ". ".join(table.legend()).replace("*", "\\*")
    foot = [*map(md_escape, table.notes), *([legend + "."] if legend else [])]
    before = [f"{md_escape(said)}\n" for said in table.attention]
    return "\n".join([*before, line(head), line(rule), *body, *(f"\n{note}" for note in foot)]) + "\n"


CSV_COLUMNS = (
    *("row", "column", "detail", "text", "value", "std", "ci95_low", "ci95_high", "n"),
    *("best", "marks", "failures", "records"),
)


def to_csv(table: Table) -> str:
    """One line per entry with twelve digits and the ids of its records, separated by spaces."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for label, entries in table.rows:
        for column, entry in zip(table.columns, entries, strict=True):
            numbers = ["" if v is None else f"{v:.12g}" for v in (entry.value, entry.spread, entry.low, entry.high)]
            failures = " ".join(f"{status}:{count}" for status, count in sorted(entry.failures.items()))
            head = map(inert, (label, column.title, column.detail, entry.text))
            tail = ("yes" if entry.best else "", " ".join(entry.marks), failures, " ".join(entry.records))
            writer.writerow([*head, *numbers, entry.n, *tail])
    return out.getvalue()


def with_best(entries: Sequence[Entry], higher_is_better: bool) -> list[Entry]:
    """The entries of one column with the best value marked, ties together; nothing to mark with fewer than two values."""
    values = [c.value for c in entries if c.value is not None]
    if len(values) < 2:
        return list(entries)
    best = max(values) if higher_is_better else min(values)
    return [replace(c, best=c.value == best) for c in entries]
