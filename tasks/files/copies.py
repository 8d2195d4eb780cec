"""Decimated copies of large files, kept once and read from then on; half a copy or none does no harm."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from tasks import source
from tasks.files.arrays import LARGEST_DATA, read_arrays
from tasks.files.atomic import replacing_quickly
from tasks.files.fingerprint import fingerprint


def cached(
    path: Path, folder: Path | None, reader: str, choices: object, names: Iterable[str],
    make: Callable[[], dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:  # fmt: skip
    """The arrays `names` that `make` reads from `path`, made once and kept in `folder` (None: nothing is kept).

    `reader` and `choices` as in `copy_of`.
    """
    if folder is None:
        return make()
    copy = copy_of(path, folder, reader, choices)
    kept = read_copy(copy, names)
    if kept is None:
        kept = make()
        keep_copy(copy, kept)
    return kept


def copy_of(path: Path, folder: Path, reader: str, choices: object) -> Path:
    """Where below `folder` the copy of the file `path` lies that the module `reader` makes under these `choices`.

    The name follows the file's content and the reader's source, so that neither another file nor an edited reader is
    ever answered with an old copy. `choices` need a `repr` that says all of them.
    """
    key = f"{fingerprint([path])} {source.digest(reader)} {choices!r}"
    return folder / f"{path.stem}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"


def read_copy(path: Path, names: Iterable[str]) -> dict[str, np.ndarray] | None:
    """The arrays of the copy at `path`, or None where there is no whole one."""
    try:
        copy = read_arrays(path, most=LARGEST_DATA)
        return {name: copy[name] for name in names}
    except (OSError, ValueError, KeyError):
        return None  # half a copy is as good as none: it is made again and replaced


def keep_copy(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write the copy, whole or not at all. In a folder that cannot be written none is kept: the file is read again."""
    # Official files often lie on a shared disk that is full or read-only, which is no reason not to read them.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing_quickly(path) as temporary, temporary.open("wb") as f:
            np.savez(f, allow_pickle=False, **arrays)
