"""Reads one array of an `.npz` file block by block, so that a large one never lies in memory unpacked and wide."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from tasks.contract import DataError
from tasks.files.nb360 import shape_text
from tasks.files.pickles import open_checked
from tasks.files.raw import checked, npy_header

BLOCK_BYTES = 32 * 2**20
MOST_UNPACKED = 100
"""Times the file's size that an array may unpack to, beyond 64 MiB. One-hot bytes pack some 16 to 1."""


def _same(rows: np.ndarray) -> np.ndarray:
    return rows


def transpose_rows(rows: np.ndarray) -> np.ndarray:
    """(n, L, C) -> (n, C, L)."""
    return rows.transpose(0, 2, 1)


def read_binary(
    path: Path,
    name: str,
    shape: tuple[int | None, ...],
    arrange: Callable[[np.ndarray], np.ndarray] = _same,
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
            if f"{name}.npy" not in archive.namelist():
                found = f"an .npz file with {', '.join(archive.namelist()[:8]) or 'no arrays'}"
                raise DataError(path, found, expected)
            size = archive.getinfo(f"{name}.npy").file_size
            if size > MOST_UNPACKED * path.stat().st_size + 2**26:
                raise DataError(path, f"{name} of {size:,} bytes, packed", f"at most {MOST_UNPACKED} times the file")
            with archive.open(f"{name}.npy") as stream:
                return _read_stream(path, name, stream, size, shape, arrange, expected)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DataError(path, f"a damaged or truncated file ({error})", "an .npz file") from error


def _read_stream(
    path: Path,
    name: str,
    stream: IO[bytes],
    size: int,
    shape: tuple[int | None, ...],
    arrange: Callable[[np.ndarray], np.ndarray],
    expected: str,
) -> np.ndarray:
    found, fortran, dtype = npy_header(stream)
    fits = len(found) == len(shape) and all(s is None or s == f for s, f in zip(shape, found, strict=True))
    if not fits or not found[0] or fortran or dtype.kind not in "biuf":
        order = ", Fortran order" if fortran else ""
        raise DataError(path, f"{name} of shape {shape_text(found)}, dtype {dtype}{order}", expected)
    width = math.prod(found[1:]) * dtype.itemsize
    if found[0] * width > size:  # before room is made for it
        raise DataError(path, f"{name} of shape {shape_text(found)} in {size:,} bytes", expected)
    step = max(1, BLOCK_BYTES // width)
    out = np.empty((found[0], *arrange(np.empty((1, *found[1:]), np.uint8)).shape[1:]), np.uint8)
    for start in range(0, found[0], step):
        count = min(step, found[0] - start)
        data = stream.read(count * width)
        if len(data) < count * width:
            raise DataError(path, f"{name} cut off in row {start + len(data) // width}", expected)
        rows = checked(np.frombuffer(data, dtype)).reshape(count, *found[1:])
        if not ((rows == 0) | (rows == 1)).all():
            what = "NaN or infinity" if dtype.kind == "f" and not np.isfinite(rows).all() else "other values"
            raise DataError(path, f"{what} in {name} between rows {start} and {start + count}", expected)
        out[start : start + count] = arrange(rows)
    return out
