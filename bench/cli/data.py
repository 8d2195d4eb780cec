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
from typing import Any

from bench import registry, words
from bench import standins as data
from bench.cli.options import add_list, refuse, to_path
from bench.cli.selection import add_data_dir
from bench.cli.tables import table
from bench.errors import Exit, UsageError
from bench.plan import PROFILES
from tasks.contract import DataError, File, Task
from tasks.files.locate import facts, human, locate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `bench data`."""
    parser.add_argument("action", choices=(*ACTIONS, "import"), help="what to do")
    parser.add_argument(
        "path", nargs="?", type=to_path, help="import: an .npz (x, y, optional split, group), .csv or .parquet"
    )
    add_list(parser, "--tasks", "tasks by name or wildcard (default: all)")
    add_list(parser, "--suite", "suites instead of tasks")
    add_data_dir(parser)
    parser.add_argument(
        "--profile", choices=PROFILES, type=str.lower, help="generate: size of the stand-ins (default: quick)"
    )
    parser.add_argument(
        "--samples", type=int, default=None, metavar="N", help="generate: number of samples (default: the profile's)"
    )
    own = parser.add_argument_group("import")
    own.add_argument("--name", help="name of the new task: small letters, digits and _")
    own.add_argument(
        "--kind", choices=("classes", "multilabel", "dense"), help="what y is: class, labels 0/1, or a field"
    )
    own.add_argument("--target", nargs="+", metavar="COLUMN", help="csv, parquet: column(s) of y (default: y)")
    own.add_argument("--replace", action="store_true", help="replace a task of that name")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, with sizes; do nothing")
    parser.add_argument("--json", action="store_true", help="print an array of objects")


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
    rows: list[dict[str, Any]] = []
    for task in _selected(args):
        try:
            rows += ACTIONS[args.action](task, args)
        except DataError as error:
            rows.append(_failed(task, error))
    if args.json:
        print(json.dumps(rows, indent=1))
    elif args.action in ("status", "verify"):
        _print_table(rows)
    bad = {"failed", "differs"}
    if args.action == "verify" and (args.tasks or args.suite):
        bad.add("missing")  # of all tasks, most are missing anywhere; who names one needs it
    return Exit.SOME_FAILED if any(row["state"] in bad for row in rows) else Exit.OK


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
    facts = {"task": task.name, "file": str(args.data_dir / task.files[0].path), "splits": dict(task.splits),
             "input": list(task.input_shape), "output": list(task.output_shape), "split_policy": task.split_policy}  # fmt: skip
    if args.json:
        print(json.dumps(facts, indent=1))
        return Exit.OK
    shapes = ["×".join(map(str, shape)) for shape in (task.input_shape, task.output_shape)]
    print(
        f"{task.name}: input {shapes[0]}, output {shapes[1]}, {', '.join(f'{n} {part}' for part, n in task.splits.items())} ({task.split_policy})"
    )
    print(f"next: python -m bench run --tasks {task.name} --methods vanilla mona")
    return Exit.OK


def _selected(args: argparse.Namespace) -> list[Task]:
    """The tasks that --tasks and --suite name; all without either."""
    found, suites = registry.tasks(), registry.suites()
    names = found.select(args.tasks or ())
    for suite in registry.match("suite", args.suite or (), suites):
        names += [name for name in suites[suite] if name not in names]
    if not args.tasks and not args.suite:
        names = list(found.items)
    return [found.items[name] for name in names]


def _tell(args: argparse.Namespace, text: str) -> None:
    """To people on stdout; beside JSON on stderr."""
    words.say(text, sys.stderr if args.json else sys.stdout)


def _status(task: Task, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per official file, and one per stand-in that is here. Computes no checksum."""
    from tasks.files.verify import verify

    rows = []
    for file in task.files:
        path = locate(args.data_dir, file)
        row = {"task": task.name, "file": file.path, "state": "missing", "bytes": file.size, "detail": ""}
        if path is not None:
            verdict = verify(path, file, args.data_dir, compute=False) if path.is_file() else None
            state = "official" if verdict is None or verdict.status in ("verified", "unknown") else verdict.status
            detail = verdict.detail if verdict else "not verified yet: `bench data verify`"
            row |= {"state": state, "bytes": path.stat().st_size, "detail": detail}
        rows.append(row)
    for profile in PROFILES:
        root = data.standin_root(args.data_dir, profile)
        if data.standin_here(task, args.data_dir, profile):
            paths = [p for p in (locate(root, file) for file in task.files) if p is not None and p.is_file()]
            size = sum(p.stat().st_size for p in paths)
            rows.append(
                {"task": task.name, "file": f"generated/{profile}", "state": "generated", "bytes": size, "detail": ""}
            )
    return rows


def _fetch(task: Task, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Each official file in turn; where there is no direct link, what to get where. A failure stops no other file."""
    return [_fetch_one(task, file, args) for file in task.files]


def _fetch_one(task: Task, file: File, args: argparse.Namespace) -> dict[str, Any]:
    from tasks.files.fetch import fetch

    said: list[str] = []

    def say(text: str) -> None:
        said.append(text)
        _tell(args, text)

    row = {"task": task.name, "file": file.path, "bytes": file.size, "url": file.url, "checksum": file.checksum}
    try:
        with _Progress(not args.json) as progress:
            path = fetch(file, args.data_dir, say, args.dry_run, progress)
    except DataError as error:
        return row | _failed(task, error)
    state = "here" if path else "would fetch" if file.url else "by hand"
    return {**row, "state": state, "detail": " ".join(said)}


def _failed(task: Task, error: DataError) -> dict[str, Any]:
    words.say(f"bench: {task.name}: {error}", sys.stderr)
    return {"task": task.name, "state": "failed", "detail": str(error)}


class _Progress:
    """How many bytes have come, on one line that is written over; silent where stderr is no terminal."""

    def __init__(self, wanted: bool):
        self.shown, self.total, self.last = wanted and sys.stderr.isatty(), 0, 0.0

    def __enter__(self) -> _Progress:
        return self

    def __call__(self, count: int) -> None:
        self.total += count
        if self.shown and time.monotonic() - self.last > 0.5:
            self.last = time.monotonic()
            print(f"\r  {human(self.total)} ", end="", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self.shown and self.total:
            print("\r", end="", file=sys.stderr)


def _verify(task: Task, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The checksum of each official file that is here, computed once."""
    from tasks.files.verify import verify

    rows = []
    for file in task.files:
        path = locate(args.data_dir, file)
        row = {"task": task.name, "file": file.path, "state": "missing", "bytes": file.size, "detail": facts(file)}
        if path is not None and path.is_file():
            verdict = verify(path, file, args.data_dir, compute=not args.dry_run)
            state = verdict.status if verdict else "would verify"
            row |= {"state": state, "bytes": path.stat().st_size, "detail": verdict.detail if verdict else ""}
        rows.append(row)
    return rows


def _generate(task: Task, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The stand-in of one task, unless it is here."""
    if task.generate is None:
        _tell(args, f"{task.name}: has no stand-in, it runs on its own files")
        return [{"task": task.name, "file": None, "bytes": None, "state": "none", "detail": "no stand-in"}]
    size = {**task.sizes[args.profile or "quick"], **({} if args.samples is None else {"samples": args.samples})}
    root = data.standin_root(args.data_dir, args.profile or "quick", args.samples)
    wanted = ", ".join(f"{k} {v}" for k, v in size.items())
    row = {"task": task.name, "file": str(root), "bytes": None, "detail": wanted}
    if args.dry_run:
        state = (
            "here"
            if data.standin_here(task, args.data_dir, args.profile or "quick", args.samples)
            else "would generate"
        )
        _tell(args, f"{task.name}: {state} in {root} ({wanted})")
        return [{**row, "state": state}]
    start = time.monotonic()
    made = data.generate(task, args.data_dir, args.profile or "quick", args.samples)
    seconds = round(time.monotonic() - start, 2)
    _tell(args, f"{task.name}: generated in {seconds:.1f} s ({wanted})" if made else f"{task.name}: here already")
    return [{**row, "state": "generated" if made else "here", "seconds": seconds}]


ACTIONS = {"status": _status, "fetch": _fetch, "verify": _verify, "generate": _generate}


def _print_table(rows: list[dict[str, Any]]) -> None:
    shown = [
        {
            "task": row["task"],
            "state": row["state"],
            "size": human(row["bytes"]) if row.get("bytes") else "-",
            "file": row.get("file") or "-",
            "": row["detail"],
        }
        for row in rows
    ]
    words.say(table(shown))
