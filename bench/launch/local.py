"""Cells in N worker processes of this machine, one GPU each if there are."""

from __future__ import annotations

import functools
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Sequence

from bench.beside import same_code
from bench.errors import SetupError
from bench.launch.display import Display
from bench.launch.watched import INTERRUPT_SECONDS, Worker
from bench.launch.work import Job, Result, Work

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


class Pool:
    """Workers that take cells from one queue until it is empty or the run is interrupted."""

    def __init__(self, todo: Sequence[Work], job: Job, show: Display, jobs: int, watchdog: float):
        self._queue: queue.SimpleQueue[Work] = queue.SimpleQueue()
        for work in todo:
            self._queue.put(work)
        self._job, self._show = job, show
        slots = max(1, min(jobs, len(todo)))
        self.workers = [Worker(environment(i, job.on_cpu), watchdog) for i in range(slots)]
        self.results: list[Result] = []
        self.stopped = threading.Event()
        self.crashed: list[BaseException] = []

    def serve(self, worker: Worker) -> None:
        """Run cells in one worker; called in a thread of its own."""
        try:
            while not self.stopped.is_set():
                try:
                    work = self._queue.get_nowait()
                except queue.Empty:
                    break
                self._show.start(work.cell.id, str(work.cell))
                result = worker.run(work, self._job, functools.partial(self._show.update, work.cell.id))
                if result is not None:
                    self._show.end(work.cell.id, result.outcome, result.message)
                    self.results.append(result)
        # An error of the launcher itself belongs to the thread that asked for the run, which raises it.
        except BaseException as error:
            self.crashed.append(error)
            self.stopped.set()
        finally:
            worker.close()


def run(todo: Sequence[Work], job: Job, show: Display, jobs: int = 1, watchdog: float = 1800.0) -> list[Result]:
    """Run the cells in `jobs` processes. Ctrl-C stops the workers, checkpoints kept, and is raised again."""
    pool = Pool(todo, job, show, jobs, watchdog)
    threads = [threading.Thread(target=pool.serve, args=(worker,), daemon=True) for worker in pool.workers]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # a join without limit would keep Ctrl-C waiting
    except KeyboardInterrupt:
        pool.stopped.set()
        for worker in pool.workers:
            worker.interrupt()
        for thread in threads:
            thread.join(INTERRUPT_SECONDS + 5)
        raise
    if pool.crashed:
        raise pool.crashed[0]
    order = {work.cell: i for i, work in enumerate(todo)}
    return sorted(pool.results, key=lambda result: order[result.cell])
