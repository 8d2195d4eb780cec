"""A fingerprint of data files, quick even for files of many gigabytes and for many thousands of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tasks.contract import DataError

WHOLE = 64 * 2**20
"""Files below this size (bytes) are hashed whole."""
BLOCK = 64 * 2**10
BLOCKS = 64
READERS = 8
"""Threads that read many small files: what they wait for is the disk."""


def fingerprint(paths: Iterable[Path], members: Mapping[str, Path] | None = None) -> str:
    """SHA-256 (64 hexadecimal digits) over each file's name, size and content, in order of the names.

    `members` are further files, by names that do not depend on where their folder lies. A file below 64 MiB is hashed
    whole; of a larger one the first and last block of 64 KiB and 64 evenly spaced ones in between, so a change elsewhere
    in a large file goes unseen: `bench data verify` reads all of it. Folders and modification times do not matter.
    DataError for a member that is missing or cannot be read.
    """
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        for block in _blocks(path):
            digest.update(block)
    for name, content in _contents(members or {}):
        digest.update(f"{name}\0{content}\0".encode())
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    size = path.stat().st_size
    with path.open("rb") as f:
        if size < WHOLE:
            while block := f.read(2**20):
                yield block
            return
        for start in np.linspace(0, size - BLOCK, BLOCKS + 2, dtype=np.int64):
            f.seek(int(start))
            yield f.read(BLOCK)


def _contents(members: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """(name, size and hash of the content) of each file, sorted by name."""
    names = sorted(members)
    shares = [names[i::READERS] for i in range(READERS)]
    with ThreadPoolExecutor(READERS) as readers:
        found = list(readers.map(lambda share: [_content(members[name]) for name in share], shares))
    yield from ((name, found[i % READERS][i // READERS]) for i, name in enumerate(names))


def _content(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        for block in _blocks(path):
            digest.update(block)
        return f"{path.stat().st_size} {digest.hexdigest()}"
    except OSError as error:
        raise DataError(path, error.strerror or str(error), "a readable file, which the task's list names",
                        "Get the task's archive again, or correct the list.") from error  # fmt: skip
