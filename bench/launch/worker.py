"""A process of the local executor: reads one cell per line of JSON from stdin, runs it, writes events to stdout.

Plain data both ways, no pickles. When stdin ends in the middle of a cell, the parent has died, however that happened: the
worker ends too, as after Ctrl-C, with the cell's checkpoint kept, so that no GPU is held by a run that nobody sees.
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
from bench.launch.local import INTERRUPT_SECONDS
from bench.launch.one import Job, Work, gpu_is_lost, run_one


def main() -> int:
    """Serve cells until stdin ends; 130 after an interrupt."""
    streams.secure()
    # Events get a private copy of stdout, so that nothing a cell prints can be taken for one.
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # The parent's watchdog asks with SIGUSR1 where a hanging cell is; the answer goes to the cell's log.
    faulthandler.register(signal.SIGUSR1, all_threads=True)

    def send(event: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the parent has died: the end of stdin says so, too
            print(json.dumps(event), file=events)

    try:
        with signals.as_interrupts():
            for request in _requests():
                work, job = Work.from_dict(request["work"]), Job(**request["job"])
                result = run_one(work, job, lambda event: send({"progress": dict(event)}), log=True)
                lost = gpu_is_lost()
                send({"outcome": result.outcome, "message": result.message, "leaves": lost})
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
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(INTERRUPT_SECONDS)
            os.killpg(os.getpid(), signal.SIGKILL)  # a cell that does not listen, with its own children

    threading.Thread(target=read, name="parent", daemon=True).start()
    while (line := lines.get()) is not None:
        busy.set()
        yield json.loads(line)
        busy.clear()


if __name__ == "__main__":
    sys.exit(main())
