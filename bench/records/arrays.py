"""Arrays from a `.npz` that somebody else may have put there: plain ones whose size is known before anything is read."""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from bench.records.files import open_file

LARGEST = 4 << 30
"""Bytes of a file, and of all its arrays that are read: features of all epochs of a large body stay far below."""
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, RuntimeError, TypeError)
"""What zipfile and numpy raise, beside ValueError and OSError, about a file that is not what it should be."""


def read_arrays(path: Path, beginnings: tuple[str, ...] = ("",)) -> dict[str, np.ndarray]:
    """The arrays whose names begin so, by name. ValueError for what is damaged, too large or holds objects."""
    try:
        with open_file(path, LARGEST) as file, zipfile.ZipFile(file) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            chosen = {name: info for name, info in members.items() if name.startswith(beginnings)}
            if sum(info.file_size for info in chosen.values()) > LARGEST:
                raise ValueError(f"its arrays have more than {LARGEST:,} bytes")
            return {name: _read(archive, info) for name, info in chosen.items()}
    except DAMAGE as error:
        raise ValueError(f"damaged ({type(error).__name__}: {error})") from None


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array. A small file can say that it holds a huge one: what it says is compared with what is there first."""
    with archive.open(info) as member:
        version = np.lib.format.read_magic(member)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(member)
        if dtype.hasobject:
            raise ValueError(f"{info.filename} holds objects, expected plain numbers or text")
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != info.file_size - member.tell():
            raise ValueError(f"{info.filename} is not as large as its head says, {shape} of {dtype}")
        flat = np.frombuffer(bytearray(member.read()), dtype)
    return flat.reshape(shape, order="F" if fortran else "C")
