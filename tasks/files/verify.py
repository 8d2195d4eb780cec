"""Whether a file is the published one: its checksum, computed once and remembered while size and time stay the same."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tasks.contract import DataError, File
from tasks.files.generated import origin_of, write_json
from tasks.files.locate import is_page
from tasks.files.regular import LIST, read_linked

NAME = ".verified.json"
Status = Literal["verified", "differs", "unknown", "generated"]


@dataclass(frozen=True)
class Verdict:
    """What is known about one file."""

    status: Status
    """`differs`: another checksum or size than published, or a web page; `unknown`: nothing to compare with."""
    detail: str
    """In words, with the values that were compared."""
    remembered: bool = False
    """The checksum was not computed now."""


def digest(path: Path, algorithm: str) -> str:
    """Hexadecimal checksum of a whole file, by any algorithm of hashlib."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def verify(path: Path, file: File, data_dir: Path, compute: bool = True) -> Verdict | None:
    """The verdict on `path`, the official `file`, remembered in `.verified.json` of the data folder.

    With `compute=False` only what is remembered or costs nothing is said: None where the checksum was never computed
    for this size and modification time. DataError for a file that may not be read.
    """
    stat, start = path.stat(), _first_bytes(path)
    if origin_of(path) == "generated":
        return Verdict("generated", "a stand-in of this project; there is nothing to compare it with")
    if is_page(start):
        return Verdict("differs", "a web page (an error message saved as data)")
    if file.size is not None and stat.st_size != file.size:
        return Verdict("differs", f"{stat.st_size:,} bytes, published are {file.size:,}")
    if file.checksum is None:
        return Verdict("unknown", "no checksum was published")
    algorithm, _, expected = file.checksum.partition(":")
    key = str(path.resolve())
    stamp = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "algorithm": algorithm}
    known = _remembered(data_dir).get(key, {})
    found = known.get("digest") if {k: known.get(k) for k in stamp} == stamp else None
    if found is None:
        if not compute:
            return None
        found = digest(path, algorithm)
        _remember(data_dir, key, {**stamp, "digest": found})
        known = {}
    same = found == expected
    detail = f"{algorithm} {found}" + ("" if same else f", published is {expected}")
    return Verdict("verified" if same else "differs", detail, remembered=bool(known))


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as f:
            return f.read(64)
    except PermissionError as error:
        raise DataError(path, "no permission to read it", "a readable file", f"Allow it: chmod u+r '{path}'") from error


def in_words(path: Path, file: File, data_dir: Path) -> str:
    """What a record says of an official file, computing nothing: `verified`, `not verified`, or how it differs."""
    verdict = verify(path, file, data_dir, compute=False) if path.is_file() else None
    if verdict is None:
        return "not verified"
    return verdict.status if verdict.status == "verified" else f"{verdict.status}: {verdict.detail}"


def _remembered(data_dir: Path) -> dict[str, dict]:
    try:
        entries = json.loads(read_linked(data_dir / NAME, LIST))
    except (OSError, ValueError, RecursionError):
        return {}  # nothing is remembered, or not readably: checksums are computed again
    return entries if isinstance(entries, dict) else {}


def _remember(data_dir: Path, key: str, entry: dict) -> None:
    """Add one entry; where the folder is read-only nothing is remembered, and the verdict is none the worse."""
    try:
        write_json(data_dir / NAME, {**_remembered(data_dir), key: entry})
    except OSError:
        return
