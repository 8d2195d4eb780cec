"""A table as LaTeX that pdflatex takes, whatever letters its records hold."""

from __future__ import annotations

from pylatexenc.latexencode import RULE_DICT as BY_LETTER
from pylatexenc.latexencode import UnicodeToLatexConversionRule, UnicodeToLatexEncoder

from bench.report.document.table import Entry, Table

# In the default font encoding a bare | prints as a dash; the default for ◊ needs a further package.
OWN = UnicodeToLatexConversionRule(BY_LETTER, {ord("|"): r"{\textbar}", ord("◊"): r"\ensuremath{\diamond}"})
ENCODER = UnicodeToLatexEncoder(
    conversion_rules=[OWN, "defaults"], unknown_char_policy="replace", unknown_char_warning=False
)
"""Turns a letter that LaTeX has no name for, at which pdflatex would stop, into a bold question mark."""


def escape(text: str) -> str:
    """`text` as ASCII that LaTeX prints as it is."""
    return ENCODER.unicode_to_latex(text)


def latex(table: Table) -> str:
    """A `table` environment for the booktabs package."""

    def show(entry: Entry) -> str:
        text = escape(entry.text)
        return (rf"\textbf{{{text}}}" if entry.best else text) + _mark(entry.symbols)

    heads = " & ".join([escape(table.stub), *(escape(c.head) for c in table.columns)])
    body = "\n".join(" & ".join([escape(label), *map(show, entries)]) + r" \\" for label, entries in table.rows)
    legend = [f"{_mark(line[0])} {escape(line[2:])}." for line in table.legend()]
    said = map(escape, (f"{table.title}.", *table.attention, *table.notes))
    caption = " ".join([*said, *legend])
    align = "l" + "".join("l" if c.text else "r" for c in table.columns)
    lines = [
        *(r"\begin{table}", r"\centering", rf"\caption{{{caption}}}", rf"\label{{tab:{table.name}}}"),
        *(rf"\begin{{tabular}}{{{align}}}", r"\toprule", heads + r" \\", r"\midrule", body, r"\bottomrule"),
        *(r"\end{tabular}", r"\end{table}", ""),
    ]
    return "\n".join(lines)


def _mark(symbols: str) -> str:
    return rf"\textsuperscript{{{escape(symbols)}}}" if symbols else ""
