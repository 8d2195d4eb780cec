"""`bench report`: tables, figures and provenance of the records in a results folder, as a page to read and to cite."""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path

from bench.cli.options import add_list, to_path
from bench.cli.printing import set_aside
from bench.errors import Exit
from bench.words import counted, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench report`."""
    add = parser.add_argument
    add("--results-dir", type=to_path, default=None, metavar="DIR", help="records (default: $BENCH_RESULTS or results)")
    add("--out", type=to_path, default=Path("reports/latest"), help="folder to write (default: %(default)s)")
    add_list(parser, "--suite", "only these suites (default: all that have records)", "SUITE")
    add("--study", metavar="NAME", help="the page of a study, by name or TOML file: its verdicts and what they rest on")
    add("--size", type=str.lower, help="size of the study (default: quick)")
    add("--html", action="store_true", help="also write index.html, one page without outside files")
    add("--compare", nargs=2, type=to_path, metavar=("A", "B"), help="compare two stores instead")
    add("--against", type=to_path, metavar="REFERENCE",
        help="say where the methods here land among those of a results folder, an archive of one, or `reference`, which comes along")  # fmt: skip
    add("--json", action="store_true", help="print what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is; an error if there is no record to report on."""
    from bench.report.asked import Asked, page_of
    from bench.report.document.page import Text
    from bench.report.document.write import write

    page, problems = page_of(Asked(**{f.name: getattr(args, f.name) for f in fields(Asked)}))
    landing = [block.text for block in page.sections[0].blocks if isinstance(block, Text)] if args.against else []
    files = [str(file) for file in write(page, args.out, html=args.html)]
    if args.json:
        names = {"tables": [t.name for t in page.tables()], "figures": [d.name for d in page.drawings()]}
        unreadable = [{"path": str(p.path), "reason": p.reason} for p in problems]
        names |= {"against": landing} if args.against else {}
        print(json.dumps({"records": page.records, "unreadable": unreadable, "files": files, **names}, indent=1))
        return Exit.OK
    set_aside(problems, "not in the report")
    for line in landing:
        say(line.replace("**", "").replace("`", ""))
    made = f"{counted(len(page.tables()), 'table')} and {counted(len(page.drawings()), 'figure')} of {counted(page.records, 'record')}"
    say(f"{made}: {', '.join(files)}")
    return Exit.OK
