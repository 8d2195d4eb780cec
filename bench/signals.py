"""SIGTERM and SIGHUP as Ctrl-C: whoever ends a command of ours, the cell that runs keeps its checkpoint."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn


class Ended(KeyboardInterrupt):
    """A signal asked this process to end; `number` is the signal's."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def as_interrupts() -> Iterator[None]:
    """Raise `Ended` in the main thread when the process is told to end.

    A signal that is ignored stays ignored, so that `nohup` keeps a run alive; one that has a handler keeps it.
    """
    here = threading.current_thread() is threading.main_thread()  # no other thread may set a handler
    mine = [n for n in (signal.SIGTERM, signal.SIGHUP) if here and signal.getsignal(n) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, _end)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _: Any) -> NoReturn:
    raise Ended(number)
