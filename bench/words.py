"""How things are said to people: numbers, and text that somebody else has written."""

from __future__ import annotations

import sys
from typing import TextIO


def counted(number: int, noun: str) -> str:
    """`1 cell`, `2 cells`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2.5 h`, `4.1 d`."""
    for unit, size in (("d", 86400.0), ("h", 3600.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def printable(text: str) -> str:
    """Text of a file, a record or an error as it may go to a terminal: control sequences in it are shown, not obeyed."""
    return "".join(c if c.isprintable() or c in "\t\n" else repr(c)[1:-1] for c in text)


def say(text: str, file: TextIO | None = None) -> None:
    """Print text that may hold what somebody else has written; to standard output, or to `file`."""
    print(printable(text), file=file or sys.stdout, flush=True)
