"""Reads one array of an `.npz` file block by block, so that a large one never lies in memory unpacked and wide."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from tasks.contract import DataError, require
from tasks.files.nb360 import shape_text
from tasks.files.pickles import open_checked
from tasks.files.raw import checked, dimensions, npy_header

BLOCK_BYTES = 32 * 2**20
MOST_UNPACKED = 100
"""Times the file's size that an array may unpack to, beyond 64 MiB. One-hot bytes pack some 16 to 1."""


def transpose_rows(rows: np.ndarray) -> np.ndarray:
    """(n, L, C) -> (n, C, L)."""
    return rows.transpose(0, 2, 1)


def read_binary(
    path: Path, name: str, shape: tuple[int | None, ...], arrange: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> np.ndarray:
    """The 0/1 array `name` of the file as uint8, its rows put through `arrange`.

    Args:
        path: an `.npz` file.
        name: the array's name in it.
        shape: expected shape, None for the number of rows.
        arrange: applied to each block of rows.

    Raises:
        DataError: no `.npz` file, damaged, the array missing, of another shape or with other values than 0 and 1.
    """
    expected = f"the array {name} of shape {shape_text(shape)} with values 0 and 1"
    open_checked(path, "an .npz file").close()
    try:
        with zipfile.ZipFile(path) as archive:
            held, member = archive.namelist(), f"{name}.npy"
            require(member in held, path, f"an .npz file with {', '.join(held[:8]) or 'no arrays'}", expected)
            size, most = archive.getinfo(member).file_size, MOST_UNPACKED * path.stat().st_size + 2**26
            require(size <= most, path, f"{name} of {size:,} bytes, packed", f"at most {MOST_UNPACKED} times the file")
            with archive.open(member) as stream:
                found, fortran, dtype = npy_header(stream)
                fits = len(found) == len(shape) and all(s in (None, f) for s, f in zip(shape, found, strict=True))
                what = f"{name} of shape {shape_text(found)}, dtype {dtype}" + (", Fortran order" if fortran else "")
                require(fits and found[0] > 0 and not fortran and dtype.kind in "biuf", path, what, expected)
                need = dimensions(found) * dtype.itemsize  # before room is made for it
                rest = size - stream.tell()
                require(need <= rest, path, f"{name} of shape {shape_text(found)} in {rest:,} bytes", expected)
                out = np.empty((found[0], *arrange(np.empty((1, *found[1:]), np.uint8)).shape[1:]), np.uint8)
                for start, rows in _blocks(stream, found, dtype):
                    what = f"other values, NaN or infinity in {name} between rows {start} and {start + len(rows)}"
                    require(((rows == 0) | (rows == 1)).all(), path, what, expected)
                    out[start : start + len(rows)] = arrange(rows)
                return out
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DataError(path, f"a damaged or truncated file ({error})", "an .npz file") from error


def _blocks(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> Iterator[tuple[int, np.ndarray]]:
    """The array that `stream` is at, some rows at a time, each with the number of its first row."""
    width = math.prod(shape[1:]) * dtype.itemsize
    step = max(1, BLOCK_BYTES // width)
    for start in range(0, shape[0], step):
        count = min(step, shape[0] - start)
        data = stream.read(count * width)
        if len(data) < count * width:
            raise EOFError(f"cut off in row {start + len(data) // width}")
        yield start, checked(np.frombuffer(data, dtype)).reshape(count, *shape[1:])
