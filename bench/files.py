"""Reading files that somebody else may have put there: regular ones of bounded size, and nothing that waits or never ends."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_file(path: Path, most: int) -> bytes:
    """The content of `path`; ValueError for a link, a folder, a pipe, a device, and for more than `most` bytes."""
    try:
        # Without O_NONBLOCK, opening a pipe waits for somebody who writes to it.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError("is a link; a store holds plain files") from None
        if error.errno == errno.ENXIO:
            raise ValueError("is no regular file") from None
        raise
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("is no regular file")
        if found.st_size > most:
            raise ValueError(f"has {found.st_size:,} bytes, expected at most {most:,}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(most)
    finally:
        os.close(handle)
