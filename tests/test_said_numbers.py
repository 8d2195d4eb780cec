"""Every number in README's results, and every table of a committed page, is computed again from the committed records.

README is fed so: each paragraph or bullet of its results links the pages (`reports/NAME/README.md`) or stores (`results/NAME`)
that its numbers come from; a table, and what has no link, rests on those of its section. A table names rows and columns as
the pages do (what stands in brackets is left out). A block whose first bold words hold a verdict links the page with the
statements that came to it as title: `[page](reports/NAME/README.md "statements 1 3")`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from bench import studies
from bench.report.document.markdown import markdown
from bench.report.document.table import Entry
from tests.said_numbers import PAGES, ROOT, command_of, known, numbers, page_again, rows_of, tables_of

FIRST, LAST = "## What a run looks like", "## What is here"
"""The part of README that holds results: from the one heading to the other."""
BY_HAND = {"8", "9"}
"""Numbers that no record holds: 8 min 9 s, the wall-clock time of the whole demo."""
STUDIES = set(studies.all_studies())
OUTCOMES = ("supported", "contradicted", "negligible", "undecided")
LINK = re.compile(r'\]\(((?:reports|results)/[\w./-]+?)/?(?: "([^"]*)")?\)')


@pytest.mark.parametrize("name", PAGES)
def test_a_committed_page_says_what_its_records_say(name):
    said, again = rows_of(PAGES[name].read_text()), rows_of(markdown(page_again(name)))
    wrong = [
        (title, row)
        for title, rows in said.items()
        for row in rows
        if not any(row.items() <= other.items() for other in again.get(title, ()))
    ]
    assert said and not wrong, f"`python -m bench {command_of(name)} --out reports/{name}` writes it again"


def sections(text: str) -> list[str]:
    return re.split(r"^(?=## )", text[text.index(FIRST) : text.index(LAST)], flags=re.MULTILINE)[1:]


def blocks(section: str) -> list[str]:
    """Paragraphs, bullets and tables of a section, without headings and pictures."""
    found = re.split(r"\n\s*\n|\n(?=- )", section)
    return [block for block in found if not re.match(r"\s*(?:#|!\[|$)", block)]


EVERY = [(section, block) for section in sections((ROOT / "README.md").read_text()) for block in blocks(section)]
PROSE = [(section, block) for section, block in EVERY if not block.startswith("|")]
TABLES = [(section, block) for section, block in EVERY if block.startswith("|")]


def links(text: str) -> dict[str, tuple[int, ...]]:
    """Page or store -> the statements that its links name."""
    found: dict[str, tuple[int, ...]] = {}
    for target, title in LINK.findall(text):
        if re.fullmatch(r"reports/[\w-]+/README\.md|results/\w+", target):
            found[target] = (*found.get(target, ()), *map(int, re.findall(r"\d+", title)))
    return found


def lost(section: str, block: str) -> list[str]:
    """The numbers of a block that none of its pages has; small whole ones may stand anywhere in what the section links."""
    counts = [(float(n), 0.5) for n in (len(STUDIES), len(STUDIES & set(PAGES)), len(STUDIES - set(PAGES)))]
    wide = [*counts, *(pair for target in links(section) for pair in known(target))]
    own = links(block)
    near = [*counts, *(pair for target, chosen in own.items() for pair in known(target, chosen))] if own else wide
    small = {said.text for said in numbers(block) if said.value in range(2, 13) and said.half == 0.5}
    return [
        said.text
        for said in numbers(block)
        if said.text not in BY_HAND and not any(said.fits(*pair) for pair in (wide if said.text in small else near))
    ]


@pytest.mark.parametrize(("section", "block"), PROSE, ids=lambda text: text[:40])
def test_a_number_in_readme_is_that_of_its_page(section, block):
    assert lost(section, block) == [], f"not in {links(block) or links(section)}"


@pytest.mark.parametrize(("section", "block"), PROSE, ids=lambda text: text[:40])
def test_a_verdict_in_readme_is_that_of_its_statement(section, block):
    bold = " ".join(re.findall(r"\*\*(.*?)\*\*", block, re.DOTALL)[:1]).lower()
    claimed = next((word for word in OUTCOMES if re.search(rf"\b{word}\b", bold)), None)
    named = {(target.split("/")[1], n) for target, statements in links(block).items() for n in statements}
    assert claimed is None or named, 'a verdict names its statements: [page](reports/NAME/README.md "statements 1 3")'
    for name, number in named if claimed else ():
        (table,) = tables_of(name, "verdicts_").values()
        (outcome,) = [entries[0].text for label, entries in table.rows if label.startswith(f"{number}. ")]
        assert outcome == claimed, f"statement {number} of {name}"


def bare(cell: str) -> str:
    """A name without emphasis, code and what stands in brackets."""
    return re.sub(r"\(.*?\)|[*`]", "", cell).strip()


def entries_of(section: str, block: str) -> Iterator[tuple[str, Entry]]:
    """(cell of a README table, what the page has there), for every cell with a number."""
    pages = [target.split("/")[1] for target in links(section) if target.startswith("reports")]
    tables = [table for name in pages for table in tables_of(name, "scores_").values()]
    for row in next(iter(rows_of(block).values())):
        (_, label), *cells = row.items()
        for column, cell in cells:
            found = [
                table.entry(bare(label), bare(column))
                for table in tables
                if bare(label) in dict(table.rows) and bare(column) in {c.title for c in table.columns}
            ]
            assert found, f"no page of {pages} has {bare(label)!r} and {bare(column)!r} in its table of scores"
            yield cell, next((entry for entry in found if entry.value is not None), found[0])


@pytest.mark.parametrize(("section", "block"), TABLES, ids=lambda text: text[:40])
def test_a_cell_in_readme_is_that_of_the_table_of_scores(section, block):
    wrong = [
        (cell, entry.text)
        for cell, entry in entries_of(section, block)
        if not (
            [said.fits(entry.value) for said in numbers(cell)[:1]] == [True]
            if entry.value is not None
            else not numbers(cell)
        )
        or ("**" in cell and not entry.best)
        or ("†" in cell) != ("trivial" in entry.marks)
    ]
    assert not wrong, "(README, page)"


@pytest.mark.parametrize(
    ("printed", "value", "half", "fits"),
    [
        ("31.5 %", -31.46, 0.0, True),
        ("+31.5 %", -31.46, 0.0, False),
        ("−0.10", -0.0955, 0.0, True),
        ("−0.09", -0.0955, 0.0, False),
        ("1.4e-8", 1.3475e-8, 0.0, False),
        (".0018", 0.00179, 0.0, True),
        ("1,024", 1024, 0.5, True),
        ("seven", 7, 0.5, True),
        ("2.9", 3, 0.5, False),  # what is known as a whole number bears out no decimals
    ],
)
def test_a_number_fits_what_it_may_be_rounded_from(printed, value, half, fits):
    (said,) = numbers(printed)
    assert said.fits(value, half) is fits


def test_names_code_and_targets_are_no_numbers():
    assert numbers("NAS-Bench-360 in 2D, `lr=3e-4`, [page](reports/x-7/README.md), mona-figure-3") == []
