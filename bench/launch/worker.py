"""A process of the local executor: reads one cell per line of JSON from stdin, runs it, writes events to stdout.

Plain data both ways, no pickles. When the parent dies, the worker ends its present cell (its record is as good as any)
and then itself, for stdin is at its end.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from bench import streams
from bench.launch.one import Job, Work, run_one


def main() -> int:
    """Serve cells until stdin ends; 130 after an interrupt."""
    streams.secure()
    # Events get a private copy of stdout, so that nothing a cell prints can be taken for one.
    events = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # The parent's watchdog asks with SIGUSR1 where a hanging cell is; the answer goes to the cell's log.
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    orphaned = False

    def send(event: Mapping[str, Any]) -> None:
        nonlocal orphaned
        if orphaned:
            return
        try:
            print(json.dumps(event), file=events)
        except BrokenPipeError:
            orphaned = True

    try:
        for line in sys.stdin:
            request = json.loads(line)
            work, job = Work.from_dict(request["work"]), Job(**request["job"])
            result = run_one(work, job, lambda event: send({"progress": dict(event)}), log=True)
            send({"outcome": result.outcome, "message": result.message})
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
