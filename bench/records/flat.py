"""Records as rows of one flat table, written as JSON, CSV or parquet for tools that are not this one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from bench.csvs import inert
from bench.errors import SetupError
from bench.records.record import RECORD, Record
from bench.search.space import is_trial

PLAIN = tuple(name for name, key in RECORD.items() if not key.nested)
"""Keys of a record that are one value; of the others, what is useful in a table gets columns of its own."""
READ = (*PLAIN, "search", "error", "trivial", "data", "git", "metrics", "settings")
"""What of a record a row needs."""
DERIVED = ("search_part", "error_type", "error_message", "trivial_score", "fingerprint", "commit", "dirty")


def flatten(record: Record) -> dict[str, Any]:
    """One flat row: plain keys, then `DERIVED`, then `metrics.NAME` and settings as `trainer.lr`."""
    error, git = record["error"] or {}, record["git"]
    part = None if record["search"] is None else "trial" if is_trial(record) else "repeat"
    known: list[Any] = [part, error.get("type"), error.get("message"), record["trivial"].get("score")]
    known += [record["data"].get("fingerprint"), git.get("commit"), git.get("dirty")]
    row: dict[str, Any] = {key: record[key] for key in PLAIN} | dict(zip(DERIVED, known, strict=True))
    row |= {f"metrics.{name}": metric["value"] for name, metric in sorted(record["metrics"].items())}
    row |= dict(sorted(record["settings"].items()))
    return row


def columns(records: Sequence[Record]) -> list[str]:
    """Every column of any row: plain keys in the record's order first, then metrics and settings by name."""
    settings = {id(record["settings"]): record["settings"] for record in records}
    dotted = {name for one in settings.values() for name in one}
    dotted |= {f"metrics.{name}" for record in records for name in record["metrics"]}
    return [*PLAIN, *DERIVED, *sorted(dotted.difference(PLAIN, DERIVED))]


def json_pieces(records: Sequence[Record]) -> Iterator[str]:
    """An array of objects."""
    yield "["
    for place, record in enumerate(records):
        row = json.dumps(flatten(record), indent=1, ensure_ascii=False, allow_nan=False)
        yield ("," if place else "") + "\n " + row.replace("\n", "\n ")
    yield "\n]\n" if records else "]\n"


def csv_lines(records: Sequence[Record]) -> Iterator[str]:
    """A head and one line per row; lists as JSON, None as nothing, text that a spreadsheet would compute as text."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns(records), lineterminator="\n")
    writer.writerow({name: inert(name) for name in writer.fieldnames})
    for record in records:
        yield out.getvalue()
        out.seek(0)
        out.truncate()
        row = flatten(record)
        writer.writerow({k: json.dumps(v) if isinstance(v, (list, bool)) else inert(v) for k, v in row.items()})
    yield out.getvalue()


def to_parquet(records: Sequence[Record]) -> bytes:
    """A parquet file; a column whose values are of several kinds (a setting of two methods) is kept as JSON text."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise SetupError(
            "parquet needs pyarrow, which is not installed: pip install 'cross-modality-bench[parquet]', "
            "or choose --format csv"
        ) from None
    table: dict[str, list[Any]] = {name: [] for name in columns(records)}
    for record in records:
        row = flatten(record)
        for name, values in table.items():
            values.append(row.get(name))
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({name: pyarrow.array(_one_kind(v)) for name, v in table.items()}), out)
    return out.getvalue()


def _one_kind(values: list[Any]) -> list[Any]:
    """A column as parquet takes it: of one kind, bytes of a path that are no text escaped."""
    kinds = {type(v) for v in values if v is not None}
    if len(kinds - {int, float}) + bool(kinds & {int, float}) > 1 or list in kinds:
        values = [None if v is None else json.dumps(v) for v in values]
    elif float in kinds:
        values = [None if v is None else float(v) for v in values]
    if str in kinds:
        values = [v.encode(errors="backslashreplace").decode() if isinstance(v, str) else v for v in values]
    return values
