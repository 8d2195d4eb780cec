"""Random pickles, read in a process of their own: `python -m tests.fuzz_pickles COUNT [FIRST_SEED]` (also `make fuzz`).

Each is read as a file. It may give a value of plain types or end in a DataError. Anything else fails: another
exception, a crash, a program that takes long, or an audit event that reading has no use for (an import, a call of
exec, a process, a socket, another file).
"""

from __future__ import annotations

import contextlib
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from tasks.contract import DataError
from tasks.files import pickles
from tests.hostile_pickles import program

PLAIN = (int, float, complex, str, bytes, bytearray, bool, type(None), np.generic)
HARMLESS = {"object.__getattr__", "sys._getframe", "gc.collect"}
SLOWEST = 5.0
"""Seconds that one program may take."""
MEMORY = 4 * 2**30


def check(value: Any) -> None:
    """AssertionError where there is anything but arrays and plain containers in `value`."""
    if isinstance(value, np.ndarray):
        assert type(value) is np.ndarray and value.dtype.kind in "biufcSUO"
        for item in value.reshape(-1).tolist() if value.dtype.kind == "O" else ():
            check(item)
        value.tolist()
    elif type(value) in (list, tuple, set, frozenset):
        for item in value:
            check(item)
    elif type(value) is dict:
        for item in (*value, *value.values()):
            check(item)
    else:
        assert isinstance(value, PLAIN), type(value)


def main(count: int, first: int = 0) -> None:
    """Read `count` programs; ends with an exception that names the seed of one that misbehaves."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.setrecursionlimit(2000)
    read = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.pkl"
        for blob in (b"V\\u00e9\n.", b"x", b"ca\n\x1b\n."):  # codecs and names that are imported when first needed
            path.write_bytes(blob)
            with contextlib.suppress(DataError):
                pickles.load_pickle(path)
        events: list[str] = []
        sys.addaudithook(lambda event, given: events.append(f"import {given[0]}" if event == "import" else event))
        for seed in range(first, first + count):
            path.write_bytes(program(seed))
            events.clear()
            start = time.perf_counter()
            try:
                value = pickles.load_pickle(path)
            except DataError as error:
                assert str(error).isprintable(), seed
            except BaseException:
                print(f"seed {seed}", file=sys.stderr)
                raise
            else:
                read += 1
                check(value)
            unexpected = [e for e in events if e not in HARMLESS]
            assert set(unexpected) <= {"open"} and unexpected.count("open") <= 2, (seed, unexpected)
            assert time.perf_counter() - start < SLOWEST, f"seed {seed} took long"
    print(f"{count:,} programs: {read:,} gave plain values, {count - read:,} were refused")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
