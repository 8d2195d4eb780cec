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
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import registry, words
from bench import standins as data
from bench.cli.options import add_data_dir, add_list, to_path
from bench.cli.printing import table
from bench.errors import Exit, UsageError
from bench.plan import PROFILES
from bench.selection import refuse, tasks_of
from tasks.contract import DataError, File, Task
from tasks.files.locate import facts, human, locate

Row = dict[str, Any]
"""What is said of a file, as `--json` prints it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench data`."""
    add = parser.add_argument
    add("action", choices=(*ACTIONS, "import"), help="what to do")
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
            rows += ACTIONS[args.action](registry.tasks()[task], args)
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
    """Check a user's arrays and keep them as a task below the data folder."""
    from tasks.own import arrays, stored

    if args.path is None or args.name is None or args.kind is None:
        raise UsageError(
            "bench data import takes a file, --name and --kind: bench data import mine.npz --name mine --kind classes"
        )
    refuse(args, ["tasks", "suite", "profile", "samples", "dry_run"], "bench data import makes one task of one file")
    taken = registry.tasks().origin.get(args.name) or ("methods" if args.name in registry.methods().items else None)
    if taken and args.name not in stored.tasks_in(args.data_dir):
        raise UsageError(f"--name {args.name}: the name is taken by {taken}")
    found = arrays.read(args.path, args.kind, args.target or ("y",))
    task = stored.store(args.path, args.data_dir, args.name, args.kind, found, args.replace)
    registry.forget_tasks()
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


def _tell(args: argparse.Namespace, text: str) -> None:
    """To people on stdout; beside JSON on stderr."""
    words.say(text, sys.stderr if args.json else sys.stdout)


def _failed(task: str, error: DataError) -> Row:
    words.say(f"bench: {task}: {error}", sys.stderr)
    return {"task": task, "state": "failed", "detail": str(error)}


def _verify(task: Task, args: argparse.Namespace) -> Iterator[Row]:
    """One row per official file: is it the published one? `status` says it as far as that was computed before."""
    from tasks.files.verify import verify

    looks = args.action == "status"
    unknown = ("official", "not verified yet: `bench data verify`") if looks else ("would verify", "")
    for file in task.files:
        path = locate(args.data_dir, file)
        row = {"task": task.name, "file": file.path, "state": "missing", "bytes": file.size}
        if path is None or not (looks or path.is_file()):
            yield row | {"detail": "" if looks else facts(file)}
            continue
        compute = not (looks or args.dry_run)
        verdict = verify(path, file, args.data_dir, compute) if path.is_file() else None
        state, detail = (verdict.status, verdict.detail) if verdict else unknown
        if looks and state in ("verified", "unknown"):
            state = "official"
        yield row | {"state": state, "bytes": path.stat().st_size, "detail": detail}


def _status(task: Task, args: argparse.Namespace) -> Iterator[Row]:
    """One row per official file, and one per stand-in that is here."""
    yield from _verify(task, args)
    for profile in PROFILES:
        if data.standin_here(task, args.data_dir, profile):
            root = data.standin_root(args.data_dir, profile)
            paths = [p for p in (locate(root, file) for file in task.files) if p is not None and p.is_file()]
            size = sum(p.stat().st_size for p in paths)
            yield {"task": task.name, "file": f"generated/{profile}", "state": "generated", "bytes": size, "detail": ""}


def _fetch(task: Task, args: argparse.Namespace) -> Iterator[Row]:
    """Each official file in turn; where there is no direct link, what to get where. A failure stops no other file."""
    return (_fetch_one(task, file, args) for file in task.files)


def _fetch_one(task: Task, file: File, args: argparse.Namespace) -> Row:
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

    from tasks.files.fetch import fetch

    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        _tell(args, text)

    row = {"task": task.name, "file": file.path, "bytes": file.size, "url": file.url, "checksum": file.checksum}
    console = Console(stderr=True)
    hidden = args.json or not console.is_terminal
    try:
        with Progress(DownloadColumn(), TransferSpeedColumn(), console=console, transient=True, disable=hidden) as bar:
            job = bar.add_task("", total=None)
            path = fetch(file, args.data_dir, say, args.dry_run, lambda count: bar.advance(job, count))
    except DataError as error:
        return row | _failed(task.name, error)
    state = "here" if path else "would fetch" if file.url else "by hand"
    return {**row, "state": state, "detail": " ".join(said)}


def _generate(task: Task, args: argparse.Namespace) -> list[Row]:
    """The stand-in of one task, unless it is here."""
    if task.generate is None:
        _tell(args, f"{task.name}: has no stand-in, it runs on its own files")
        return [{"task": task.name, "file": None, "bytes": None, "state": "none", "detail": "no stand-in"}]
    profile, samples = args.profile or "quick", args.samples
    root = data.standin_root(args.data_dir, profile, samples)
    size = {**task.sizes[profile], **({"samples": samples} if samples else {})}
    wanted = ", ".join(f"{k} {v}" for k, v in size.items())
    row = {"task": task.name, "file": str(root), "bytes": None, "detail": wanted}
    if args.dry_run:
        state = "here" if data.standin_here(task, args.data_dir, profile, samples) else "would generate"
        _tell(args, f"{task.name}: {state} in {root} ({wanted})")
        return [{**row, "state": state}]
    start = time.monotonic()
    made = data.generate(task, args.data_dir, profile, samples)
    seconds = round(time.monotonic() - start, 2)
    _tell(args, f"{task.name}: generated in {seconds:.1f} s ({wanted})" if made else f"{task.name}: here already")
    return [{**row, "state": "generated" if made else "here", "seconds": seconds}]


ACTIONS = {"status": _status, "fetch": _fetch, "verify": _verify, "generate": _generate}
