"""`bench report`: tables, figures and provenance of the records in a results folder, as a page to read and to cite."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.cli.options import add_list, refuse, to_path
from bench.cli.selection import default_results
from bench.errors import Exit, UsageError
from bench.words import counted

if TYPE_CHECKING:
    import numpy as np

    from bench.record import Record
    from bench.report.analyses import ArraysOf
    from bench.report.frame import Catalogue
    from bench.store import Store

HELP = "write a report of finished cells: markdown, tables (csv, tex), figures (svg, csv), optionally one HTML page"


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
    """Write the report and say where it is. An empty store gives a page that says so."""
    from bench.report.build import build
    from bench.report.write import write
    from bench.store import Store

    _refuse_in_vain(args)
    folder = args.results_dir or default_results()
    catalogue = find_catalogue()
    suites = None if args.suite is None else registry.match("suite", args.suite, catalogue.suites)
    if args.study:
        from bench.report import study

        store = Store(folder)
        records, problems = store.scan()
        page = study.build(args.study, args.size or "quick", records, store.curves, arrays_of(store), catalogue, folder)
        count = len(records)
    elif args.compare:
        from bench.report.compare import compare

        stores = [Store(folder) for folder in args.compare]
        for store in stores:
            if not store.folder.is_dir():
                raise UsageError(f"{store.folder} is no folder: --compare expects two results folders")
        (a, a_problems), (b, b_problems) = (store.scan() for store in stores)
        page = compare(a, b, [str(f) for f in args.compare], [*a_problems, *b_problems], catalogue, suites)
        count, problems = len(a) + len(b), [*a_problems, *b_problems]
    else:
        store = Store(folder)
        records, problems = store.scan()
        count = len(records)
        page = build(records, problems, store.curves, catalogue, suites, folder, arrays_of(store))
    files = write(page, args.out, html=args.html)
    if args.json:
        names = {"tables": [t.name for t in page.tables()], "figures": [d.name for d in page.drawings()]}
        unreadable = [{"path": str(p.path), "reason": p.reason} for p in problems]
        said = {"records": count, "unreadable": unreadable, "files": [str(f) for f in files], **names}
        print(json.dumps(said, indent=1))
        return Exit.OK
    for problem in problems:
        print(f"not in the report: {problem.path}: {problem.reason}")
    made = f"{counted(len(page.tables()), 'table')} and {counted(len(page.drawings()), 'figure')} of {counted(count, 'record')}"
    print(f"{made}: {', '.join(str(f) for f in files)}")
    return Exit.OK


def _refuse_in_vain(args: argparse.Namespace) -> None:
    """UsageError for options that the page asked for has no use for."""
    if args.compare:
        refuse(args, ["study", "size", "results_dir"], "--compare reads the two stores that it names, and no study")
    elif args.study:
        refuse(args, ["suite"], "the tasks on the page of a study are those of the study")
    else:
        refuse(args, ["size"], "sizes are those of a study: say --study NAME too")


def arrays_of(store: Store) -> ArraysOf:
    """Reads the arrays of a record in `store`: plain arrays only, {} if there are none."""
    import numpy as np

    def read(record: Record) -> dict[str, np.ndarray]:
        path = store.sidecar(record, ".npz")
        if not path.exists():
            return {}
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files if name.startswith(("tsne_", "source_"))}

    return read


def find_catalogue() -> Catalogue:
    """Suites, titles and published backbones of the tasks that are here."""
    from bench.report.frame import Catalogue

    tasks = registry.tasks().items
    titles = {name: task.title for name, task in tasks.items()}
    return Catalogue(registry.suites(), titles, {name: task.backbone for name, task in tasks.items()})
