"""Arrays out of the raw bytes of a file: which dtypes it may have, and the checks that make its bytes safe to use.

What is laid over foreign bytes is memory that numpy trusts. So there are no objects (pointers), no records, no dates,
no bool but 0 and 1 (numpy counts on it), and no character beyond Unicode.
"""

from __future__ import annotations

import math
import re
import tokenize
from typing import IO

import numpy as np

_CODE = re.compile(r"(b1|[iu][1248]|f[248]|c8|c16)|[SU]([1-9][0-9]{0,5})")
_OBJECT = re.compile(r"O[48]?")


class Unfit(ValueError):
    """Bytes, or a description of bytes, that make no plain array."""


def dtype_of(code: str, objects: bool = False) -> np.dtype:
    """The dtype of a type string such as `f8` or `U12`, native order; Unfit for anything but numbers, bool and text.

    With `objects`, `O` is admitted too: for arrays that are filled from a list, never from bytes.
    """
    if not _CODE.fullmatch(code) and not (objects and _OBJECT.fullmatch(code)):
        raise Unfit(f"the type {code[:40]!r}, which is neither numbers nor text")
    return np.dtype("O" if code[0] == "O" else code)


def plain(dtype: np.dtype) -> np.dtype:
    """`dtype` made anew from its type string, without whatever else it carries."""
    return dtype_of(dtype.str[1:]).newbyteorder(dtype.byteorder)


def npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether in Fortran order, and dtype of the `.npy` data that `stream` is at; Unfit where these are none."""
    try:
        version = np.lib.format.read_magic(stream)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(stream)
    except (ValueError, EOFError, SyntaxError, tokenize.TokenError, RecursionError) as error:
        raise Unfit(f"no .npy header ({error})") from error
    dimensions(shape)
    return shape, fortran, dtype if dtype.kind == "O" else plain(dtype)


def dimensions(shape: tuple) -> int:
    """The number of entries of an array of that shape; Unfit if it is none."""
    if not all(type(s) is int and s >= 0 for s in shape) or len(shape) > 32:
        raise Unfit("a shape that is none")
    return math.prod(shape)


def laid_out(raw: np.ndarray, dtype: np.dtype, shape: tuple[int, ...], fortran: bool = False) -> np.ndarray:
    """The array whose memory is `raw` (n,) uint8, writeable, checked: as many bytes as it needs, each value one of its type."""
    if dtype.hasobject:
        raise Unfit("an array of objects that is made of bytes")
    need = dimensions(shape) * dtype.itemsize
    if len(raw) != need:
        raise Unfit(f"{len(raw):,} bytes for an array {shape} of {dtype}, which has {need:,}")
    try:
        values = raw.view(dtype) if need else np.empty(0, dtype)
        return checked(values).reshape(shape, order="F" if fortran else "C")
    except ValueError as error:  # a shape such as (0, 2**62)
        raise Unfit(f"an array of shape {shape} ({error})") from error


def checked(values: np.ndarray) -> np.ndarray:
    """`values` as they are; Unfit where a bool is neither 0 nor 1, or a character beyond Unicode's last."""
    if values.dtype.kind == "b" and values.size and values.view(np.uint8).max() > 1:
        raise Unfit("booleans other than 0 and 1")
    if values.dtype.kind == "U" and values.size:
        codes = np.ascontiguousarray(values).reshape(-1).view(np.dtype("u4").newbyteorder(values.dtype.byteorder))
        if codes.max() > 0x10FFFF:
            raise Unfit("characters that do not exist")
    return values
