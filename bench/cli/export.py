"""`bench export`: every record for tools that are not this one: as a row of a table, as a run of a tracker, as a shared file.

Tables go to a file or to standard output. Trackers (with the curves; each needs the extra of its name) and every-eval-ever
write a folder, and reach no network. A pack is the store itself in one file.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.cli.options import add_results_dir, to_path
from bench.cli.printing import set_aside
from bench.errors import Exit, UsageError, unknown
from bench.records import flat, packs, trackers
from bench.records.store import Store, to_json
from bench.selection import refuse
from bench.words import counted, printable, say
from tasks.files.atomic import replacing, write_atomically

TABLES = ("json", "csv", "parquet")
SHARED = "every-eval-ever"
PACK = "pack"
FORMATS = (*TABLES, *trackers.TRACKERS, SHARED, PACK)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench export`."""
    said = f"{', '.join(FORMATS)} (default: as the suffix of PATH says, else json)"
    parser.add_argument("--format", choices=FORMATS, type=str.lower, default=None, metavar="FORMAT", help=said)
    parser.add_argument("--out", type=to_path, metavar="PATH",
                        help="file to write (default: standard output); for trackers and every-eval-ever a new folder")  # fmt: skip
    parser.add_argument("--organisation", metavar="NAME", help="who ran the cells, which every-eval-ever asks for")
    add_results_dir(parser)


def run(args: argparse.Namespace) -> int:
    """Write what was asked for; files that are not readable records are named on standard error."""
    form = format_of(args.format, args.out)
    if form != SHARED:
        refuse(args, ["organisation"], f"only --format {SHARED} says who ran the cells")
    if form == PACK:
        return _pack(args.out, Store(args.results_dir))
    if form in TABLES:
        return _table(form, args.out, Store(args.results_dir))
    if form == SHARED:
        return _shared(args.organisation, args.out, Store(args.results_dir))
    return _tracked(form, args.out, Store(args.results_dir))


def format_of(given: str | None, out: Path | None) -> str:
    """The format asked for; without one that of the file's suffix. UsageError where that names none."""
    if given not in (None, "json", "csv") and out is None:
        raise UsageError(f"--format {given} is not text: name where it goes with --out PATH")
    if given is not None or out is None:
        return given or "json"
    if out.name.lower().endswith(".tar.gz"):
        return PACK
    suffix = out.suffix.removeprefix(".").lower() or "json"
    if suffix not in TABLES:
        raise unknown(f"format of --out {out}", suffix, TABLES)
    return suffix


def _table(form: str, out: Path | None, store: Store) -> int:
    """Write the table, row by row."""
    records, problems = store.scan(flat.READ)
    set_aside(problems, "not exported", sys.stderr)
    if form == "parquet":
        pieces = iter([flat.to_parquet(records)])
    else:
        lines = flat.json_pieces(records) if form == "json" else flat.csv_lines(records)
        pieces = (line.encode(errors="backslashreplace") for line in lines)
    if out is None:
        for piece in pieces:
            text = piece.decode()
            sys.stdout.write(printable(text) if sys.stdout.isatty() else text)
        return Exit.OK
    with replacing(out) as temporary, temporary.open("wb") as file:
        file.writelines(pieces)
    say(f"{counted(len(records), 'record')}: {out}")
    return Exit.OK


def _pack(out: Path, store: Store) -> int:
    """Write the pack and say the checksum that `bench merge --sha256` takes."""
    if not out.name.lower().endswith(".tar.gz"):
        raise UsageError(f"--out {out}: a pack is a .tar.gz")
    manifest, digest = packs.write(store, out)
    say(f"{counted(manifest['count'], 'record')}: {out}, sha256 {digest}")
    return Exit.OK


def _new_folder(out: Path) -> Path:
    """`out`, which must hold nothing yet: what an earlier export left would stand beside the new one."""
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"--out {out}: expected a folder that is new or empty")
    out.mkdir(parents=True, exist_ok=True)
    return out


def _tracked(form: str, out: Path, store: Store) -> int:
    """Write every record, with the curves beside it, as a run of a tracker."""
    from bench.report.evidence import Sidecars

    records, problems = store.scan(trackers.READ)
    beside = Sidecars(store, problems)
    trackers.TRACKERS[form]((trackers.run_of(record, beside.curves(record)) for record in records), _new_folder(out))
    set_aside(problems, "not exported", sys.stderr)
    say(f"{counted(len(records), 'run')}: {out}")
    return Exit.OK


def _shared(organisation: str | None, out: Path, store: Store) -> int:
    """Write every record that is done as a file of the shared format."""
    from bench.records import every_eval_ever

    if not organisation or not any(map(str.isalnum, organisation)):
        raise UsageError(f"--format {SHARED} says who ran the cells: name your group with --organisation NAME")
    records, problems = store.scan(every_eval_ever.READ)
    said = [record for record in records if every_eval_ever.can_be_said(record)]
    _new_folder(out)
    for record in said:
        path, content = every_eval_ever.file_of(record, organisation)
        write_atomically(out / path, to_json(content))
    set_aside(problems, "not exported", sys.stderr)
    say(f"{counted(len(said), 'record')}: {out}; {len(records) - len(said)} without a score are left out")
    return Exit.OK
