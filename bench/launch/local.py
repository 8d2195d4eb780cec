"""Cells in N worker processes of this machine, one GPU each if there are."""

from __future__ import annotations

import functools
import os
import queue
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from bench import faults
from bench.beside import same_code
from bench.errors import SetupError
from bench.launch.display import Display
from bench.launch.watched import Worker
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


def environment(slot: int, device: str = "auto") -> dict[str, str]:
    """What the worker in a slot gets: this process's code, and the GPUs that it may see.

    None for `cpu`, the slot's own where the `device` has no number, and all where it has: they keep their numbers.
    """
    env = {**os.environ, **same_code()}
    if device == "cpu":
        env["CUDA_VISIBLE_DEVICES"] = ""
    elif ":" not in device and (gpus := gpus_here()):
        env["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return env


def warn_of_shared_cards(slots: int, device: str) -> None:
    """Say where more processes than cards are to run: they would share the memory of a card, which may not do for two."""
    cards = 0 if device == "cpu" else 1 if ":" in device else len(gpus_here())
    if 0 < cards < slots:
        where = f"on {device}" if ":" in device else f"on {cards} GPU{'s' * (cards > 1)}"
        faults.warn(
            f"-j {slots} {where}: cells share a card and its memory, and may run out of it; -j {cards} shares none"
        )


def run(todo: Sequence[Work], job: Job, show: Display, jobs: int = 1, watchdog: float = 1800.0) -> list[Result]:
    """Run the cells in `jobs` processes. Ctrl-C stops the workers, checkpoints kept, and is raised again."""
    slots = max(1, min(jobs, len(todo)))
    warn_of_shared_cards(slots, job.device)
    workers = [Worker(environment(slot, job.device), watchdog) for slot in range(slots)]
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def serve(work: Work) -> Result | None:
        worker = idle.get()  # there is one: as many threads as workers
        try:
            show.start(work.cell.id, str(work.cell))
            result = worker.run(work, job, functools.partial(show.update, work.cell.id))
            if result is not None:
                show.end(work.cell.id, result.outcome, result.message)
            return result
        finally:
            idle.put(worker)

    with ThreadPoolExecutor(slots) as pool:
        cells = [pool.submit(serve, work) for work in todo]
        try:
            wait(cells, return_when=FIRST_EXCEPTION)  # one of the launcher's own: a cell's is its result
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in workers:
                worker.interrupt()
            raise
        finally:
            pool.shutdown(cancel_futures=True)
            for worker in workers:
                worker.close()
    return [result for cell in cells if (result := cell.result()) is not None]
