"""Reading files that somebody else may have put there: regular ones of bounded size, and nothing that waits or never ends."""

from __future__ import annotations

import errno
import io
import os
import stat
from pathlib import Path

NOTE = 1 << 20
"""Bytes, at most, of what a program notes for itself or a person writes by hand: a claim, a mark, a profile, a study."""
LIST = 64 << 20
"""Bytes, at most, of a list that grows with the number of cells or files."""


def open_file(path: Path, most: int) -> io.BufferedReader:
    """`path`, open for reading; ValueError for a link, a folder, a pipe, a device, and for more than `most` bytes."""
    return os.fdopen(_open(path, most), "rb")


def read_file(path: Path, most: int) -> bytes:
    """The content of `path`; errors as of `open_file`."""
    handle = _open(path, most)
    try:
        return os.read(handle, os.fstat(handle).st_size)
    finally:
        os.close(handle)


def read_linked(path: Path, most: int) -> bytes:
    """The content of the file that `path` is or links to: for files of a user, who may keep them elsewhere."""
    return read_file(Path(os.path.realpath(path)), most)


def _open(path: Path, most: int) -> int:
    """The descriptor of a file that has passed."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for somebody who writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("is a link; a store holds plain files") from None
        if error.errno == errno.ENXIO:
            raise ValueError("is no regular file") from None
        raise
    found = os.fstat(handle)
    if stat.S_ISREG(found.st_mode) and found.st_size <= most:
        return handle
    os.close(handle)
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("is no regular file")
    raise ValueError(f"has {found.st_size:,} bytes, expected at most {most:,}")
