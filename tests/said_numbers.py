"""Numbers that prose and tables say, and where they come from: pages built again from the committed records, and the records."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.records.store import Store
from bench.report.asked import Asked, page_of
from bench.report.document.page import Page, Text
from bench.report.document.table import Table
from tests.test_docs import COMMAND, parsed

ROOT = Path(__file__).parent.parent
PAGES = {path.parent.name: path for path in sorted((ROOT / "reports").glob("*/README.md"))}
"""Committed pages by folder."""
NUMBER = re.compile(r"(?<![\w.−-])[−+-]?(?:\d{1,3}(?:,\d{3})+|\d*\.?\d+)(?:e[−-]?\d+)?(?!\w)")
WORDS = [
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
]


@dataclass(frozen=True)
class Said:
    """A number as it is printed."""

    text: str
    value: float
    half: float
    """Half a unit of its last digit: what rounding may have moved it by."""
    signed: bool

    def fits(self, value: float, half: float = 0.0) -> bool:
        """Whether it may be `value`, known to `half`, with no more digits than that; without a sign it tells of size alone."""
        apart = self.value - value if self.signed else abs(self.value) - abs(value)
        return half <= self.half and abs(apart) <= self.half * (1 + 1e-9)


def numbers(text: str) -> list[Said]:
    """The numbers of a text, in digits or (from two on) in words, without those in code, in links' targets and in names."""
    plain = re.sub(r"`[^`]*`|\]\([^)]*\)|<!--.*?-->", " ", text, flags=re.DOTALL)
    found = [_said(match[0]) for match in NUMBER.finditer(plain)]
    words = re.findall(rf"\b(?:{'|'.join(WORDS)})\b", plain.lower())
    return found + [Said(word, WORDS.index(word) + 2.0, 0.5, False) for word in words]


def _said(text: str) -> Said:
    plain = text.replace("−", "-").replace(",", "")
    mantissa, _, exponent = plain.partition("e")
    places = len(mantissa.partition(".")[2])
    return Said(text, float(plain), 0.5 * 10 ** (int(exponent or 0) - places), text[0] in "+−-")


def command_of(name: str) -> str:
    """The command at the end of a committed page that wrote it."""
    found = (match[1] for line in PAGES[name].read_text().splitlines() if (match := COMMAND.match(line)))
    return next(command.strip() for command in found if command.strip().startswith("report "))


@functools.cache
def page_again(name: str) -> Page:
    """A committed page, from the records of today."""
    args = parsed(command_of(name))
    asked = Asked(ROOT / args.results_dir, args.suite, args.study, args.size)
    return page_of(asked)[0]


def rows_of(text: str) -> dict[str, list[dict[str, str]]]:
    """Title (of section and table) -> the rows of a page's markdown tables, each as head -> cell."""
    found: dict[str, list[dict[str, str]]] = {}
    section = title = ""
    head: list[str] = []
    for line in text.splitlines():
        if line.startswith("## "):
            section = line
        elif line.startswith("**") and line.endswith("**"):
            title = line
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] if line.startswith("|") else []
        if not cells:
            head = []
        elif not head:
            head = cells
        elif set(cells[0]) != {"-"}:
            found.setdefault(f"{section} {title}", []).append(dict(zip(head, cells, strict=True)))
    return found


@functools.cache
def known(target: str, statements: tuple[int, ...] = ()) -> tuple[tuple[float, float], ...]:
    """(value, what it is known to) of the numbers of a page (`reports/NAME/README.md`) or a store (`results/NAME`).

    Of a page these are its sentences, its means of scores and probes with their n, and its verdicts; of `statements` alone
    where some are named. Of a store: scores of its records and of their trivial predictors, and how many there are of what.
    """
    kind, name = target.split("/")[:2]
    if kind == "results":
        records = Store(ROOT / "results" / name).scan()[0]
        scores = [r["score"] for r in records] + [s for r in records for s in r["trivial"].get("all", {}).values()]
        counts = [len(records), *(len({r[key] for r in records}) for key in ("task", "method", "seed", "backbone"))]
        return (*((float(x), 0.0) for x in scores if x is not None), *((float(n), 0.5) for n in counts))
    return tuple(_of_page(page_again(name), statements))


def _of_page(page: Page, statements: tuple[int, ...]) -> Iterator[tuple[float, float]]:
    texts = [block.text for block in page.walk() if isinstance(block, Text)]
    for table in page.tables():
        verdicts = table.name.startswith("verdicts_")
        if not verdicts and not table.name.startswith(("scores_", "probe_", "tuning_")):
            continue
        for label, entries in table.rows:
            if verdicts and statements and int(label.partition(".")[0]) not in statements:
                continue
            texts += (
                [label, *(entry.text for entry in entries)] if verdicts or table.name.startswith("tuning_") else [label]
            )
            for entry in entries:
                bounds = (entry.low, entry.high) if verdicts else ()
                yield from ((x, 0.0) for x in (entry.value, *bounds) if x is not None)
                # Whole numbers in the words of an entry are counts: runs, tasks, the smallest effect that matters.
                yield from ((said.value, said.half) for said in numbers(f"{entry.n} {entry.text}") if said.half == 0.5)
    yield from ((said.value, said.half) for text in texts for said in numbers(text))


def tables_of(name: str, prefix: str) -> Mapping[str, Table]:
    """The tables of a committed page, from the records of today, whose names begin so."""
    return {table.name: table for table in page_again(name).tables() if table.name.startswith(prefix)}
