"""`bench export`: every record as one row of a table, for tools that are not this one."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Sequence
from typing import Any

from bench.cli.options import to_path
from bench.cli.selection import add_results_dir
from bench.errors import Exit, SetupError, UsageError
from bench.record import RECORD, Record
from bench.store import Store, write_atomically

HELP = "write all records as one table: csv, json or parquet"

PLAIN = tuple(name for name, key in RECORD.items() if not key.nested)
"""Keys of a record that are one value; of the others, what is useful in a table gets columns of its own."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench export`."""
    parser.add_argument(
        "--format", choices=("json", "csv", "parquet"), type=str.lower, default="json", help="default: %(default)s"
    )
    parser.add_argument("--out", type=to_path, metavar="FILE", help="file to write (default: standard output)")
    add_results_dir(parser)


def run(args: argparse.Namespace) -> int:
    """Write the table; files that are not readable records are named on standard error."""
    if args.format == "parquet" and args.out is None:
        raise UsageError("--format parquet is not text: name a file with --out FILE")
    records, problems = Store(args.results_dir).scan()
    for problem in problems:
        print(f"not exported: {problem.path}: {problem.reason}", file=sys.stderr)
    rows = [flatten(record) for record in records]
    if args.format == "parquet":
        content = to_parquet(rows)
    else:
        content = (to_json(rows) if args.format == "json" else to_csv(rows)).encode(errors="backslashreplace")
    if args.out is None:
        sys.stdout.write(content.decode())
    else:
        write_atomically(args.out, content)
        print(f"{len(rows)} records: {args.out}")
    return Exit.OK


def flatten(record: Record) -> dict[str, Any]:
    """One flat row: plain keys, error, trivial score, commit, then `metrics.NAME`, then settings as `trainer.lr`."""
    row: dict[str, Any] = {key: record[key] for key in PLAIN}
    error = record["error"] or {}
    row |= {"error_type": error.get("type"), "error_message": error.get("message")}
    row |= {"trivial_score": record["trivial"].get("score"), "fingerprint": record["data"].get("fingerprint")}
    row |= {"commit": record["git"].get("commit"), "dirty": record["git"].get("dirty")}
    row |= {f"metrics.{name}": metric["value"] for name, metric in sorted(record["metrics"].items())}
    row |= dict(sorted(record["settings"].items()))
    return row


def columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Every column of any row: plain keys in the record's order first, then metrics and settings by name."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [n for n in names if "." not in n] + sorted(n for n in names if "." in n)


def to_json(rows: Sequence[dict[str, Any]]) -> str:
    """An array of objects."""
    return json.dumps(list(rows), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """A head and one line per row; lists as JSON, None as nothing."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns(rows) or list(PLAIN), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, (list, dict, bool)) else v for k, v in row.items()})
    return out.getvalue()


def to_parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    """A parquet file; a column whose values are of several kinds (a setting of two methods) is kept as JSON text."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise SetupError(
            "parquet needs pyarrow, which is not installed: pip install 'cross-modality-bench[parquet]', "
            "or choose --format csv"
        ) from None
    arrays = {}
    for name in columns(rows):
        values = [row.get(name) for row in rows]
        kinds = {float if type(v) is int else type(v) for v in values if v is not None}
        if len(kinds) > 1 or kinds & {list, dict}:
            values = [None if v is None else json.dumps(v) for v in values]
        elif float in kinds and any(type(v) is float for v in values):
            values = [None if v is None else float(v) for v in values]
        arrays[name] = pyarrow.array(values)
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), out)
    return out.getvalue()
