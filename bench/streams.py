"""Standard input, output and error of this process: losing one of them, or a letter that it cannot show, ends nothing.

A reader that has left (`| head`), a terminal that was closed, a full disk behind `> file`, a stream that was closed from
the start (`2>&-`): what is written there goes nowhere from then on, and the work goes on.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any

NOBODY_THERE = (errno.EPIPE, errno.EIO)
"""The reader of a pipe, or the terminal, has gone."""


class Lasting(io.TextIOWrapper):
    """A text stream on a file descriptor that never raises OSError; `lost` is the first error, if there was one."""

    lost: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        """Put nothingness behind the descriptor: C code, child processes and what is still buffered write there, too."""
        self.lost = self.lost or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        super().flush()


def secure() -> None:
    """Make the standard streams last and take every letter; to be called first in each process of ours.

    Streams that somebody has put in their place (a test's, a notebook's) are left alone.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file to be opened gets this number, and whatever goes to stderr goes into it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  lives as long as the process
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _lasting(stream, number))


def _lasting(stream: Any, number: int) -> Lasting:
    if stream is not None:
        stream.flush()
    return Lasting(
        os.fdopen(number, "wb", closefd=False),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=stream is None or stream.line_buffering or stream.write_through,
    )


def lost(stream: Any) -> OSError | None:
    """Why a stream takes nothing any more; None while it does."""
    return getattr(stream, "lost", None)


def unwritten() -> OSError | None:
    """Why something for standard output is missing where it was to be kept; None if all is there or nobody is."""
    sys.stdout.flush()
    error = lost(sys.stdout)
    return None if error is None or error.errno in NOBODY_THERE else error
