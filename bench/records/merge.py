"""The records of several stores in one, each with its sidecars. Clashes are refused and named."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.errors import BenchError
from bench.records.record import Record
from bench.records.store import SIDECARS, Problem, Store, to_json
from tasks.files.atomic import replacing
from tasks.files.regular import open_file

KEY = ("task", "method", "backbone", "seed", "id")
"""What names a record and its sidecars."""
LARGEST = 1 << 40
"""Bytes of a sidecar: what is copied is never held in memory."""


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
    present = {record["id"]: (target, digest) for record, digest in _read(target, [])}
    new: list[tuple[Store, dict[str, Any]]] = []
    problems: list[Problem] = []
    clashes: list[str] = []
    known = 0
    for store in sources:
        for record, digest in _read(store, problems):
            if record["id"] not in present:
                present[record["id"]] = (store, digest)
                new.append((store, {key: record[key] for key in KEY}))
            elif present[record["id"]][1] == digest:
                known += 1
            else:
                there = present[record["id"]][0]
                differ = _difference(_content(there, there.read(there.path(record))), _content(store, record))
                clashes.append(f"{store.path(record)} and {there.path(record)} differ in {differ}")
    if clashes:
        shown = "\n  ".join([*clashes[:20], *([f"and {len(clashes) - 20} more"] if len(clashes) > 20 else [])])
        raise Clash(f"nothing was merged, {len(clashes)} cells clash; remove one of each:\n  {shown}")
    for store, record in new:
        # Sidecars first, so that no record points to a missing file at any moment.
        for suffix in (*SIDECARS, ".json"):
            with (
                contextlib.suppress(FileNotFoundError),
                open_file(store.sidecar(record, suffix), LARGEST) as source,
                replacing(target.sidecar(record, suffix)) as temporary,
                temporary.open("wb") as copy,
            ):
                shutil.copyfileobj(source, copy)
    return Merged(len(new), known, tuple(problems))


class Clash(BenchError):
    """Two stores disagree on a cell."""


def _read(store: Store, problems: list[Problem]) -> Iterable[tuple[Record, bytes]]:
    """Readable records of a store, each with the digest of its content: of many thousands no more is kept.

    A file that is no record is a problem, and so is a record with a sidecar that is no plain file.
    """
    for path in store.files():
        try:
            record = store.read(path)
            digest = hashlib.sha256(to_json(_content(store, record))).digest()
        except (ValueError, OSError) as error:
            problems.append(Problem(path, str(error)))
        else:
            yield record, digest


def _content(store: Store, record: Record) -> dict[str, object]:
    """What makes two records of one cell the same: every key, and every byte of the sidecars."""
    files = {}
    for suffix in SIDECARS:
        path = store.sidecar(record, suffix)
        try:
            with open_file(path, LARGEST) as file:
                files[suffix] = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            continue
        except (ValueError, OSError) as error:  # a link, for instance, which may leave the folder
            raise ValueError(f"{path.name} {error}") from None
    return dict(sorted(record.items())) | files


def _difference(a: dict[str, object], b: dict[str, object]) -> str:
    names = sorted(k for k in {**a, **b} if a.get(k) != b.get(k))
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")
