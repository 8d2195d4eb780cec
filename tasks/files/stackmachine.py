"""Runs the program that a pickle is, over plain values only: no class is looked up, no code of the file's choice called.

A pickle is a list of steps for a machine with a stack and a memo. Python's own machine imports what a step names and
calls it; this one knows nothing but the values below, so that there is nothing to call. Numpy's names are tokens: an
array is made here, from a type string of a short list and a shape and bytes that agree, and no numpy object is ever
handed to the pickle. What it may ask for is bounded before it is made: the steps, the bytes by what the file holds, and
what it takes from the memo again as if the file held it once more.

The steps are described in CPython's `Lib/pickletools.py`, numpy's part in `ndarray.__reduce__` and `dtype.__reduce__`.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from tasks.files.raw import Unfit
from tasks.files.tokens import (
    NAMES,
    TOKENS,
    Arguments,
    Blank,
    Forbidden,
    Kind,
    Name,
    Raw,
    build,
    call,
    check_depth,
    children,
    contents,
    few,
    keys_of,
)

MOST_STEPS = 4_000_000
"""Of one pickle. The largest published ones have some 250,000."""
MOST_SHARED = 2**28
"""Bytes that may be taken from the memo a second time: what is small in the file may not be large in memory."""
EACH = 256
"""Bytes that each value counts among them, whatever its size: walking over them takes time, too."""
SHORT = 256
"""Bytes or characters up to which taking from the memo is not counted."""
LARGE = 2**16
"""Bytes from which a value is read into an array's own memory, if as many can still come."""
SMALL = frozenset({Name, Kind, int, float, bool, complex, type(None)})


def run(stream: IO[bytes], most: int) -> Any:
    """The value of the pickle that `stream` is at: numbers, text, bytes, containers and arrays of them.

    Strings of Python 2 come as bytes.

    Args:
        stream: read from its position to the pickle's end.
        most: bytes that can still come; nothing larger is made room for.

    Raises:
        Forbidden: a name beyond the few that arrays need.
        Unfit: anything else that plain data have no use for, or too much of it.
        EOFError: the stream ends before the pickle does.
    """
    return _Machine(stream, most).run()


class _Machine:
    """Stack, memo and the steps. Lists, dicts and sets grow only while they are new: the memo does not give them out."""

    def __init__(self, stream: IO[bytes], most: int):
        self.stream, self.read = stream, stream.read
        self.end = stream.tell() + most
        self.shared = MOST_SHARED
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        """The stacks below the marks."""
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        read, steps = self.read, _STEPS
        for _ in range(MOST_STEPS):
            code = read(1)
            if code in steps:
                steps[code](self)
            elif code == b".":
                return self.result()
            else:
                raise Unfit(_refused(code)) if code else EOFError("it ends within the pickle")
        raise Unfit(f"more than {MOST_STEPS:,} steps")

    def result(self) -> Any:
        if self.below or len(self.stack) != 1:
            raise Unfit("a pickle that leaves other than one value")
        return check_depth(contents(self.stack)[0])

    # Reading.

    def exactly(self, count: int) -> bytes:
        data = self.read(count)
        if len(data) != count:
            raise EOFError("it ends within a value")
        return data

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.exactly(form.size))[0]

    def line(self) -> bytes:
        data = self.stream.readline(self.end - self.stream.tell() + 1)
        if data[-1:] != b"\n":
            raise EOFError("it ends within a line")
        return data[:-1]

    def room(self, count: int) -> int:
        """`count`, if as many bytes can still come."""
        if count > LARGE and count > self.end - self.stream.tell():
            raise EOFError(f"it has fewer than {count:,} further bytes")
        return count

    def frame(self) -> None:
        self.exactly(8)

    # Steps with a count of bytes before the bytes.

    def text(self, form: struct.Struct) -> None:
        self.stack.append(self.exactly(self.room(self.number(form))).decode("utf-8", "surrogatepass"))

    def content(self, form: struct.Struct, made: type[bytes] | type[bytearray] = bytes) -> None:
        count = self.room(self.number(form))
        if count <= LARGE:
            self.stack.append(made(self.exactly(count)))
            return
        data = np.empty(count, np.uint8)
        have = 0
        while have < count:
            got = self.stream.readinto(data[have:].data)  # type: ignore[attr-defined]
            if not got:
                raise EOFError("it ends within an array")
            have += got
        self.stack.append(Raw(data, made))

    def string(self, form: struct.Struct) -> None:
        count = self.number(form)
        if count < 0:
            raise Unfit("a string of negative length")
        self.stack.append(self.exactly(self.room(count)))

    def quoted(self) -> None:
        line = self.line()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise Unfit("a string without quotes")
        self.stack.append(codecs.escape_decode(line[1:-1])[0])  # type: ignore[attr-defined]

    def whole(self, form: struct.Struct) -> None:
        count = self.number(form)
        if not 0 <= count <= 255:
            raise Unfit("a number of more than 255 bytes")
        self.stack.append(int.from_bytes(self.exactly(count), "little", signed=True))

    # Numbers in words.

    def decimal(self) -> None:
        line = self.line().rstrip(b"L")
        self.stack.append({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line))

    # Containers.

    def marked(self) -> list[Any]:
        items = self.stack
        self.stack = self.below.pop()
        return items

    def last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise Unfit("a step without its values")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def tuple_of(self, items: list[Any]) -> None:
        self.stack.append(tuple(items) if TOKENS.isdisjoint(map(type, items)) else Arguments(items))

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise Unfit(f"items for a {type(target).__name__}")
        target.extend(contents(items))

    def put_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise Unfit(f"entries for a {type(target).__name__}")
        keys, values = contents(items[::2]), contents(items[1::2])
        target.update(zip(keys_of(keys), values, strict=True))
        few(target)

    def add_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not set:
            raise Unfit(f"members for a {type(target).__name__}")
        target.update(keys_of(contents(items)))
        few(target)

    def list_of(self, items: list[Any]) -> None:
        self.stack.append(contents(items))

    def frozenset_of(self, items: list[Any]) -> None:
        self.stack.append(frozenset(keys_of(contents(items))))

    def dict_of(self, items: list[Any]) -> None:
        self.stack.append({})
        self.put_items(items)

    # Memo.

    def keep(self, slot: int) -> None:
        value = self.stack[-1]
        self.memo[slot] = value
        if type(value) is Blank or type(value) is Kind:
            value.slots.append(slot)

    def take(self, slot: int) -> None:
        value = self.memo[slot]
        if type(value) not in SMALL and not (type(value) in (str, bytes) and len(value) <= SHORT):
            self.pay(value)
        self.stack.append(value)

    def pay(self, value: Any) -> None:
        """Count a value once more against what the file may make of itself."""
        if type(value) in (list, dict, set, bytearray, Blank, Arguments):
            raise Unfit(f"a second use of a {type(value).__name__}")
        todo = [value]
        while todo:
            value = todo.pop()
            size = value.data.nbytes if type(value) is Raw else getattr(value, "nbytes", None)
            self.shared -= EACH + (size if size is not None else len(value) if hasattr(value, "__len__") else 0)
            if self.shared < 0:
                raise Unfit("values that are used so often that they would fill the memory")
            todo.extend(children(value))

    # Names, calls and states.

    def name(self, module: Any, name: Any) -> None:
        if type(module) is not str or type(name) is not str:
            raise Unfit("a name that is no text")
        found = NAMES.get((module, name))
        if found is None:
            raise Forbidden(f"{module}.{name}")
        self.stack.append(Name(found))

    def reduce(self) -> None:
        function, arguments = self.last(2)
        if type(function) is not Name or not isinstance(arguments, tuple):
            raise Unfit(f"a call of a {type(function).__name__}")
        self.stack.append(call(function.text, arguments))

    def state(self) -> None:
        value, state = self.last(2)
        built = build(value, state)
        for slot in value.slots:
            if self.memo[slot] is value:
                self.memo[slot] = built
        self.stack.append(built)


def _refused(code: bytes) -> str:
    import pickletools

    known = next((op for op in pickletools.opcodes if op.code == code.decode("latin1")), None)
    return f"the step {known.name}, which plain data do not need" if known else f"the byte {code!r}, which is no step"


_U1, _U2, _U4, _U8, _I4, _F8 = (struct.Struct(f) for f in ("<B", "<H", "<I", "<Q", "<i", ">d"))
_STEPS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: _protocol(m.number(_U1)),
    b"\x95": _Machine.frame,
    b"N": lambda m: m.stack.append(None),
    b"\x88": lambda m: m.stack.append(True),
    b"\x89": lambda m: m.stack.append(False),
    b"K": lambda m: m.stack.append(m.exactly(1)[0]),
    b"M": lambda m: m.stack.append(m.number(_U2)),
    b"J": lambda m: m.stack.append(m.number(_I4)),
    b"G": lambda m: m.stack.append(m.number(_F8)),
    b"I": _Machine.decimal,
    b"L": _Machine.decimal,
    b"F": lambda m: m.stack.append(float(m.line())),
    b"\x8a": lambda m: m.whole(_U1),
    b"\x8b": lambda m: m.whole(_I4),
    b"\x8c": lambda m: m.text(_U1),
    b"X": lambda m: m.text(_U4),
    b"\x8d": lambda m: m.text(_U8),
    b"V": lambda m: m.stack.append(m.line().decode("raw-unicode-escape")),
    b"C": lambda m: m.content(_U1),
    b"B": lambda m: m.content(_U4),
    b"\x8e": lambda m: m.content(_U8),
    b"\x96": lambda m: m.content(_U8, bytearray),
    b"U": lambda m: m.string(_U1),
    b"T": lambda m: m.string(_I4),
    b"S": _Machine.quoted,
    b"(": _Machine.mark,
    b")": lambda m: m.stack.append(()),
    b"\x85": lambda m: m.tuple_of(m.last(1)),
    b"\x86": lambda m: m.tuple_of(m.last(2)),
    b"\x87": lambda m: m.tuple_of(m.last(3)),
    b"t": lambda m: m.tuple_of(m.marked()),
    b"]": lambda m: m.stack.append([]),
    b"l": lambda m: m.list_of(m.marked()),
    b"a": lambda m: m.extend(m.last(1)),
    b"e": lambda m: m.extend(m.marked()),
    b"}": lambda m: m.stack.append({}),
    b"d": lambda m: m.dict_of(m.marked()),
    b"s": lambda m: m.put_items(m.last(2)),
    b"u": lambda m: m.put_items(m.marked()),
    b"\x8f": lambda m: m.stack.append(set()),
    b"\x90": lambda m: m.add_items(m.marked()),
    b"\x91": lambda m: m.frozenset_of(m.marked()),
    b"p": lambda m: m.keep(int(m.line())),
    b"q": lambda m: m.keep(m.number(_U1)),
    b"r": lambda m: m.keep(m.number(_U4)),
    b"\x94": lambda m: m.keep(len(m.memo)),
    b"g": lambda m: m.take(int(m.line())),
    b"h": lambda m: m.take(m.number(_U1)),
    b"j": lambda m: m.take(m.number(_U4)),
    b"c": lambda m: m.name(m.line().decode(), m.line().decode()),
    b"\x93": lambda m: m.name(*m.last(2)),
    b"R": _Machine.reduce,
    b"b": _Machine.state,
}
"""The steps of protocols 0 to 5 that plain data are written with."""


def _protocol(number: int) -> None:
    if number > 5:
        raise Unfit(f"pickle protocol {number}")
