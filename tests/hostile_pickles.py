"""Pickles that are built step by step: a small assembler, whole hostile ones, and seeded random programs."""

from __future__ import annotations

import random
import struct

PROTO, STOP = b"\x80\x04", b"."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def data(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def whole(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


def several(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


CORE = "numpy.core.multiarray"
NDARRAY = name("numpy", "ndarray")
BLANK = name(CORE, "_reconstruct") + several(NDARRAY, several(whole(0)), data(b"b")) + b"R"


def dtype(code: str, order: str = "<", flags: int = 0, fields: bytes = b"NNN", version: int = 3) -> bytes:
    """A dtype with its state; `flags` 0 on `O8` is what makes bytes into pointers in numpy's own hands."""
    state = whole(version) + text(order) + fields + whole(-1) + whole(-1) + whole(flags)
    return name("numpy", "dtype") + several(text(code), b"\x89", b"\x88") + b"R" + several(state) + b"b"


def array(kind: bytes, shape: tuple[int, ...], content: bytes) -> bytes:
    state = several(whole(1), several(*map(whole, shape)), kind, b"\x89", content)
    return BLANK + state + b"b"


def scalar(kind: bytes, content: bytes) -> bytes:
    return name(CORE, "scalar") + several(kind, content) + b"R"


def frombuffer(content: bytes, kind: bytes, shape: tuple[int, ...]) -> bytes:
    return (
        name("numpy.core.numeric", "_frombuffer")
        + several(content, kind, several(*map(whole, shape)), text("C"))
        + b"R"
    )


POINTER = data(b"A" * 8)
HOSTILE = {
    "flags cleared, array": array(dtype("O8"), (1,), POINTER),
    "flags cleared, scalar": scalar(dtype("O8"), POINTER),
    "flags cleared, buffer": frombuffer(POINTER, dtype("O8"), (1,)),
    "flags set on numbers": array(dtype("f8", flags=63), (1,), b"](K\x01e"),
    "object array from text": array(dtype("O8", "|", 63), (1,), text("AAAAAAAA")),
    "record of objects": array(dtype("V8", "|"), (1,), POINTER),
    "record with fields": array(dtype("V8", "|", fields=b"N" + several(text("a")) + b"}"), (1,), POINTER),
    "subarray": array(dtype("V8", "|", fields=several(dtype("O8"), several(whole(1))) + b"NN"), (1,), POINTER),
    "a comma string": array(name("numpy", "dtype") + several(text("O8,i4"), b"\x89", b"\x88") + b"R", (1,), POINTER),
    "a date": array(dtype("M8"), (1,), POINTER),
    "ndarray called": NDARRAY + several(several(whole(2)), text("f8")) + b"R",
    "ndarray from a buffer": NDARRAY + several(several(whole(2)), dtype("O8"), data(b"A" * 16)) + b"R",
    "ndarray by NEWOBJ": NDARRAY + several(several(whole(2))) + b"\x81",
    "another array class": name(CORE, "_reconstruct") + several(name("numpy", "matrix"), b")", data(b"b")) + b"R",
    "state on a list": b"]" + several(whole(1), b"]") + b"b",
    "state on a name": NDARRAY + several(b"N", b"}") + b"b",
    "state on a dict": b"}}b",
    "state twice": array(dtype("f8"), (1,), POINTER) + several(whole(1), several(whole(9)), dtype("f8"), b"\x89", data(b"")) + b"b",
    "state of another length": array(dtype("f8"), (2,), POINTER),
    "negative shape": array(dtype("f8"), (-1,), POINTER),
    "shape that overflows": array(dtype("f8"), (2**32, 2**32), data(b"")),
    "shape with a huge axis and none": array(dtype("f8"), (0, 2**62), data(b"")),
    "forty axes": array(dtype("u1"), (1,) * 40, data(b"A")),
    "blank array": BLANK,
    "blank array in a list": b"]" + BLANK + b"a",
    "a name in a list": b"]" + NDARRAY + b"a",
    "a dtype in a dict": b"}" + text("k") + dtype("f8") + b"s",
    "arguments in a list": b"](" + several(NDARRAY) + b"e",
    "a name as key": b"}" + NDARRAY + b"Ns",
    "an array that holds itself": BLANK + b"q\x00" + several(whole(1), several(whole(1)), dtype("O8", "|", 63), b"\x89", b"]h\x00a") + b"b",
    "a list that holds itself": b"]q\x00h\x00a",
    "a list in two places": b"](]q\x00h\x00e",
    "a call of a call": name("_codecs", "encode") + several(text("a"), text("latin1")) + b"R" + b")R",
    "a call of text": text("a") + b")R",
    "booleans of 255": array(dtype("b1", "|"), (8,), data(b"\xff" * 8)),
    "characters beyond Unicode": array(dtype("U1"), (1,), data(b"\xff\xff\xff\x7f")),
    "text as long as memory": array(dtype("U999999999"), (1,), data(b"")),
    "tuples as keys, nested": b")" + b"\x85" * 200_000 + b"q\x00}h\x00Ns",
    "a tuple of itself, doubled": b"K\x01" + b"q\x00h\x00\x86" * 60 + b"q\x00}h\x00Ns",
    "lists in lists": b"]" * 200_000 + b"a" * 199_999,
    "tuples in tuples": b")" + b"\x85" * 200_000,
    "tuples of one tuple": b")q\x00" + b"(" + b"h\x00" * 999 + b"tq\x00" * 1 + b"(" + b"h\x00" * 999 + b"tq\x00" + b"(" + b"h\x00" * 999 + b"tq\x00" + b"(" + b"h\x00" * 999 + b"t",
    "a large text, often": b"](" + data(b"x" * 100_000) + b"q\x00" + b"h\x00" * 5_000 + b"e",
    "an array, often": b"](" + array(dtype("u1", "|"), (100_000,), data(b"x" * 100_000)) + b"q\x00" + b"h\x00" * 5_000 + b"e",
    "bytes that are not there": b"\x8e" + struct.pack("<Q", 2**62),
    "a bytearray that is not there": b"\x96" + struct.pack("<Q", 2**40),
    "text that is not there": b"\x8d" + struct.pack("<Q", 2**40),
    "a number of a gigabyte": b"\x8b" + struct.pack("<i", 2**30),
    "a number in a million digits": b"L" + b"9" * 1_000_000 + b"L\n",
    "keys that collide": b"}(" + b"".join(b"\x8a\x14" + (k * (2**61 - 1)).to_bytes(20, "little", signed=True) + b"N" for k in range(3000)) + b"u",
    "too many keys": b"\x8f(" + b"".join(whole(k) for k in range(5000)) + b"\x90",
    "a mark that is not there": b"t",
    "values that are not there": b"\x87",
    "nothing": b"",
    "an extension": b"\x82\x01",
    "a persistent id": b"K\x01Q",
    "an instance": b"(ios\nsystem\n",
    "an object": b"(cos\nsystem\nX\x02\x00\x00\x00lso",
    "a buffer from outside": b"\x97",
    "protocol 6": b"\x80\x06N",
}  # fmt: skip
"""Programs without their last step; none may give a value."""

_PIECES = [
    b"(", b"t", b")", b"\x85", b"\x86", b"\x87", b"]", b"l", b"a", b"e", b"}", b"d", b"s", b"u", b"\x8f", b"\x90", b"\x91",
    b"R", b"b", b"\x81", b"\x92", b"0", b"1", b"2", b"N", b"\x88", b"\x89", b"K\x00", b"K\x01", b"K\x08", b"J\xff\xff\xff\xff",
    b"M\x00\x01", b"G?\xf0\x00\x00\x00\x00\x00\x00", b"I01\n", b"I7\n", b"L7L\n", b"F1.5\n", b"S'a'\n", b"V\\u00e9\n", b"U\x01a",
    b"T\x01\x00\x00\x00a", b"C\x08AAAAAAAA", b"q\x00", b"q\x01", b"q\x02", b"h\x00", b"h\x01", b"h\x02", b"\x94", b"p0\n", b"g0\n",
    b"r\x03\x00\x00\x00", b"j\x03\x00\x00\x00", b"\x93", b"\x95" + b"\x00" * 8, b"\x82\x01", b"Q", b"\x97", b"\x98", b"\x96" + struct.pack("<Q", 8) + b"A" * 8,
    NDARRAY, BLANK, name(CORE, "_reconstruct"), name(CORE, "scalar"), name("numpy.core.numeric", "_frombuffer"), name("numpy", "dtype"),
    name("_codecs", "encode"), *(name("builtins", n) for n in ("set", "frozenset", "bytearray", "bytes", "complex", "eval", "getattr")),
    name("os", "system"), name("numpy", "load"), dtype("O8"), dtype("O8", "|", 63), dtype("f8"), dtype("b1", "|"), dtype("U1"), dtype("V8"),
    several(whole(1), several(whole(1)), dtype("f8"), b"\x89", POINTER), several(whole(1), several(whole(1)), dtype("O8"), b"\x89", POINTER),
    several(whole(3), text("<"), b"NNN", whole(-1), whole(-1), whole(0)), text("O8"), text("latin1"), text("\u00e9"), POINTER,
    array(dtype("i2"), (4,), POINTER), array(dtype("O8", "|", 63), (2,), b"](K\x01K\x02e"),
]  # fmt: skip
_LEAVES = [
    b"N", b"\x88", b"K\x07", b"M\x00\x01", b"J\xff\xff\xff\xff", b"G?\xf0\x00\x00\x00\x00\x00\x00", b"I01\n", b"L7L\n", b"F1.5\n", b"S'a'\n",
    b"V\\u00e9\n", b"U\x01a", text("a"), POINTER, array(dtype("i2"), (4,), POINTER), scalar(dtype("f8"), POINTER), frombuffer(POINTER, dtype("u1"), (2, 4)),
    name("builtins", "set") + several(b"](K\x01K\x02e") + b"R", name("builtins", "complex") + several(b"F1\n", b"F2\n") + b"R",
]  # fmt: skip


def _value(rng: random.Random, depth: int = 0) -> list[bytes]:
    """The steps of a plain value, one a piece."""
    kind = rng.choice(["leaf", "list", "tuple", "dict", "objects"]) if depth < 3 else "leaf"
    if kind == "leaf":
        return [rng.choice(_LEAVES), *([b"\x94"] if rng.random() < 0.3 else [])]
    inner = [_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == "dict":
        return [b"}", b"(", *(p for k, v in enumerate(inner) for p in (b"K" + bytes([k]), *v)), b"u"]
    flat = [piece for value in inner for piece in value]
    if kind == "tuple":
        return [b"(", *flat, b"t"]
    items = [b"]", b"(", *flat, b"e"]
    if kind == "list":
        return items
    state = [b"(", whole(1), several(whole(len(inner))), dtype("O8", "|", 63), b"\x89", *items, b"t"]
    return [BLANK, *state, b"b"]


def program(seed: int) -> bytes:
    """A random pickle: a plain value with some steps exchanged, added or left out, or steps by chance; some are cut off."""
    rng = random.Random(seed)
    pieces = _value(rng) if rng.random() < 0.8 else [rng.choice(_PIECES) for _ in range(rng.randrange(1, 40))]
    for _ in range(rng.choice([0, 1, 1, 2, 4])):
        at = rng.randrange(len(pieces) + 1)
        pieces[at : at + rng.randrange(2)] = [rng.choice(_PIECES)] * rng.randrange(2)
    if rng.random() < 0.1:
        pieces.insert(rng.randrange(len(pieces) + 1), rng.choice(list(HOSTILE.values()))[:4000])
    blob = bytearray(PROTO + b"".join(pieces) + STOP)
    for _ in range(rng.choice([0, 0, 0, 1, 3])):
        blob[rng.randrange(len(blob))] = rng.randrange(256)
    return bytes(blob[: rng.randrange(len(blob))] if rng.random() < 0.05 else blob)
