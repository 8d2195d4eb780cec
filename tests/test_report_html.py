"""The self-contained page, opened in headless Chromium: no console error, nothing from outside, tables that sort."""

import html.parser
import os
import re
import shutil
import subprocess

import pytest

from bench.report.document.html import to_html
from bench.report.document.page import Page, Section
from bench.report.document.table import Column, Entry, Table
from bench.report.evidence import Evidence
from bench.report.pages.build import build
from tests.record_factory import make_analysis, make_arrays, make_curves, make_record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
VOID = {"meta", "link", "br", "img", "wbr"}
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000"),
)

needs_browser = pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("BENCH_REQUIRE_BROWSER"),
    reason="no Chromium here (with BENCH_REQUIRE_BROWSER its absence is an error)",
)


@pytest.fixture(scope="module")
def page():
    """A page with every kind of block, as text."""
    records = [
        make_record(method=m, seed=s, score=score + 0.001 * s, overrides=overrides, analysis=make_analysis())
        for m, score, overrides in (
            *(("vanilla", 0.3, {}), ("mona", 0.2, {})),
            ("orca", 0.25, {"method.mode": "a<b>&\"'"}),
        )
        for s in (0, 1)
    ]
    records.append(make_record(method="linear", status="diverged"))
    made = build(Evidence(records, lambda r: make_curves(), lambda r: make_arrays(seed=r["seed"])))
    return to_html(made, {d.name: d.svg() for d in made.drawings()})


class Checker(html.parser.HTMLParser):
    """Collects what an HTML page loads, its ids, and whether its elements close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.loads = [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        self.loads += [found[a] for a in ("src", "href", "xlink:href", "data", "srcset") if a in found]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_its_ids_are_unique(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == [] and len(checker.ids) == len(set(checker.ids))


def test_nothing_comes_from_outside(page):
    checker = Checker()
    checker.feed(page)
    assert checker.loads and all(x.startswith("#") or x == "data:," for x in checker.loads)
    assert "@import" not in page and not re.search(r"url\((?!#)", page)


def test_names_from_records_are_text(page):
    assert "a<b>" not in page and "a&lt;b&gt;&amp;" in page


def browse(tmp_path, page, script, *flags):
    """The title that `script` leaves after the page has loaded, and what the console said."""
    # Chromium prints the document at the end; the script writes its answer into the title.
    probe = f'<script>window.onload = () => {{ document.title = "ANSWER " + (() => {{ {script} }})(); }};</script>'
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", probe + "</body>"), encoding="utf-8")
    own = (f"--user-data-dir={tmp_path / 'profile'}", *flags, "--dump-dom", path.as_uri())
    done = subprocess.run([CHROMIUM or "chromium", *QUIET, *own], capture_output=True, text=True, timeout=120)
    answer = re.search(r"<title>ANSWER ?(.*?)</title>", done.stdout)
    assert answer, done.stderr[-2000:]
    return answer[1], [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.slow
@needs_browser
def test_a_console_error_would_be_seen(tmp_path, page):
    _, console = browse(tmp_path, page, 'console.error("broken"); return "";')
    assert len(console) == 1 and "broken" in console[0]


@pytest.mark.slow
@needs_browser
def test_tables_sort_without_a_console_error(tmp_path, page):
    script = """
      const table = document.querySelector("table[id^=scores]");
      const first = () => [...table.tBodies[0].rows].map(row => row.cells[0].textContent).join(",");
      const heads = table.querySelectorAll("thead button");
      heads[2].click(); const up = first();
      heads[2].click(); const down = first();
      heads[0].click(); const names = first();
      return [up, down, names, heads[0].parentElement.getAttribute("aria-sort")].join(" / ");
    """
    answer, console = browse(tmp_path, page, script)
    tool = "orca[mode=a&lt;b&gt;&amp;\"']"
    trivial = "trivial predictor"
    assert answer == (
        f"{trivial},mona,{tool},vanilla,linear / {trivial},vanilla,{tool},mona,linear / "
        f"{trivial},linear,mona,{tool},vanilla / ascending"
    )
    assert console == []


@pytest.mark.slow
@needs_browser
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_fits_the_screen(tmp_path, page, width):
    # Headless Chromium has a smallest window width, so the narrow page is laid out in a frame of that width.
    page = page.replace("<body>", f'<body style="width: {width}px">')
    script = f"""
      document.querySelectorAll("details").forEach(d => d.open = true);
      const wide = [...document.querySelectorAll("main *")].filter(e =>
        e.getBoundingClientRect().right > {width} + 1 && !e.closest(".scroll, pre"));
      return wide.map(e => e.tagName).join(",") || "all fits";
    """
    assert browse(tmp_path, page, script, "--window-size=1280,900") == ("all fits", [])


@pytest.mark.slow
@needs_browser
def test_on_a_narrow_page_sentences_of_a_table_need_no_scrolling(tmp_path):
    columns = (Column("verdict", text=True), Column("effect"), Column("because", text=True))
    cells = (Entry("supported"), Entry("+141.43 points (+90.81 to +192.05)"), Entry("a reason of several words " * 4))
    table = Table("t", "Verdicts", "statement", columns, (("a statement of several words " * 3, cells),))
    page = to_html(Page("t", (), (Section("s", (table,)),), 0), {})
    page = page.replace("<body>", '<body style="width: 400px">')
    script = """
      const found = [...document.querySelectorAll(".cards tbody tr > *")];
      return found.length + " " + found.every(e => e.getBoundingClientRect().right <= 401);
    """
    assert browse(tmp_path, page, script, "--window-size=1280,900") == ("4 true", [])


@needs_browser
@pytest.mark.parametrize(("flag", "dark"), [("--blink-settings=preferredColorScheme=0", True), ("--lang=en", False)])
def test_the_page_follows_light_and_dark(tmp_path, page, flag, dark):
    script = """
      const luminance = (e, p) => getComputedStyle(e)[p].match(/[0-9.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0);
      const ink = luminance(document.querySelector("svg text"), "fill");
      const paper = luminance(document.body, "backgroundColor");
      return (ink > paper) + " " + (Math.abs(ink - paper) > 400);
    """
    assert browse(tmp_path, page, script, flag)[0] == f"{str(dark).lower()} true"
