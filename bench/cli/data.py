"""Data files: what is here (status), get official ones (fetch), check them (verify), make stand-ins (generate), make a
task of your own arrays (import).

examples:
  python -m bench data status
  python -m bench data fetch --tasks advection --dry-run
  python -m bench data verify --tasks 'diffusion_*'
  python -m bench data generate --suite quick --profile quick
  python -m bench data import windows.npz --name my_task --kind classes
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Iterable

from bench import datafiles, registry, words
from bench.cli.options import add_data_dir, add_list, to_path
from bench.cli.printing import table
from bench.datafiles import Row
from bench.errors import Exit, UsageError
from bench.plan import PROFILES
from bench.selection import refuse, tasks_of
from tasks.contract import DataError, File, Task
from tasks.files.locate import human

ACTIONS = ("status", "fetch", "verify", "generate", "import")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench data`."""
    add = parser.add_argument
    add("action", choices=ACTIONS, help="what to do")
    add("path", nargs="?", type=to_path, help="import: an .npz (x, y, optional split, group), .csv or .parquet")
    add_list(parser, "--tasks", "tasks by name or wildcard (default: all)")
    add_list(parser, "--suite", "suites instead of tasks")
    add_data_dir(parser)
    add("--profile", choices=PROFILES, type=str.lower, help="generate: size of the stand-ins (default: quick)")
    add("--samples", type=int, metavar="N", help="generate: number of samples (default: the profile's)")
    own = parser.add_argument_group("import").add_argument
    own("--name", help="name of the new task: small letters, digits and _")
    own("--kind", choices=("classes", "multilabel", "dense"), help="what y is: class, labels 0/1, or a field")
    own("--target", nargs="+", metavar="COLUMN", help="csv, parquet: column(s) of y (default: y)")
    own("--replace", action="store_true", help="replace a task of that name")
    add("--dry-run", action="store_true", help="say what would be done, with sizes; do nothing")
    add("--json", action="store_true", help="print an array of objects")


def run(args: argparse.Namespace) -> int:
    """Do it for every task of the selection; one that fails is reported and stops no other."""
    if args.samples is not None and args.samples < 1:
        raise UsageError(f"--samples {args.samples}: expected a positive number")
    if args.action == "import":
        return _import(args)
    refuse(args, ["name", "kind", "target", "replace"], "belongs to `bench data import`")
    if args.path:
        raise UsageError(f"{args.path}: a file belongs to `bench data import`, not to {args.action}")
    if args.action != "generate":
        refuse(args, ["profile", "samples"], "belongs to `bench data generate`")
    if args.action == "status":
        refuse(args, ["dry_run"], "status changes nothing anyway")
    rows: list[Row] = []
    for task in tasks_of(args.tasks or (), args.suite or ()) or registry.tasks().items:
        try:
            rows += _rows(registry.tasks()[task], args)
        except DataError as error:
            rows.append(_failed(task, error))
    if args.json:
        print(json.dumps(rows, indent=1))
    elif args.action in ("status", "verify"):
        words.say(table([_shown(row) for row in rows]))
    bad = {"failed", "differs"}
    if args.action == "verify" and (args.tasks or args.suite):
        bad.add("missing")  # of all tasks, most are missing anywhere; who names one needs it
    return Exit.SOME_FAILED if any(row["state"] in bad for row in rows) else Exit.OK


def _shown(row: Row) -> Row:
    size = human(row["bytes"]) if row.get("bytes") else "-"
    return {"task": row["task"], "state": row["state"], "size": size, "file": row.get("file") or "-", "": row["detail"]}


def _import(args: argparse.Namespace) -> int:
    """Make a task of a user's arrays, and say what it is."""
    if args.path is None or args.name is None or args.kind is None:
        raise UsageError(
            "bench data import takes a file, --name and --kind: bench data import mine.npz --name mine --kind classes"
        )
    refuse(args, ["tasks", "suite", "profile", "samples", "dry_run"], "bench data import makes one task of one file")
    task = datafiles.own(args.path, args.data_dir, args.name, args.kind, args.target or ("y",), args.replace)
    if args.json:
        made = {"task": task.name, "file": str(args.data_dir / task.files[0].path), "splits": dict(task.splits),
                "input": list(task.input_shape), "output": list(task.output_shape), "split_policy": task.split_policy}  # fmt: skip
        print(json.dumps(made, indent=1))
        return Exit.OK
    shapes = ["×".join(map(str, shape)) for shape in (task.input_shape, task.output_shape)]
    splits = ", ".join(f"{n} {part}" for part, n in task.splits.items())
    print(f"{task.name}: input {shapes[0]}, output {shapes[1]}, {splits} ({task.split_policy})")
    print(f"next: python -m bench run --tasks {task.name} --methods vanilla mona")
    return Exit.OK


def _rows(task: Task, args: argparse.Namespace) -> Iterable[Row]:
    """Do what was asked for with one task; what is said of each file."""
    if args.action == "status":
        return datafiles.status(task, args.data_dir)
    if args.action == "verify":
        return datafiles.verify(task, args.data_dir, args.dry_run)
    if args.action == "fetch":
        return (_fetched(task, file, args) for file in task.files)
    row = datafiles.generate(task, args.data_dir, args.profile or "quick", args.samples, args.dry_run)
    said = {
        "none": "has no stand-in, it runs on its own files",
        "would generate": f"would generate in {row['file']} ({row['detail']})",
        "generated": f"generated in {row.get('seconds', 0):.1f} s ({row['detail']})",
        "here": f"here in {row['file']} ({row['detail']})" if args.dry_run else "here already",
    }
    _tell(args, f"{task.name}: {said[row['state']]}")
    return [row]


def _fetched(task: Task, file: File, args: argparse.Namespace) -> Row:
    """Fetch a file, with its progress on a terminal. A failure stops no other file."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    console = Console(stderr=True)
    columns, hidden = (DownloadColumn(), TransferSpeedColumn()), args.json or not console.is_terminal
    try:
        with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
            job = bar.add_task("", total=None)
            say, progress = functools.partial(_tell, args), functools.partial(bar.advance, job)
            return datafiles.fetch(task, file, args.data_dir, say, args.dry_run, progress)
    except DataError as error:
        return datafiles.of_file(task, file) | _failed(task.name, error)


def _tell(args: argparse.Namespace, text: str) -> None:
    """To people on stdout; beside JSON on stderr."""
    words.say(text, sys.stderr if args.json else sys.stdout)


def _failed(task: str, error: DataError) -> Row:
    words.say(f"bench: {task}: {error}", sys.stderr)
    return {"task": task, "state": "failed", "detail": str(error)}
