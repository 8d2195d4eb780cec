"""`bench report`: tables, figures and provenance of the records in a results folder, as a page to read and to cite."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import Exit, UsageError, unknown
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
    results = Path(os.environ.get("BENCH_RESULTS") or "results")
    add("--results-dir", type=Path, default=results, help="records (default: $BENCH_RESULTS or results)")
    add("--out", type=Path, default=Path("reports/latest"), help="folder to write (default: %(default)s)")
    add("--suite", nargs="+", metavar="SUITE", help="only these suites (default: all that have records)")
    add("--study", metavar="NAME", help="the page of a study: its verdicts and what they rest on")
    add("--size", default="quick", help="size of the study (default: %(default)s)")
    add("--html", action="store_true", help="also write index.html, one page without outside files")
    add("--compare", nargs=2, type=Path, metavar=("A", "B"), help="compare two stores instead")
    add("--json", action="store_true", help="print what was written as JSON")


def run(args: argparse.Namespace) -> int:
    """Write the report and say where it is. An empty store gives a page that says so."""
    from bench.report.build import build
    from bench.report.write import write
    from bench.store import Store

    catalogue = find_catalogue()
    for suite in args.suite or ():
        if suite not in catalogue.suites:
            raise unknown("suite", suite, catalogue.suites)
    if args.study:
        from bench.report import study

        store = Store(args.results_dir)
        records, problems = store.scan()
        page = study.build(args.study, args.size, records, store.curves, arrays_of(store), catalogue, args.results_dir)
        count = len(records)
    elif args.compare:
        from bench.report.compare import compare

        stores = [Store(folder) for folder in args.compare]
        for store in stores:
            if not store.folder.is_dir():
                raise UsageError(f"{store.folder} is no folder: --compare expects two results folders")
        (a, a_problems), (b, b_problems) = (store.scan() for store in stores)
        page = compare(a, b, [str(f) for f in args.compare], [*a_problems, *b_problems], catalogue, args.suite)
        count, problems = len(a) + len(b), [*a_problems, *b_problems]
    else:
        store = Store(args.results_dir)
        records, problems = store.scan()
        count = len(records)
        page = build(records, problems, store.curves, catalogue, args.suite, args.results_dir, arrays_of(store))
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
    from bench import registry
    from bench.report.frame import Catalogue

    tasks = registry.tasks().items
    titles = {name: task.title for name, task in tasks.items()}
    return Catalogue(registry.suites(), titles, {name: task.backbone for name, task in tasks.items()})
