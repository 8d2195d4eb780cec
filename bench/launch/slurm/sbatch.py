"""One sbatch call through submitit: its parameters, its environment, and the folder of its job files."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bench import machine
from bench.beside import same_code
from bench.errors import SetupError, UsageError
from bench.launch.slurm.array import Array
from bench.launch.slurm.element import CellJob
from bench.launch.slurm.queue import environment

SBATCH_SECONDS = 300.0

REPLACES = {
    "mem-per-cpu": "mem",
    "mem-per-gpu": "mem",
    "gres": "gpus_per_node",
    "gpus": "gpus_per_node",
    "gpus-per-task": "gpus_per_node",
}
"""Parameters of a site's `sbatch` table, and the one of ours that sbatch does not take beside it."""


def parameters(array: Array, name: str) -> dict[str, Any]:
    """submitit's parameters for one array."""
    own, threads = array.own, array.needs.cpus
    chosen = {
        "job_name": name,
        "time": array.minutes,
        "mem": f"{array.needs.memory_gb}GB",
        "cpus_per_task": threads,
        "nodes": 1,
        "ntasks_per_node": 1,
        "gpus_per_node": array.needs.gpus or None,
        "signal_delay_s": own.signal_delay_s,
        "array_parallelism": array.parallelism,
        "stderr_to_stdout": True,
        # Since 22.05 srun does not take the job's number of CPUs by itself.
        "srun_args": [f"--cpus-per-task={threads}", *own.srun_args],
        "setup": [_exports(), *own.setup],
        # Whatever the site's default: the job gets this environment, and a failed node puts it back into the queue.
        "additional_parameters": {"requeue": True, "export": "ALL", **own.sbatch},
        **own.names(),
    }
    replaced = {REPLACES[key] for key in own.sbatch if key in REPLACES}
    return {key: value for key, value in chosen.items() if value is not None and key not in replaced}


def _exports() -> str:
    """The line of the job script that gives the job the threads of every cell, this process's code, and no network."""
    # A node never downloads: what is not there by now is an error, told at once instead of after a network timeout.
    values = {
        "OMP_NUM_THREADS": str(machine.threads()),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        **same_code(),
    }
    return " ".join(["export", *(f"{name}={shlex.quote(value)}" for name, value in values.items())])


class Unanswered(SetupError):
    """sbatch did not answer: nobody knows whether it took the jobs."""


def submit_array(callables: Sequence[CellJob], folder: Path, chosen: Mapping[str, Any], requeues: int) -> list[str]:
    """One sbatch call; the job ids of the elements. SetupError with what sbatch says, if it refuses."""
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    try:
        executor = submitit.SlurmExecutor(folder, max_num_timeout=requeues)
        executor.update_parameters(**chosen)
    except (ValueError, NameError, TypeError, AssertionError) as error:
        raise UsageError(
            f"this version of submitit ({submitit.__version__}) does not take our parameters: {error}"
        ) from None
    try:
        with _outside_of_any_job(), _patience(SBATCH_SECONDS):
            return [str(job.job_id) for job in executor.submit_array(callables)]
    except (FailedJobError, FailedSubmissionError, TimeoutError) as error:
        if isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
            raise Unanswered(
                f"sbatch has not answered within {SBATCH_SECONDS:g} s. Whether it took the jobs, `bench status` says when "
                "Slurm answers again; then run the same command again for the rest"
            ) from None
        for loose in folder.glob("*.pkl"):
            loose.unlink(missing_ok=True)
        raise SetupError(
            f"sbatch refused: {str(error).strip()}. Arrays submitted before go on (`bench status`); correct the "
            "options or the Slurm profile and run the same command again for the rest"
        ) from None


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """Raise TimeoutError when the block takes longer; submitit, which has no limit of its own, then kills its sbatch."""

    def over(*_: Any) -> NoReturn:
        raise TimeoutError

    if threading.current_thread() is not threading.main_thread():
        yield  # signals reach the main thread alone
        return
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _outside_of_any_job() -> Iterator[None]:
    """submitit hands this process's environment on to sbatch; an allocation around it must not shape the new job."""
    hidden = {name: os.environ.pop(name) for name in set(os.environ) - set(environment())}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextlib.contextmanager
def private_folder(folder: Path) -> Iterator[int]:
    """Make a folder that only its owner can read or change, and files in it likewise; yields the umask as it was."""
    before = os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in (folder, folder.parent, folder.parent.parent):
            info = path.stat()
            if info.st_uid != os.getuid() or stat.S_IMODE(info.st_mode) & 0o022:
                raise SetupError(
                    f"{path} can be changed by others than you: job files there are run as you. Choose "
                    f"another --results-dir, or `chmod go-w` it"
                )
        yield before
    finally:
        os.umask(before)
