"""`bench merge`: the records of several stores in one folder, each with its sidecars. Clashes are refused and named."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cli.options import to_path
from bench.errors import BenchError, Exit, UsageError
from bench.record import Record
from bench.store import SIDECARS, Problem, Store, write_atomically

HELP = "copy the records of several stores into one; two different records of one cell are refused"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench merge`."""
    parser.add_argument("stores", nargs="+", type=to_path, metavar="STORE", help="results folders to read")
    parser.add_argument(
        "--out", type=to_path, required=True, metavar="DIR", help="results folder to write, new or existing"
    )


def run(args: argparse.Namespace) -> int:
    """Merge and say what was copied; exit code 1 if files could not be read, 2 for clashes."""
    for folder in args.stores:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder: bench merge expects results folders")
    merged = merge([Store(folder) for folder in args.stores], Store(args.out))
    for problem in merged.problems:
        print(f"not merged: {problem.path}: {problem.reason}", file=sys.stderr)
    print(f"{merged.copied} records copied to {args.out}, {merged.known} were there or came twice")
    return Exit.SOME_FAILED if merged.problems else Exit.OK


@dataclass(frozen=True)
class Merged:
    """What a merge did."""

    copied: int
    known: int
    """Records that were in the target already, or in an earlier store, with the same content."""
    problems: tuple[Problem, ...]


def merge(sources: Sequence[Store], target: Store) -> Merged:
    """Copy every record of `sources` with its sidecars into `target`; nothing is written if any two clash.

    A clash is one cell with two different records, or the same record with different sidecars.
    """
    present = {record["id"]: (target.path(record), _content(target, record)) for record, _ in _read(target, [])}
    new: list[tuple[Store, Record]] = []
    problems: list[Problem] = []
    clashes: list[str] = []
    known = 0
    for store in sources:
        for record, path in _read(store, problems):
            content = _content(store, record)
            if record["id"] not in present:
                present[record["id"]] = (path, content)
                new.append((store, record))
            elif present[record["id"]][1] == content:
                known += 1
            else:
                differ = _difference(present[record["id"]][1], content)
                clashes.append(f"{path} and {present[record['id']][0]} differ in {differ}")
    if clashes:
        shown = "\n  ".join([*clashes[:20], *([f"and {len(clashes) - 20} more"] if len(clashes) > 20 else [])])
        raise Clash(f"nothing was merged, {len(clashes)} cells clash; remove one of each:\n  {shown}")
    for store, record in new:
        # Sidecars first, so that no record points to a missing file at any moment.
        for suffix in (*SIDECARS, ".json"):
            source = store.sidecar(record, suffix)
            if source.exists():
                write_atomically(target.sidecar(record, suffix), source.read_bytes())
    return Merged(len(new), known, tuple(problems))


class Clash(BenchError):
    """Two stores disagree on a cell."""


def _read(store: Store, problems: list[Problem]) -> Iterable[tuple[Record, Path]]:
    """Readable records of a store; a file that is not one, or a link (it may leave the folder), is a problem."""
    for path in store.files():
        try:
            record = store.read(path)
        except (ValueError, OSError) as error:
            problems.append(Problem(path, str(error)))
            continue
        links = [f for f in (path, *(store.sidecar(record, s) for s in SIDECARS)) if f.is_symlink()]
        if links:
            problems.append(Problem(path, f"{links[0].name} is a link; a store holds plain files"))
        else:
            yield record, path


def _content(store: Store, record: Record) -> dict[str, object]:
    """What makes two records of one cell the same: every key, and every byte of the sidecars."""
    paths = {suffix: store.sidecar(record, suffix) for suffix in SIDECARS}
    files = {s: hashlib.sha256(p.read_bytes()).hexdigest() for s, p in paths.items() if p.exists()}
    return {**record, **files}


def _difference(a: dict[str, object], b: dict[str, object]) -> str:
    names = sorted(k for k in {**a, **b} if a.get(k) != b.get(k))
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
