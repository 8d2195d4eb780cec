"""A table as markdown, HTML and LaTeX: numbers, marks, and letters that mean something to one of them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.report.document import table as render
from bench.report.document.latex import latex
from bench.report.document.page import Fold, Page, Section, Text
from bench.report.document.table import Column, Entry, Table
from bench.report.tables import scores as tables
from tests.record_factory import make_record
from tests.report_helpers import CATALOGUE, in_html, one_panel


def test_attention_stands_before_the_rows():
    notes = {"target_nearly_constant": 0.9}
    table = tables.score_table(one_panel([make_record(data={"notes": notes})]), CATALOGUE)
    assert len(table.attention) == 1
    for text, start in (
        (render.markdown(table), "| method"),
        (in_html(table), "<table"),
        (latex(table), "\\begin{tabular}"),
    ):
        assert 0 <= text.index("nearly constant fields") < text.index(start)


@pytest.mark.parametrize(
    ("values", "places"),
    [([0.5], 3), ([12.3, 99.0], 1), ([1234.5], 0), ([2e-4, 0.5], 5), ([1e-9], None), ([], 2), ([0.0], 2)],
)
def test_decimals_keep_three_digits_of_the_smallest(values, places):
    assert render.decimals(values) == places


def test_special_characters_stay_text_in_every_format():
    nasty = "a|b_c<d>&%$#{~^\\"
    table = Table(
        "t", nasty, nasty, (Column(nasty, "µm"),), ((nasty, (Entry(nasty, marks=("secondary",)),)),), (nasty,)
    )
    text = render.markdown(table)
    assert text.count("a\\|b") == 5 and text.count("\\<d>") == 5 and " <d>" not in text
    tex = latex(table)
    assert (
        r"a{\textbar}b\_c\ensuremath{<}d\ensuremath{>}\&\%\$\#\{{\textasciitilde}{\textasciicircum}{\textbackslash}"
        in tex
    )
    assert "<d>" not in in_html(table) and "&lt;d&gt;" in in_html(table)


def test_a_cell_says_the_level_of_its_interval_and_long_text_may_break():
    cells = (Entry("-0.10 %", -0.1, low=-0.2, high=0.0, level=0.99, records=("r",)), Entry("word " * 20), Entry("word"))
    columns = (Column("effect"), Column("because", text=True), Column("verdict", text=True))
    page = in_html(Table("t", "", "", columns, (("x", cells),)))
    assert "99 % interval -0.2 to 0" in page
    assert page.count('class="t long"') == 1 and page.count('<td class="t" ') == 1


def test_latex_knows_every_letter_that_this_project_writes():
    """None of them becomes the question mark that stands for letters without a name in LaTeX."""
    root = Path(__file__).parent.parent
    files = [
        *(root / "bench" / "studies").glob("*.toml"),
        *(root / "bench" / "report").rglob("*.py"),
        *(root / "tasks").rglob("*.py"),
    ]
    text = "".join(sorted(set("".join(path.read_text() for path in files))))
    table = Table("t", text, "", (Column(text),), ((text, (Entry(text),)),), (text,))
    assert latex(table).isascii() and r"\bfseries ?" not in latex(table)


@pytest.mark.skipif(
    shutil.which("pdflatex") is None and not os.environ.get("BENCH_REQUIRE_TEX"),
    reason="no pdflatex here (with BENCH_REQUIRE_TEX its absence is an error)",
)
def test_latex_compiles(tmp_path):
    greek = "日\x1b é◊αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ ≠ √ ∞ · ½ ‖ ² ³ µ ₀₉ ± ↑ ↓ × → − ≤ ≥ — – Å | < > & % $ # _ { } ~ ^ \\"
    table = Table(
        "t", greek, greek, (Column(greek, greek),), ((greek, (Entry(greek, marks=tuple(render.MARKS)),)),), (greek,)
    )
    start = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "page.tex").write_text(start + latex(table) + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="1 entries for 2 columns"):
        Table("t", "", "", (Column("a"), Column("b")), (("x", (Entry(),)),))


def test_two_blocks_of_one_name_are_refused():
    table = Table("same", "t", "s", (Column("c"),), (("r", (Entry(),)),))
    page = Page("t", (), (Section("s", (table, Fold("f", (table,)), Text("x"))),), 0)
    with pytest.raises(ValueError, match="same"):
        page.tables()
