"""`bench report`: tables, figures and provenance of the records in a results folder, as a page to read and to cite."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.cli.options import add_list, refuse, to_path
from bench.cli.problems import set_aside
from bench.cli.selection import default_results
from bench.errors import Exit, SetupError, UsageError
from bench.words import counted, say

if TYPE_CHECKING:
    from bench.records.record import Record
    from bench.records.store import Problem, Store
    from bench.report.document.page import Page
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

    _refuse_in_vain(args)
    folder = args.results_dir or default_results()
    catalogue = find_catalogue()
    suites = None if args.suite is None else registry.match("suite", args.suite, catalogue.suites)
    page, problems = compared(args, catalogue, suites) if args.compare else reported(args, folder, catalogue, suites)
    files = write(page, args.out, html=args.html)
    if args.json:
        names = {"tables": [t.name for t in page.tables()], "figures": [d.name for d in page.drawings()]}
        unreadable = [{"path": str(p.path), "reason": p.reason} for p in problems]
        said = {"records": page.records, "unreadable": unreadable, "files": [str(f) for f in files], **names}
        print(json.dumps(said, indent=1))
        return Exit.OK
    set_aside(problems, "not in the report")
    made = f"{counted(len(page.tables()), 'table')} and {counted(len(page.drawings()), 'figure')} of {counted(page.records, 'record')}"
    say(f"{made}: {', '.join(str(f) for f in files)}")
    return Exit.OK


def _refuse_in_vain(args: argparse.Namespace) -> None:
    """UsageError for options that the page asked for has no use for."""
    if args.compare:
        refuse(args, ["study", "size", "results_dir"], "--compare reads the two stores that it names, and no study")
    elif args.study:
        refuse(args, ["suite"], "the tasks on the page of a study are those of the study")
    else:
        refuse(args, ["size"], "sizes are those of a study: say --study NAME too")


def reported(
    args: argparse.Namespace, folder: Path, catalogue: Catalogue, suites: Sequence[str] | None
) -> tuple[Page, list[Problem]]:
    """The page of a store or of a study, and the files that were set aside."""
    from bench.report.evidence import Evidence
    from bench.report.pages import build, study

    store, records, problems = read(folder)
    evidence = Evidence.of(store, records, problems)
    page = (
        study.build(args.study, args.size or "quick", evidence, catalogue)
        if args.study
        else build.build(evidence, catalogue, suites)
    )
    return page, problems


def compared(
    args: argparse.Namespace, catalogue: Catalogue, suites: Sequence[str] | None
) -> tuple[Page, list[Problem]]:
    """The page of two stores, and the files that were set aside."""
    from bench.report.pages.compare import compare

    (_, a, a_problems), (_, b, b_problems) = (read(folder) for folder in args.compare)
    problems = [*a_problems, *b_problems]
    page = compare(a, b, [str(folder) for folder in args.compare], problems, catalogue, suites)
    return page, problems


def read(folder: Path) -> tuple[Store, list[Record], list[Problem]]:
    """A store with its records, as far as reports read them, and its unreadable files; an error if it has none."""
    from bench.records.store import Store
    from bench.report.frame import READ

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: expected a results folder (--results-dir)")
    store = Store(folder)
    records, problems = store.scan(READ)
    if not records:
        set_aside(problems, "not in the report", sys.stderr)
        raise SetupError(f"{folder} holds no record that can be read: `python -m bench run` makes some")
    return store, records, problems


def find_catalogue() -> Catalogue:
    """Suites, titles and published backbones of the tasks that are here."""
    from bench.report.frame import Catalogue

    tasks = registry.tasks().items
    titles = {name: task.title for name, task in tasks.items()}
    return Catalogue(registry.suites(), titles, {name: task.backbone for name, task in tasks.items()})
