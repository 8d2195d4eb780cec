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

from tasks.contract import AGAIN, DataError, require
from tasks.files import stackmachine
from tasks.files.locate import is_page
from tasks.files.raw import Unfit, dimensions, laid_out, npy_header
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


def _load(stream: IO[bytes], path: Path, most: int) -> Any:
    expected = "a pickle of numpy arrays, numbers, strings, lists, tuples and dicts only"
    try:
        return stackmachine.run(stream, most)
    except Forbidden as error:
        found = f"a pickle that names {error}" + _mangled(path)
        cure = "Do not open this file with plain pickle: it may run code. Get it from its official source."
        raise DataError(path, found, expected, cure) from error
    except (EOFError, zlib.error) as error:
        raise DataError(path, f"a truncated file ({error})" + _mangled(path), expected) from error
    except OSError as error:
        raise DataError(path, f"a file that cannot be read ({error})", expected) from error
    except (ValueError, IndexError, KeyError, OverflowError, MemoryError, struct.error) as error:
        what = str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"
        raise DataError(path, f"no readable pickle ({what})" + _mangled(path), expected) from error


def _mangled(path: Path) -> str:
    """In words, where it shows: a file that went through something that takes it for text."""
    with path.open("rb") as stream:
        start = stream.read(2**22)
    if not start.count(b"\n") or start.count(b"\n") != start.count(b"\r\n"):
        return ""
    return ", changed by a copy in text mode (each of its line ends is CR LF)"


def open_checked(path: Path, expected: str, cure: str = AGAIN) -> io.BufferedReader:
    """`path` opened for reading, or a DataError: missing, a folder, empty, unreadable, or a web page."""
    path = Path(path)
    try:
        require(not path.is_dir(), path, "a directory", expected, cure)
        require(path.stat().st_size > 0, path, "an empty file (0 bytes)", expected, cure)
        stream = path.open("rb")
    except FileNotFoundError as error:
        raise DataError(path, "nothing (the file is missing)", expected, cure) from error
    except PermissionError as error:
        raise DataError(path, "a file without read permission", expected, f"chmod u+r {path}") from error
    if is_page(stream.peek(64)):
        stream.close()
        raise DataError(path, "a web page (an error message saved as data)", expected, cure)
    return stream


def load_pickle(path: Path, *, gz: bool = False, cure: str = AGAIN) -> Any:
    """The object in the pickle at `path` (gzipped with `gz`), built of numpy arrays and plain containers only.

    Args:
        path: the file.
        gz: the pickle is gzip-compressed.
        cure: what to do when the file is missing or unreadable, in words.

    Raises:
        DataError: missing, empty, a directory, truncated, no pickle, or a pickle that names any other global; such a
            pickle is refused before anything in it runs.
    """
    with open_checked(path, "a gzipped pickle" if gz else "a pickle", cure) as raw:
        size = Path(path).stat().st_size
        if not gz:
            return _load(raw, path, size)
        most = 2**26 + MOST_UNPACKED * size
        return _load(io.BufferedReader(_Unpacked(raw, most)), path, most)


def load_npy(path: Path, *, objects: bool = False) -> np.ndarray:
    """The array in a `.npy` file; with `objects` also one of plain objects (`np.save` of dicts and ragged tuples).

    DataError: missing, empty, a directory, truncated, no `.npy` file, or objects that are not plain.
    """
    expected = "a NumPy .npy file"
    with open_checked(path, expected) as stream:
        try:
            shape, fortran, dtype = npy_header(stream)
            left = Path(path).stat().st_size - stream.tell()
            if not dtype.hasobject:
                need = dimensions(shape) * dtype.itemsize
                require(
                    left >= need, path, f"a truncated file, {left:,} bytes of data", f"{need:,} for {shape} {dtype}"
                )
                return laid_out(np.fromfile(stream, np.uint8, need), dtype, shape, fortran)
        except Unfit as error:
            raise DataError(path, str(error) + _mangled(path), expected) from error
        require(objects, path, f"a pickled object array {shape}", "a plain numeric array")
        array = _load(stream, path, left)
        whole = isinstance(array, np.ndarray) and array.shape == shape
        require(whole, path, f"a pickled {type(array).__name__}", f"an object array of shape {shape}")
        return array


def load_npy_object(path: Path) -> Any:
    """The content of a `.npy` file that may hold pickled objects; a 0-d object array gives the object itself."""
    array = load_npy(path, objects=True)
    return array[()] if array.dtype == object and array.ndim == 0 else array
