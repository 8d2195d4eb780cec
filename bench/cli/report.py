"""`bench report`: tables, figures and provenance of the records in a results folder, as a page to read and to cite."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.cli.options import add_list, default_results, to_path
from bench.cli.printing import set_aside
from bench.errors import Exit, SetupError, UsageError
from bench.selection import refuse
from bench.words import counted, say

if TYPE_CHECKING:
    from bench.records.store import Problem
    from bench.report.document.page import Page
    from bench.report.evidence import Evidence
    from bench.report.frame import Catalogue


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
    add("--json", action="store_true", help="print what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is; an error if there is no record to report on."""
    from bench.report.document.write import write

    if args.compare:
        refuse(args, ["study", "size", "results_dir"], "--compare reads the two stores that it names, and no study")
    elif args.study:
        refuse(args, ["suite"], "the tasks on the page of a study are those of the study")
    else:
        refuse(args, ["size"], "sizes are those of a study: say --study NAME too")
    page, problems = _page(args)
    files = [str(file) for file in write(page, args.out, html=args.html)]
    if args.json:
        names = {"tables": [t.name for t in page.tables()], "figures": [d.name for d in page.drawings()]}
        unreadable = [{"path": str(p.path), "reason": p.reason} for p in problems]
        print(json.dumps({"records": page.records, "unreadable": unreadable, "files": files, **names}, indent=1))
        return Exit.OK
    set_aside(problems, "not in the report")
    made = f"{counted(len(page.tables()), 'table')} and {counted(len(page.drawings()), 'figure')} of {counted(page.records, 'record')}"
    say(f"{made}: {', '.join(files)}")
    return Exit.OK


def _page(args: argparse.Namespace) -> tuple[Page, Sequence[Problem]]:
    """The page of a store, of a study or of two stores, and the files that were set aside."""
    from bench.report.pages import build, compare, study

    catalogue = find_catalogue()
    suites = None if args.suite is None else registry.match("suite", args.suite, catalogue.suites)
    if args.compare:
        a, b = map(read, args.compare)
        problems = [*a.problems, *b.problems]
        names = [str(folder) for folder in args.compare]
        return compare.compare(a.records, b.records, names, problems, catalogue, suites), problems
    found = read(args.results_dir or default_results())
    if args.study:
        return study.build(args.study, args.size or "quick", found, catalogue), found.problems
    return build.build(found, catalogue, suites), found.problems


def read(folder: Path) -> Evidence:
    """The records of a store, as far as reports read them, with what lies beside them; an error if it has none."""
    from bench.records.store import Store
    from bench.report.evidence import Evidence
    from bench.report.frame import READ

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: expected a results folder (--results-dir)")
    store = Store(folder)
    records, problems = store.scan(READ)
    if not records:
        set_aside(problems, "not in the report", sys.stderr)
        raise SetupError(f"{folder} holds no record that can be read: `python -m bench run` makes some")
    return Evidence.of(store, records, problems)


def find_catalogue() -> Catalogue:
    """Suites, titles and published backbones of the tasks that are here."""
    from bench.report.frame import Catalogue

    tasks = registry.tasks().items
    titles = {name: task.title for name, task in tasks.items()}
    return Catalogue(registry.suites(), titles, {name: task.backbone for name, task in tasks.items()})
