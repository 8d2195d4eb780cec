"""A worker process and who watches it: cells one after another, in local runs and inside of Slurm jobs alike.

A worker that dies takes one cell with it: the cell is tried once more in a fresh worker, resuming from its checkpoint,
and recorded as `lost` if that one dies, too. A cell whose progress file stays as it is for `watchdog` seconds is asked
where it hangs (the stack goes to its log), killed and recorded as `lost` at once: it would hang again.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bench.launch.one import record_failure
from bench.launch.progress import WRITE_SECONDS, Progress, read
from bench.launch.work import Job, Result, Work

LOOK_SECONDS = 0.5
"""How often the progress of a cell is looked at."""
INTERRUPT_SECONDS = 30.0
"""How long a worker may take to leave after an interrupt before it is killed."""


class Died(Exception):
    """The worker ended in the middle of a cell."""


class Hung(Exception):
    """The cell showed no progress for too long."""


class Worker:
    """A place where a worker process runs; a new one starts when the last one has gone.

    `watchdog` is in seconds (0: never). Signals named in `deaf` do not end the process: they are its parent's to answer.
    """

    def __init__(self, env: Mapping[str, str], watchdog: float, deaf: tuple[str, ...] = ()):
        self._env, self._watchdog, self._deaf = dict(env), watchdog, deaf
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted = False

    def run(self, work: Work, job: Job, progress: Progress) -> Result | None:
        """How a cell went; None if the worker was interrupted."""
        try:
            try:
                said = self._run(work, job, progress)
            except Died:
                if self._interrupted:
                    return None
                said = self._run(work, job, progress)
        except (Died, Hung) as error:
            return None if self._interrupted else record_failure(work.cell, job, "lost", error)
        return Result(work.cell, said["outcome"], said["message"], job.store.get(work.cell.key()))

    def interrupt(self) -> None:
        """Tell the worker to leave, its checkpoint kept: the end of its input does."""
        self._interrupted = True
        if self._process is not None:
            self._end_input(self._process)

    def close(self) -> None:
        """End the worker: it leaves, or is killed after a while."""
        process, self._process = self._process, None
        if process is None:
            return
        self._end_input(process)
        try:
            process.wait(INTERRUPT_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)
        process.stdout.close()  # type: ignore[union-attr]

    def _run(self, work: Work, job: Job, progress: Progress) -> Mapping[str, Any]:
        """What the worker says when the cell has ended."""
        process = self._started()
        request = json.dumps({"work": work.to_dict(), "job": asdict(job)}).encode() + b"\n"
        try:
            process.stdin.write(request)  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        except (BrokenPipeError, ValueError):  # it has died, or was interrupted just now
            raise Died(_obituary(process)) from None
        said = json.loads(self._answer(process, work, job, progress))
        if said["leaves"]:
            self.close()
        return said

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            # A session of its own: Ctrl-C reaches the parent alone, which then tells the workers in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.launch.worker", *self._deaf],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self._env,
                start_new_session=True,
            )
        return self._process

    def _answer(self, process: subprocess.Popen[bytes], work: Work, job: Job, progress: Progress) -> bytes:
        """The worker's line. Raises Died, or Hung where the cell's progress has not changed for the watchdog's time."""
        assert process.stdout is not None
        folder, answer = job.store.work(work.cell.id), b""
        seen: Mapping[str, Any] = {}
        # The file may be as old as that where the cell is not.
        patience, since = self._watchdog + WRITE_SECONDS, time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not answer.endswith(b"\n"):
                if selector.select(LOOK_SECONDS):
                    chunk = os.read(process.stdout.fileno(), 65536)
                    if not chunk:
                        raise Died(_obituary(process))
                    answer += chunk
                elif (said := read(folder)) != seen:
                    seen, since = said, time.monotonic()
                    if said:
                        progress(said)
                elif self._watchdog and time.monotonic() - since > patience:
                    _stop_hanging(process)
                    raise Hung(f"no progress for {self._watchdog:g} s; `bench logs` shows where it was")
        return answer

    @staticmethod
    def _end_input(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # type: ignore[union-attr]


def _stop_hanging(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGUSR1)
    time.sleep(0.5)
    _kill(process)


def _obituary(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    if code >= 0:
        return f"the worker process ended with exit code {code}"
    hint = " (the kernel does that when memory runs out)" if code == -signal.SIGKILL else ""
    return f"the worker process was killed by {signal.Signals(-code).name}{hint}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # with the cell's own children
    process.wait()
