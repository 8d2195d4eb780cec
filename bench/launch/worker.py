"""A process of `bench.launch.watched`: reads one cell per line of JSON from stdin, runs it, says on stdout how it went.

Plain data both ways, no pickles. When stdin ends in the middle of a cell, the parent wants it so or has died, however that
happened: the worker ends too, as after Ctrl-C, with the cell's checkpoint kept, so that no GPU is held by a run that
nobody sees. Arguments are names of signals that do not end it: Slurm's warnings reach every process of a job.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from bench import signals, streams
from bench.launch.one import gpu_is_lost, run_one
from bench.launch.watched import INTERRUPT_SECONDS
from bench.launch.work import Job, Work


def main() -> int:
    """Serve cells until stdin ends; 130 after an interrupt."""
    for name in sys.argv[1:]:
        # A handler that does nothing, for what is ignored stays ignored in the cell's children.
        signal.signal(signal.Signals[f"SIG{name}"], lambda *_: None)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent may have been started with it ignored
    streams.secure()
    # Answers get a private copy of stdout, so that nothing a cell prints can be taken for one.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # The parent's watchdog asks with SIGUSR1 where a hanging cell is; the answer goes to the cell's log.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    try:
        with signals.as_interrupts():
            for request in _requests():
                result = run_one(Work.from_dict(request["work"]), Job(**request["job"]), log=True)
                lost = gpu_is_lost()
                with contextlib.suppress(BrokenPipeError):  # the parent has died: the end of stdin says so, too
                    print(
                        json.dumps({"outcome": result.outcome, "message": result.message, "leaves": lost}), file=answers
                    )
                if lost:
                    break  # the next cell gets a fresh process
    except KeyboardInterrupt:
        return 130
    return 0


def _requests() -> Iterator[Mapping[str, Any]]:
    """What the parent asks for. Its end interrupts this process if it is at work on a request."""
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    busy = threading.Event()

    def read() -> None:
        # Unbuffered: the lock of a buffer, held by a thread that waits, would get in the way of the process's exit.
        with open(0, "rb", buffering=0, closefd=False) as stdin:
            for line in stdin:
                lines.put(line)
        lines.put(None)
        if busy.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            time.sleep(INTERRUPT_SECONDS)
            os.killpg(os.getpid(), signal.SIGKILL)  # a cell that does not listen, with its own children

    threading.Thread(target=read, name="parent", daemon=True).start()
    while (line := lines.get()) is not None:
        busy.set()
        yield json.loads(line)
        busy.clear()


if __name__ == "__main__":
    sys.exit(main())
