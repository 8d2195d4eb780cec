"""Cells in N worker processes of this machine, one GPU each if there are.

A worker that dies takes one cell with it: the cell is tried once more in a fresh worker, resuming from its checkpoint,
and recorded as `lost` if that one dies, too. A cell that shows no progress for `watchdog` seconds is asked where it
hangs (the stack goes to its log), killed and recorded as `lost` at once: it would hang again.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.beside import same_code
from bench.errors import SetupError
from bench.launch.display import Display
from bench.launch.one import Job, Result, Work, record_failure

TRIES = 2
INTERRUPT_SECONDS = 30.0
"""How long a worker may take to leave after an interrupt before it is killed."""
DRIVER_SECONDS = 60.0


def gpus_here() -> list[str]:
    """Ids of the GPUs that this process may use, without loading torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip()]
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=DRIVER_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise SetupError(
            "nvidia-smi does not answer: use --set trainer.device=cpu, or a machine whose driver does"
        ) from None
    return [str(i) for i, _ in enumerate(line for line in listed.stdout.splitlines() if line.startswith("GPU "))]


def environment(slot: int, on_cpu: bool = False) -> dict[str, str]:
    """What the worker in a slot gets: this process's code, and its share of GPUs (none `on_cpu`)."""
    env = {**os.environ, **same_code()}
    gpus = [] if on_cpu else gpus_here()
    if on_cpu:
        env["CUDA_VISIBLE_DEVICES"] = ""
    elif gpus:
        env["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return env


class Died(Exception):
    """The worker ended in the middle of a cell."""


class Hung(Exception):
    """The worker showed no progress for too long."""


class Slot:
    """One place where a worker runs; starts a new worker when the last one has died."""

    def __init__(self, env: Mapping[str, str], watchdog: float):
        self._env, self._watchdog = env, watchdog
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""

    def run(self, work: Work, job: Job, show: Display) -> tuple[str, str]:
        """Outcome and message of one cell in this slot's worker."""
        process = self._start()
        request = json.dumps({"work": work.to_dict(), "job": asdict(job)}).encode() + b"\n"
        try:
            process.stdin.write(request)  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError:
            raise Died(self._obituary()) from None
        while True:
            event = self._next()
            if "outcome" in event:
                if event["leaves"]:
                    self.close()
                return event["outcome"], event["message"]
            show.update(work.cell.id, event["progress"])

    def interrupt(self) -> None:
        """Ask the worker to leave, as Ctrl-C would (which it may have inherited as ignored)."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End the worker: its stdin ends, and it leaves, or is killed after a while."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()  # type: ignore[union-attr]
        try:
            process.wait(INTERRUPT_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)
        process.stdout.close()  # type: ignore[union-attr]

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._rest = b""
            # A session of its own: Ctrl-C reaches the parent alone, which then tells the workers in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.launch.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=dict(self._env),
                start_new_session=True,
            )
        return self._process

    def _next(self) -> dict[str, Any]:
        """The worker's next event. Raises Died, or Hung after the watchdog's time without one."""
        process = self._process
        assert process is not None and process.stdout is not None
        deadline = time.monotonic() + self._watchdog if self._watchdog else None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and (left <= 0 or not selector.select(left)):
                    self._stop_hanging(process)
                    raise Hung(f"no progress for {self._watchdog:g} s; `bench logs` shows where it was")
                chunk = os.read(process.stdout.fileno(), 65536)
                if not chunk:
                    raise Died(self._obituary())
                self._rest += chunk
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def _stop_hanging(self, process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGUSR1)
        time.sleep(0.5)
        _kill(process)

    def _obituary(self) -> str:
        assert self._process is not None
        code = self._process.wait()
        if code >= 0:
            return f"the worker process ended with exit code {code}"
        hint = " (the kernel does that when memory runs out)" if code == -signal.SIGKILL else ""
        return f"the worker process was killed by {signal.Signals(-code).name}{hint}"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # with the cell's own children
    process.wait()


class Pool:
    """Slots that take cells from one queue until it is empty or the run is interrupted."""

    def __init__(self, todo: Sequence[Work], job: Job, show: Display, jobs: int, watchdog: float):
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        for work in todo:
            self._queue.put(work)
        self._job, self._show = job, show
        slots = max(1, min(jobs, len(todo)))
        self.slots = [Slot(environment(i, job.on_cpu), watchdog) for i in range(slots)]
        self.results: list[Result] = []
        self.stopped = threading.Event()
        self.crashed: list[BaseException] = []

    def serve(self, slot: Slot) -> None:
        """Run cells in one slot; called in a thread of its own."""
        try:
            while not self.stopped.is_set():
                try:
                    work = self._queue.get_nowait()
                except queue.Empty:
                    break
                result = self._cell(slot, work)
                if result is not None:
                    self._show.end(work.cell.id, result.outcome, result.message)
                    self.results.append(result)
        # An error of the launcher itself belongs to the thread that asked for the run, which raises it.
        except BaseException as error:
            self.crashed.append(error)
            self.stopped.set()
        finally:
            slot.close()

    def _cell(self, slot: Slot, work: Work) -> Result | None:
        self._show.start(work.cell.id, str(work.cell))
        for attempt in range(1, TRIES + 1):
            try:
                outcome, message = slot.run(work, self._job, self._show)
            except Hung as error:
                return record_failure(work.cell, self._job, "lost", error)
            except Died as error:
                if self.stopped.is_set():
                    return None
                if attempt == TRIES:
                    return record_failure(work.cell, self._job, "lost", error)
            else:
                return Result(work.cell, outcome, message, self._job.store.get(work.cell.key()))
        return None


def run(todo: Sequence[Work], job: Job, show: Display, jobs: int = 1, watchdog: float = 1800.0) -> list[Result]:
    """Run the cells in `jobs` processes. Ctrl-C stops the workers, checkpoints kept, and is raised again."""
    pool = Pool(todo, job, show, jobs, watchdog)
    threads = [threading.Thread(target=pool.serve, args=(slot,), daemon=True) for slot in pool.slots]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # a join without limit would keep Ctrl-C waiting
    except KeyboardInterrupt:
        pool.stopped.set()
        for slot in pool.slots:
            slot.interrupt()
        for thread in threads:
            thread.join(INTERRUPT_SECONDS + 5)
        raise
    if pool.crashed:
        raise pool.crashed[0]
    order = {work.cell: i for i, work in enumerate(todo)}
    return sorted(pool.results, key=lambda result: order[result.cell])
