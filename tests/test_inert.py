"""What a record or a file name says is shown and does nothing: on a terminal, in markdown, in a spreadsheet, in a figure."""

from __future__ import annotations

import csv
import io
import json
import os
import re

import pytest

from bench import cli
from bench.csvs import inert
from bench.errors import Exit
from bench.report.document.markdown import inert as inert_markdown
from bench.words import printable
from tests.record_factory import make_curves, make_record, make_store

ESCAPE = "\x1b]0;owned\x07\x1b[2J"


@pytest.mark.parametrize("verb", ["status", "export", "report", "merge", "plan", "analyse"])
def test_file_names_and_reasons_reach_the_terminal_as_text(tmp_path, capsys, verb):
    store = make_store(tmp_path / "results", make_record())
    (store.folder / f"{ESCAPE}.json").write_text('{"schema": 1, "id": "' + ESCAPE.replace("\x1b", "\\u001b") + '"}')
    (store.folder / os.fsdecode(b"\xff.json")).write_text("{")
    bad = make_record(seed=1) | {"task": ESCAPE}
    (store.folder / "bad.json").write_text(json.dumps(bad))
    options = {
        "report": ["--out", str(tmp_path / "out")],
        "merge": [str(store.folder), "--out", str(tmp_path / "merged")],
        "plan": ["--tasks", "ecg", "--profile", "quick", "--allow-random-weights"],
        "analyse": ["--probe"],
    }
    results = [] if verb == "merge" else ["--results-dir", str(store.folder)]
    cli.main([verb, *options.get(verb, []), *results])
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err and "\x07" not in said.out + said.err
    if verb not in ("plan",):
        assert "bad.json" in said.out + said.err


def test_printable_shows_what_it_does_not_let_through():
    assert printable(f"a\tb\n{ESCAPE}é\x9b\udcff") == "a\tb\n\\x1b]0;owned\\x07\\x1b[2Jé\\x9b\\udcff"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("**3** of `code` <b>", r"**3** of `code` \<b>"),
        ("![x](http://x) [y](z)", r"!\[x\](http://x) \[y\](z)"),
        ("``<script>`", r"\`\`\<script>\`"),
        (r"\`<b>`", r"\\`<b>`"),
        (r"\[x](y)", r"\\\[x\](y)"),
        ("a `b\n<i>` c", "a \\`b\n\\<i>\\` c"),
    ],
)
def test_markdown_knows_code_and_bold_and_nothing_else(text, shown):
    assert inert_markdown(text) == shown


def test_a_report_of_hostile_records_holds_no_active_text(tmp_path):
    hostile = "<img src=x onerror=alert(1)> ![x](http://x) ```\n# x\n" + ESCAPE
    notes = {"warnings": [hostile], "target_nearly_constant": 0.9}
    record = make_record(
        overrides={"method.mode": hostile}, command=hostile, device=hostile, unit="$\\x$", data={"notes": notes}
    )
    failed = make_record(seed=1, status="failed", error={"type": hostile, "message": hostile, "traceback": hostile})
    store = make_store(tmp_path / "results", record, failed, curves=make_curves())
    out = tmp_path / "out"
    assert cli.main(["report", "--html", "--results-dir", str(store.folder), "--out", str(out)]) == Exit.OK
    text = (out / "README.md").read_text()
    fenced = re.compile(r"^(`{3,})sh\n.*?^\1$", re.MULTILINE | re.DOTALL)
    outside = fenced.sub("", text)
    assert "alert(1)" in outside and "\x1b" not in text
    assert not re.search(r"(?<!\\)<img", outside) and not re.search(r"(?<!\\)\[x(?<!\\)\]\(http", outside)
    assert "<img" not in (out / "index.html").read_text()
    for svg in (out / "figures").glob("*.svg"):
        assert "\x1b" not in svg.read_text() and "<img" not in svg.read_text()


@pytest.mark.parametrize("value", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\tx"])
def test_cells_that_a_spreadsheet_would_compute_are_text(tmp_path, capsys, value):
    assert inert(value) == f"'{value}"
    store = make_store(tmp_path, make_record(command=value, settings={"method.mode": value}))
    assert cli.main(["export", "--format", "csv", "--results-dir", str(store.folder)]) == Exit.OK
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert row["command"] == row["method.mode"] == f"'{value}"


def test_a_carriage_return_begins_no_row_of_its_own(tmp_path, capsys):
    store = make_store(tmp_path, make_record(command="a\r=1+1,2"))
    assert cli.main(["export", "--format", "csv", "--results-dir", str(store.folder)]) == Exit.OK
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out, newline=""))
    assert row["command"] == "a\n=1+1,2"


@pytest.mark.parametrize("value", ["-0.5", "+3", "1e-4", -0.5, 3, None, "", "a=b", "—"])
def test_numbers_and_other_cells_stay_as_they_are(value):
    assert inert(value) is value


@pytest.mark.parametrize(
    ("name", "begins"), [("t.csv", b"schema,"), ("t.json", b"["), ("t", b"["), ("t.PARQUET", b"PAR1")]
)
def test_export_takes_the_format_from_the_suffix(tmp_path, name, begins):
    if begins == b"PAR1":
        pytest.importorskip("pyarrow")
    make_store(tmp_path / "r", make_record())
    out = tmp_path / name
    assert cli.main(["export", "--results-dir", str(tmp_path / "r"), "--out", str(out)]) == Exit.OK
    assert out.read_bytes().startswith(begins)


def test_an_unknown_suffix_names_the_formats_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "t.xlsx"
    assert cli.main(["export", "--results-dir", str(tmp_path), "--out", str(out)]) == Exit.USAGE
    said = capsys.readouterr().err
    assert all(form in said for form in ("csv", "json", "parquet")) and not out.exists()
