"""Writing files whole: at any moment the old file or the whole new one is there, whatever ends the process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing_quickly(path: Path) -> Iterator[Path]:
    """A path in the same folder to write to, whose file becomes `path` at the end; after an exception nothing is left.

    It does not wait for the disk: for what can be made again, or what only living processes read.
    """
    temporary = path.with_name(f".{path.name}.{threading.get_native_id()}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # what went wrong first is what matters
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The same for what must outlive a power cut: the content is on the disk before the name, and then the name.

    Makes the folder if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_quickly(path) as temporary:
        yield temporary
        sync(temporary)
    sync(path.parent)


def write_quickly(path: Path, data: bytes) -> None:
    """Write `data` to `path` as `replacing_quickly` does."""
    with replacing_quickly(path) as temporary:
        temporary.write_bytes(data)


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write `data` to `path` as `replacing` does."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
