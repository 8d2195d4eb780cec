"""A table, as markdown, CSV and HTML (`latex` has the fourth form). Every entry knows its number, its spread and its records."""

from __future__ import annotations

import csv
import html
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.csvs import inert

ARROWS = {True: "↑", False: "↓", None: ""}
MARKS: Mapping[str, tuple[str, str]] = {
    "trivial": ("†", "does not beat the trivial predictor"),
    "floor": ("◊", "does not beat ridge regression on the raw input"),
    "partial": ("‡", "some seeds failed, as said in the cell; the mean is over the others"),
    "random": ("§", "the encoder started from random weights"),
    "recipe": ("¶", "run with settings that differ from the published recipe"),
    "digitised": ("≈", "read off the bars of a drawing: two digits, about 1 %"),
    "secondary": ("*", "from a secondary source: quoted by others, the original was not seen"),
}
"""Mark -> its symbol and what it says. A table's legend has the marks that it uses."""

LONG = 32
"""Letters from which on a column of text may break on a page."""


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
    def head(self) -> str:
        """Title, arrow and detail in one line."""
        arrow = ARROWS[self.higher_is_better]
        return " ".join(part for part in (self.title, arrow, f"({self.detail})" if self.detail else "") if part)


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
    return "\n".join([line(head), line(rule), *body, *(f"\n{note}" for note in foot)]) + "\n"


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


def to_html(table: Table) -> str:
    """A `<table>` that the page's script can sort; interval, n and records appear on hover."""

    long = {
        column for place, column in enumerate(table.columns) if any(len(c[place].text) > LONG for _, c in table.rows)
    }

    def show(column: Column, entry: Entry) -> str:
        text = html.escape(entry.text)
        inner = (f"<b>{text}</b>" if entry.best else text) + (f"<sup>{entry.symbols}</sup>" if entry.marks else "")
        kind = f' class="t{" long" if column in long else ""}"' if column.text else ""
        sort = f' data-v="{entry.value!r}"' if entry.value is not None and not column.text else ""
        hint = f' title="{html.escape(tooltip(entry))}"' if entry.records else ""
        return f"<td{kind}{sort}{hint}>{inner}</td>"

    def head(column: Column) -> str:
        kind = ' class="t"' if column.text else ""
        detail = f"<small>{html.escape(column.detail)}</small>" if column.detail else ""
        arrow = ARROWS[column.higher_is_better]
        title = html.escape(column.title) + (f" {arrow}" if arrow else "")
        return f'<th scope="col"{kind}><button type="button">{title}{detail}</button></th>'

    def line(label: str, entries: tuple[Entry, ...]) -> str:
        inner = "".join(show(column, entry) for column, entry in zip(table.columns, entries, strict=True))
        pin = ' class="pin"' if label in table.pinned else ""
        kind = ' class="long"' if len(label) > LONG else ""
        return f'<tr{pin}><th scope="row"{kind}>{breakable(label)}</th>{inner}</tr>'

    body = "\n".join(line(label, entries) for label, entries in table.rows)
    foot = "".join(f"<p>{html.escape(x)}</p>" for x in [*table.notes, "; ".join(table.legend())] if x)
    heads = head(Column(table.stub, text=True)) + "".join(map(head, table.columns))
    start = f'<figure class="table"><div class="scroll"><table id="{html.escape(table.name)}">'
    body = f"<thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody></table></div>"
    return f"{start}{body}<figcaption>{foot}</figcaption></figure>"


def breakable(label: str) -> str:
    """A name as HTML that may break after an underscore, comma or bracket where the screen is narrow."""
    return re.sub(r"([_,\[])", r"\1<wbr>", html.escape(label))


def tooltip(entry: Entry) -> str:
    """What hovering over an entry tells: interval, seeds, records (at most eight ids, shortened)."""
    parts = []
    if entry.low is not None and entry.high is not None:
        parts.append(f"{100 * entry.level:.3g} % interval {entry.low:.4g} to {entry.high:.4g}")
    if entry.n:
        parts.append(f"n = {entry.n}")
    shown = ", ".join(i[:8] for i in entry.records[:8]) + (" ..." if len(entry.records) > 8 else "")
    return "; ".join([*parts, f"records {shown}"])


def with_best(entries: Sequence[Entry], higher_is_better: bool) -> list[Entry]:
    """The entries of one column with the best value marked, ties together; nothing to mark with fewer than two values."""
    values = [c.value for c in entries if c.value is not None]
    if len(values) < 2:
        return list(entries)
    best = max(values) if higher_is_better else min(values)
    return [Entry(**{**c.__dict__, "best": c.value == best}) for c in entries]
