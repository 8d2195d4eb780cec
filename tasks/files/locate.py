"""Finding a task's files below a data folder; a missing one ends in an error that says how to get it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from tasks.contract import DataError, File

PAGES = (b"<!doctype", b"<html", b"<?xml")


def is_page(start: bytes) -> bool:
    """Whether a file that begins with these bytes is a web page: what dead links leave behind under a file's name."""
    return start.lstrip().lower().startswith(PAGES)


def human(size: int) -> str:
    """A number of bytes for people: 8232966952 -> '8.23 GB'."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.0f} B" if unit == "B" else f"{value:.3g} {unit}"


def facts(file: File) -> str:
    """What is known of an official file, for messages: name, size, checksum."""
    parts = [human(file.size) if file.size else "", file.checksum or ""]
    known = ", ".join(p for p in parts if p)
    return PurePosixPath(file.path).name + (f" ({known})" if known else "")


def how_to_get(file: File, target: Path) -> str:
    """In words: where the official file comes from and where it goes."""
    source = file.url or file.get or "its publisher"
    return f"Get it from {source} and put it at {target}, or make a stand-in with `bench data generate`."


@contextmanager
def permission_said() -> Iterator[None]:
    """Whoever looks at paths below a folder that may not be entered gets a DataError. Also a decorator."""
    try:
        yield
    except PermissionError as error:
        raise DataError(error.filename, "no permission to look at it", "readable files in folders that may be entered",
                        f"Allow it: chmod u+rX, from '{Path(error.filename).parent}' upwards.") from error  # fmt: skip


@permission_said()
def locate(root: Path, file: File) -> Path | None:
    """Where `file` lies: at its path below `root`, or directly in `root` under its name; None if at neither."""
    below = root / file.path
    return next((p for p in (below, root / PurePosixPath(file.path).name) if p.exists()), None)


def find(root: Path, file: File) -> Path:
    """The path of `file` below `root`: readable and not empty.

    A folder is accepted only where `file.path` ends with a slash. DataError otherwise, with the size, link, checksum
    and target path of a file that is missing.
    """
    path = locate(root, file)
    if path is None:
        raise DataError(root / file.path, "no such file", facts(file), how_to_get(file, root / file.path))
    cure = f"Remove it. {how_to_get(file, root / file.path)}"
    if path.is_dir():
        if file.path.endswith("/"):
            return path
        raise DataError(path, "a directory", f"the file {facts(file)}", cure)
    if not os.access(path, os.R_OK):
        raise DataError(path, "no permission to read it", "a readable file", f"Allow it: chmod u+r '{path}'")
    if path.stat().st_size == 0:
        raise DataError(path, "an empty file", facts(file), cure)
    return path
