"""`bench merge`: the records of several stores or packs in one folder, each with its sidecars. Clashes are refused and named."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from bench.cli.options import to_path
from bench.cli.printing import set_aside
from bench.errors import Exit, UsageError
from bench.records import packs
from bench.records.merge import merge
from bench.records.store import Store
from bench.words import counted, say


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench merge`."""
    parser.add_argument("stores", nargs="+", metavar="STORE",
                        help="results folders to read, archives of them (.tar.gz, .zip), or the address of one (https://)")  # fmt: skip
    parser.add_argument("--sha256", metavar="HEX", help="checksum of the archive, which an address must come with")
    parser.add_argument(
        "--out", type=to_path, required=True, metavar="DIR", help="results folder to write, new or existing"
    )


def run(args: argparse.Namespace) -> int:
    """Merge and say what was copied; exit code 1 if files could not be read, 2 for clashes."""
    if args.sha256 and len(args.stores) > 1:
        raise UsageError("--sha256 is of one archive: merge that one alone")
    with contextlib.ExitStack() as stack:
        paths = [_brought(store, args.sha256, stack) for store in args.stores]
        sources = [stack.enter_context(packs.opened(path, args.sha256)).store for path in paths]
        merged = merge(sources, Store(args.out))
    set_aside(merged.problems, "not merged", sys.stderr)
    say(f"{counted(merged.copied, 'record')} copied to {args.out}, {merged.known} were there or came twice")
    return Exit.SOME_FAILED if merged.problems else Exit.OK


def _brought(store: str, sha256: str | None, stack: contextlib.ExitStack) -> Path:
    """The folder or archive; what has an address is downloaded first, and kept as long as `stack`."""
    if not store.startswith(("https://", "http://")):
        return to_path(store)
    if sha256 is None:
        raise UsageError(
            f"{store}: say --sha256 HEX, as whoever published it says it: what comes may be something else"
        )
    from tasks.contract import File
    from tasks.files.fetch import fetch

    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-merge-"))
    path = fetch(File("archive", url=store, checksum=f"sha256:{sha256.lower()}"), Path(folder), say)
    assert path is not None  # it has a link, and this is no dry run
    return path
