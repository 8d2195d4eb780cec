"""Reads pickles and `.npy` files of plain arrays and containers; anything else is refused by name and never runs.

A pickle is a program: unpickling the wrong file executes whatever its author planted. Five of the published data sets
are pickles, so they are read without Python's unpickler: see `tasks.files.stackmachine`.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from tasks.contract import DataError
from tasks.files import stackmachine
from tasks.files.locate import is_page
from tasks.files.raw import Unfit, checked, dimensions, npy_header
from tasks.files.tokens import Forbidden

MOST_UNPACKED = 25
"""Times its own size that a gzipped file may grow, beyond the first 64 MiB. The published one grows 2.4 times."""


class _Unpacked(io.RawIOBase):
    """A gzip stream that ends in Unfit after `most` bytes: a few of them can be made of very few."""

    def __init__(self, raw: IO[bytes], most: int):
        self.source, self.most = gzip.GzipFile(fileobj=raw), most

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.source.tell()

    def readinto(self, buffer: Any) -> int:
        got = self.source.readinto(buffer)
        if self.tell() > self.most:
            raise Unfit(f"more than {MOST_UNPACKED} times its size when unpacked")
        return got


def _load(stream: IO[bytes], path: Path, most: int, encoding: stackmachine.Encoding) -> Any:
    expected = "a pickle of numpy arrays, numbers, strings, lists, tuples and dicts only"
    again = "Delete the file and fetch it again."
    try:
        return stackmachine.run(stream, most, encoding)
    except Forbidden as error:
        found = f"a pickle that names {error}" + _mangled(path)
        cure = "Do not open this file with plain pickle: it may run code. Get it from its official source."
        raise DataError(path, found, expected, cure) from error
    except (EOFError, zlib.error) as error:
        raise DataError(path, f"a truncated file ({error})" + _mangled(path), expected, again) from error
    except OSError as error:
        raise DataError(path, f"a file that cannot be read ({error})", expected, again) from error
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, struct.error) as error:
        what = str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"
        raise DataError(path, f"no readable pickle ({what})" + _mangled(path), expected, again) from error


def _mangled(path: Path) -> str:
    """In words, where it shows: a file that went through something that takes it for text."""
    with path.open("rb") as stream:
        start = stream.read(2**22)
    if not start.count(b"\n") or start.count(b"\n") != start.count(b"\r\n"):
        return ""
    return ", changed by a copy in text mode (each of its line ends is CR LF)"


def open_checked(path: Path, expected: str, cure: str) -> IO[bytes]:
    """`path` opened for reading, or a DataError: missing, a folder, empty, unreadable, or a web page."""
    path = Path(path)
    try:
        if path.is_dir():
            raise DataError(path, "a directory", expected, cure)
        if path.stat().st_size == 0:
            raise DataError(path, "an empty file (0 bytes)", expected, cure)
        stream = path.open("rb")
        start = stream.read(64)
        stream.seek(0)
        if is_page(start):
            stream.close()
            raise DataError(path, "a web page (an error message saved as data)", expected, cure)
        return stream
    except FileNotFoundError as error:
        raise DataError(path, "nothing (the file is missing)", expected, cure) from error
    except PermissionError as error:
        raise DataError(path, "a file without read permission", expected, f"chmod u+r {path}") from error


def load_pickle(
    path: Path, *, gz: bool = False, encoding: stackmachine.Encoding = "bytes", cure: str = "Fetch the file again."
) -> Any:
    """The object in the pickle at `path` (gzipped with `gz`), built of numpy arrays and plain containers only.

    Args:
        path: the file.
        gz: the pickle is gzip-compressed.
        encoding: for strings of Python-2 pickles: "bytes" keeps them bytes, "latin1" makes them str.
        cure: what to do when the file is missing or unreadable, in words.

    Raises:
        DataError: missing, empty, a directory, truncated, no pickle, or a pickle that names any other global; such a
            pickle is refused before anything in it runs.
    """
    with open_checked(path, "a gzipped pickle" if gz else "a pickle", cure) as raw:
        size = Path(path).stat().st_size
        if not gz:
            return _load(raw, path, size, encoding)
        most = 2**26 + MOST_UNPACKED * size
        return _load(io.BufferedReader(_Unpacked(raw, most)), path, most, encoding)


def load_npy(path: Path, *, objects: bool = False, cure: str = "Fetch the file again.") -> np.ndarray:
    """The array in a `.npy` file; with `objects`, a pickled object array is read by the restricted unpickler.

    Args:
        path: the file.
        objects: admit object arrays (`np.save` of dicts and ragged tuples).
        cure: what to do when the file is missing or unreadable, in words.

    Raises:
        DataError: missing, empty, a directory, truncated, no `.npy` file, or objects that are not plain.
    """
    with open_checked(path, "a NumPy .npy file", cure) as stream:
        try:
            shape, fortran, dtype = npy_header(stream)
        except Unfit as error:
            raise DataError(path, str(error) + _mangled(path), "a NumPy .npy file", cure) from error
        left = Path(path).stat().st_size - stream.tell()
        if dtype.hasobject:
            if not objects:
                raise DataError(path, f"a pickled object array {shape}", "a plain numeric array", cure)
            array = _load(stream, path, left, "bytes")
            if not isinstance(array, np.ndarray) or array.shape != shape:
                raise DataError(path, f"a pickled {type(array).__name__}", f"an object array of shape {shape}", cure)
            return array
        need = dimensions(shape) * dtype.itemsize
        if left < need:
            raise DataError(path, f"a truncated file, {left:,} bytes of data", f"{need:,} for {shape} {dtype}", cure)
        try:
            return checked(np.fromfile(stream, dtype, count=dimensions(shape))).reshape(
                shape, order="F" if fortran else "C"
            )
        except ValueError as error:  # a shape such as (0, 2**62)
            raise DataError(path, f"an array of shape {shape} ({error})", "a NumPy .npy file", cure) from error


def load_npy_object(path: Path, *, cure: str = "Fetch the file again.") -> Any:
    """The content of a `.npy` file that may hold pickled objects; a 0-d object array gives the object itself."""
    array = load_npy(path, objects=True, cure=cure)
    return array[()] if array.dtype == object and array.ndim == 0 else array
