"""Reads pickles of plain arrays and containers; anything else in them is refused by name and never runs.

A pickle is a program: unpickling the wrong file executes whatever its author planted. Four of the published data sets
are pickles, so they are read by an unpickler that can name only what a table of arrays needs.
"""

from __future__ import annotations

import builtins
import gzip
import importlib
import io
import pickle
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np

from tasks.contract import DataError
from tasks.files.locate import is_page

_BUILTINS = {t.__name__ for t in (str, int, float, complex, bool, bytes, bytearray, list, dict, tuple, set, frozenset)}
_NUMPY = {
    "ndarray": np.ndarray,
    "dtype": np.dtype,
}
_INTERNAL = {  # these moved from numpy.core to numpy._core in numpy 2; files carry either name
    ("multiarray", "_reconstruct"),
    ("multiarray", "scalar"),
    ("numeric", "_frombuffer"),
}


class ForbiddenGlobal(pickle.UnpicklingError):
    """A pickle that names something other than arrays and plain containers."""


def _encode(text: str, encoding: str) -> bytes:
    """`_codecs.encode` as protocol 2 uses it for bytes, without its other codecs."""
    if encoding != "latin1":
        raise ForbiddenGlobal(f"_codecs.encode with encoding {encoding!r}")
    return text.encode("latin1")


class RestrictedUnpickler(pickle.Unpickler):
    """An unpickler whose whole vocabulary is numpy arrays, dtypes, scalars and plain containers."""

    def find_class(self, module: str, name: str) -> Any:
        """The object that a pickle may name, or `ForbiddenGlobal` with the name it asked for."""
        if module in ("builtins", "__builtin__") and name in _BUILTINS:
            return getattr(builtins, name)
        if module == "__builtin__" and name in ("unicode", "long"):
            return {"unicode": str, "long": int}[name]
        if module == "numpy" and name in _NUMPY:
            return _NUMPY[name]
        package, _, leaf = module.rpartition(".")
        if package in ("numpy.core", "numpy._core") and (leaf, name) in _INTERNAL:
            return getattr(importlib.import_module(f"numpy._core.{leaf}"), name)
        if (module, name) == ("_codecs", "encode"):
            return _encode
        raise ForbiddenGlobal(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """Refused: arrays and containers need no persistent ids."""
        raise ForbiddenGlobal(f"persistent id {pid!r}")


def _load(stream: IO[bytes], path: Path, encoding: str) -> Any:
    expected = "a pickle of numpy arrays, numbers, strings, lists, tuples and dicts only"
    again = "Delete the file and fetch it again."
    try:
        return RestrictedUnpickler(stream, encoding=encoding).load()
    except ForbiddenGlobal as error:
        cure = "Do not open this file with plain pickle: it may run code. Get it from its official source."
        raise DataError(path, f"a pickle that names {error}", expected, cure) from error
    except (EOFError, zlib.error) as error:
        raise DataError(path, f"a truncated file ({error})", expected, again) from error
    except OSError as error:
        raise DataError(path, f"a file that cannot be read ({error})", expected, again) from error
    except Exception as error:  # a damaged pickle can fail in any way that its opcodes can
        raise DataError(path, f"no readable pickle ({type(error).__name__}: {error})", expected, again) from error


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


def load_pickle(path: Path, *, gz: bool = False, encoding: str = "bytes", cure: str = "Fetch the file again.") -> Any:
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
        if not gz:
            return _load(raw, path, encoding)
        with gzip.GzipFile(fileobj=raw) as stream:
            return _load(io.BufferedReader(stream), path, encoding)  # type: ignore[arg-type]


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
            version = np.lib.format.read_magic(stream)
            reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = reader(stream)
        except (ValueError, EOFError) as error:
            raise DataError(path, f"no .npy header ({error})", "a NumPy .npy file", cure) from error
        if dtype.hasobject:
            if not objects:
                raise DataError(path, f"a pickled object array {shape}", "a plain numeric array", cure)
            array = _load(stream, path, "bytes")
            if not isinstance(array, np.ndarray) or array.shape != shape:
                raise DataError(path, f"a pickled {type(array).__name__}", f"an object array of shape {shape}", cure)
            return array
        count = int(np.prod(shape, dtype=np.int64))
        have, need = Path(path).stat().st_size - stream.tell(), count * dtype.itemsize
        if have < need:
            raise DataError(path, f"a truncated file, {have:,} bytes of data", f"{need:,} for {shape} {dtype}", cure)
        return np.fromfile(stream, dtype, count=count).reshape(shape, order="F" if fortran else "C")


def load_npy_object(path: Path, *, cure: str = "Fetch the file again.") -> Any:
    """The content of a `.npy` file that may hold pickled objects; a 0-d object array gives the object itself."""
    array = load_npy(path, objects=True, cure=cure)
    return array[()] if array.dtype == object and array.ndim == 0 else array
