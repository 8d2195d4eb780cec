"""Errors that end a command with one clear message, the exit codes, and did-you-mean for every kind of name."""

from __future__ import annotations

import difflib
import enum
from collections.abc import Iterable


class Exit(enum.IntEnum):
    """Exit codes of the command line. A signal that ends it gives 128 and its number: 143 for SIGTERM, 129 for SIGHUP."""

    OK = 0
    SOME_FAILED = 1
    """Something that was asked for is not there: a cell failed or is not done, a file could not be written."""
    USAGE = 2
    INTERRUPTED = 130


class BenchError(Exception):
    """A problem the user can solve; shown without a traceback. `code` is the exit code of the command."""

    code = Exit.USAGE


class UsageError(BenchError):
    """Wrong names or options: nothing was started."""


class SetupError(BenchError):
    """The machine lacks something (weights, data, disk, permission): nothing was started."""

    code = Exit.SOME_FAILED


def unknown(kind: str, given: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist: what was given, and the nearest names, in any case.

    A dotted name is also near by its last word: `lr` is answered with `trainer.lr`.
    """
    names = sorted(known)
    by_word = {word.casefold(): name for name in reversed(names) for word in (name.rpartition(".")[2], name)}
    close = difflib.get_close_matches(given.casefold(), by_word, n=3, cutoff=0.5)
    near = list(dict.fromkeys(by_word[word] for word in close))
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"known: {', '.join(names[:20])}{' ...' if len(names) > 20 else ''}"
    )
    return UsageError(f"unknown {kind} {given!r}: {hint}")
