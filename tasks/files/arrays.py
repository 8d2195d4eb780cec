"""Arrays from a `.npz` that somebody else may have put there: plain ones whose size is known before anything is read."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from tasks.files.raw import Unfit, dimensions, laid_out, npy_header
from tasks.files.regular import open_file

LARGEST = 4 << 30
"""Bytes of a file, and of all its arrays that are read: features of all epochs of a large body stay far below."""
LARGEST_DATA = 256 << 30
"""The same for samples to train on."""
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, TypeError)
"""What zipfile and numpy raise, beside ValueError and OSError, about a file that is not what it should be."""
MOST_PACKED = 1100
"""Times its own size that a file may unpack to: deflate cannot pack more than 1,032 to 1."""
BLOCK = 1 << 20


def read_arrays(path: Path, beginnings: tuple[str, ...] = ("",), most: int = LARGEST) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, by name. ValueError for what is damaged, larger than `most` or holds objects."""
    try:
        with open_file(path, most) as file, zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            chosen = {name: info for name, info in members.items() if name.startswith(beginnings)}
            size, room = sum(info.file_size for info in chosen.values()), MOST_PACKED * path.stat().st_size
            if size > min(most, room):
                raise ValueError(f"its arrays have {size:,} bytes, expected at most {min(most, room):,}")
            return {name: _read(archive, info) for name, info in chosen.items()}
    except DAMAGE as error:
        raise ValueError(f"damaged ({type(error).__name__}: {error})") from None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array. A small file can say that it holds a huge one: what it says is compared with what is there first."""
    with archive.open(info) as member:
        shape, fortran, dtype = npy_header(member)
        if dtype.hasobject:
            raise Unfit(f"{info.filename} holds objects, expected plain numbers or text")
        size = info.file_size - member.tell()
        if dimensions(shape) * dtype.itemsize != size:
            raise Unfit(f"{info.filename} is not as large as its head says, {shape} of {dtype}")
        raw = bytearray(size)
        rest = memoryview(raw)
        while rest:
            count = member.readinto(rest[:BLOCK])  # type: ignore[attr-defined]  # which typeshed does not know
            if not count:
                raise EOFError(f"{info.filename} is cut off")
            rest = rest[count:]
    return laid_out(np.frombuffer(raw, np.uint8), dtype, shape, fortran)
