"""The values that a pickle of arrays is made of, the tokens that stand for numpy meanwhile, and every call it can make.

See `tasks.files.stackmachine`, which moves them about.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tasks.files.raw import Unfit, dimensions, dtype_of, laid_out

MOST_DEPTH = 32
"""Containers within containers."""
MOST_KEYS = 4096
"""Of one dict or set: keys are chosen by the file, and a table of chosen keys can be made slow."""


class Forbidden(Unfit):
    """A pickle that names something other than arrays and plain containers."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a pickle named; a token, with nothing behind it."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A dtype."""

    dtype: np.dtype
    slots: list[int] = field(default_factory=list)
    """Where the memo holds it, to be replaced once its state is known."""


@dataclass(frozen=True, slots=True, eq=False)
class Blank:
    """An array before its content."""

    slots: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Raw:
    """Many bytes, (n,) uint8: an array's content, or of a type of their own once a container takes them."""

    data: np.ndarray
    made: type[bytes] | type[bytearray]


class Arguments(tuple):
    """A tuple with tokens in it: arguments or a state, no value of a file."""


TOKENS = frozenset({Name, Kind, Blank, Raw, Arguments})
"""Types that stay on the stack: no container holds one, and none leaves."""
ORDERS = ("<", ">", "=", "|")
KEYS = frozenset({str, bytes, int, bool, type(None)})
NAMES = {
    **{("builtins", n): n for n in ("bytes", "bytearray", "complex", "set", "frozenset")},
    **{("__builtin__", n): n for n in ("bytes", "bytearray", "complex", "set", "frozenset")},
    ("_codecs", "encode"): "encode",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
}
for _core in ("numpy.core", "numpy._core"):  # numpy 2 moved it; files carry either name
    NAMES[f"{_core}.multiarray", "_reconstruct"] = "_reconstruct"
    NAMES[f"{_core}.multiarray", "scalar"] = "scalar"
    NAMES[f"{_core}.numeric", "_frombuffer"] = "_frombuffer"


def call(name: str, arguments: Sequence[Any]) -> Any:
    """What the function of that name gives: every call that a pickle can make."""
    match name, tuple(arguments):
        case "_reconstruct", (Name("ndarray"), _, _):
            return Blank()
        case "dtype", (str() | bytes() as code, *_):
            return Kind(dtype_of(_text(code), objects=True))
        case "scalar", (Kind(dtype), content):
            return laid_out(_memory(content), dtype, (1,))[0]
        case "_frombuffer", (content, Kind(dtype), tuple() as shape, "C" | "F" as order):
            return laid_out(_memory(content), dtype, shape, order == "F")
        case "_frombuffer", (content, Kind(dtype), tuple() as shape, "K", tuple() as axes):
            return laid_out(_memory(content), dtype, shape).transpose(axes)
        case "encode", (str() as text, "latin1"):  # how protocols 0 to 2 write bytes
            return text.encode("latin1")
        case "bytes" | "bytearray" as made, ():
            return b"" if made == "bytes" else bytearray()
        case "bytearray", (str() as text, "latin-1"):
            return bytearray(text, "latin-1")
        case "bytearray", (bytes() as content,):
            return bytearray(content)
        case "bytearray", (Raw(data, _),):
            return bytearray(data)
        case "complex", (float() as real, float() as imaginary):
            return complex(real, imaginary)
        case "set" | "frozenset" as made, (list() as items,):
            return (set if made == "set" else frozenset)(keys_of(items))
    raise Unfit(f"a call of {name!r} with ({', '.join(type(a).__name__ for a in arguments)})")


def build(value: Any, state: Any) -> Any:
    """`value` with its state: byte order of a dtype, content of an array. A dtype's flags are what its type has."""
    match value, state:
        case Kind(dtype), (int(), str() | bytes() as order, None, None, None, *_) if _text(order) in ORDERS:
            return Kind(dtype.newbyteorder(_text(order)))  # type: ignore[arg-type]
        case Blank(), (int(), tuple() as shape, Kind(dtype), int() as fortran, list() as content) if dtype.hasobject:
            return _objects(content, shape, bool(fortran))
        case Blank(), (int(), tuple() as shape, Kind(dtype), int() as fortran, content):
            values = laid_out(_memory(content), dtype, shape, bool(fortran))
            return values.astype(dtype.newbyteorder("="), copy=False)
    raise Unfit(f"a state for a {type(value).__name__}, or one that does not fit")


def _objects(content: list, shape: tuple, fortran: bool) -> np.ndarray:
    if len(content) != dimensions(shape):
        raise Unfit(f"{len(content):,} objects for an array {shape}")
    out = np.empty(len(content), object)
    for i, value in enumerate(content):
        out[i] = value
    return np.asarray(out.reshape(shape), order="F" if fortran else "C")  # the list is in C order all the same


def _memory(content: Any) -> np.ndarray:
    """Bytes as writeable memory (n,) uint8."""
    if isinstance(content, Raw):
        return content.data
    if not isinstance(content, bytes | bytearray):
        raise Unfit(f"an array from a {type(content).__name__}")
    return np.frombuffer(content, np.uint8).copy()


def _text(value: str | bytes) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else value


def keys_of(items: Iterable[Any]) -> list[Any]:
    """`items`, fit to be keys: few, and of types whose hashes a file cannot choose."""
    keys = few(list(items))
    if not KEYS.issuperset(map(type, keys)) or any(type(k) is int and abs(k) >= 2**60 for k in keys):
        raise Unfit(f"keys of the types {', '.join(sorted({type(k).__name__ for k in keys})[:5])}")
    return keys


def few(keys: Any) -> Any:
    """`keys`, or a dict or set of them; Unfit for more than `MOST_KEYS`."""
    if len(keys) > MOST_KEYS:
        raise Unfit(f"{len(keys):,} keys in a dict or set")
    return keys


def contents(items: list[Any]) -> list[Any]:
    """`items`, fit to be in a container: values, no tokens."""
    if TOKENS.isdisjoint(map(type, items)):
        return items
    whole = [i.made(i.data) if type(i) is Raw else i for i in items]
    if bad := next((i for i in whole if type(i) in TOKENS), None):
        raise Unfit(f"a {type(bad).__name__.lower()} where a value should be")
    return whole


def check_depth(value: Any) -> Any:
    """`value`; Unfit where its containers lie too deep in each other for whatever walks over them later."""
    level = [value]
    for _ in range(MOST_DEPTH):
        level = [child for v in level for child in children(v) if type(child) in _NESTED]
        if not level:
            return value
    raise Unfit(f"containers more than {MOST_DEPTH} deep")


_NESTED = frozenset({list, tuple, dict, set, frozenset, np.ndarray})


def children(value: Any) -> Iterable[Any]:
    """What a container holds, of a dict its values; nothing of any other value. Keys are no containers (`keys_of`)."""
    if type(value) is np.ndarray:
        return value.reshape(-1).tolist() if value.dtype.hasobject else ()
    if type(value) is dict:
        return value.values()
    return value if type(value) in _NESTED else ()
