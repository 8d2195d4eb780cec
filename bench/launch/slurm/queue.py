"""What Slurm says of jobs: `squeue` read into a mapping. Nothing here needs accounting (`sacct`)."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from bench.errors import SetupError

FORMAT = "%i|%T|%N|%j|%r"
"""Job id, state, node, name, reason; the reason comes last, for it is free text."""

ACTIVE = (
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "COMPLETING",
    "SUSPENDED",
    "REQUEUED",
    "REQUEUE_HOLD",
    "RESIZING",
    "STOPPED",
)
OF_SLURM = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_", "SQUEUE_", "SCANCEL_", "SCONTROL_", "SUBMITIT_", "PMI_", "PMIX_")
OF_A_JOB = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL")
KEPT = ("SLURM_CONF", "SLURM_JWT", "SBATCH_ACCOUNT", "SBATCH_PARTITION", "SBATCH_QOS", "SBATCH_RESERVATION")
"""Which cluster, as whom, and the places that a user's own start-up file names: no allocation sets these."""
ANSWER_SECONDS = 120.0
JOB_ID = re.compile(r"\d{1,12}(_\d{1,9})?")
_ENDED = re.compile("already complet|Invalid job id")
"""What scancel answers to a job that has ended since it was seen: just what was wanted."""


@dataclass(frozen=True)
class Entry:
    """One job, or one element of an array."""

    job: str
    state: str
    node: str
    name: str
    reason: str

    @property
    def active(self) -> bool:
        """Whether the job waits or runs. Ended jobs stay in the queue for a while (MinJobAge)."""
        return self.state in ACTIVE

    @property
    def waits(self) -> bool:
        """Whether it has not started (again) yet."""
        return self.state in ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD")


def environment() -> dict[str, str]:
    """This process's environment for Slurm's commands: without what an allocation around it, or a habit, tells them.

    Inside of `salloc` or `srun`, sbatch would take over its CPUs, memory and binding; squeue hides jobs by variables.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name in KEPT or not (name.startswith(OF_SLURM) or name in OF_A_JOB)
    }


def parse(text: str) -> dict[str, Entry]:
    """Entries by job id from the output of `squeue -h -r -o FORMAT`; lines of another shape are none of ours."""
    out = {}
    for line in text.splitlines():
        parts = line.split("|", 4)
        if len(parts) == 5 and JOB_ID.fullmatch(parts[0]):
            out[parts[0]] = Entry(*parts)
    return out


def squeue() -> dict[str, Entry] | None:
    """This user's jobs, ended ones included; None where there is no Slurm or it does not answer."""
    if shutil.which("squeue") is None:
        return None
    command = ["squeue", "-h", "-t", "all", "-r", "-u", str(os.getuid()), "-o", FORMAT]
    try:
        done = _call(command, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return parse(done.stdout)


def _call(command: Sequence[str], check: bool) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=ANSWER_SECONDS, check=check
    )


def max_array_size() -> int:
    """The most elements that an array may have here (indices from 0); 1001, Slurm's default, if it does not say."""
    try:
        done = _call(["scontrol", "show", "config"], check=True)
    except (subprocess.SubprocessError, OSError):
        return 1001
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE)
    return max(1, int(found[1])) if found else 1001


def scancel(jobs: Sequence[str]) -> None:
    """Cancel jobs by id, some hundred per call. ValueError for what is no job id, before anything is cancelled.

    SetupError with what scancel says, if a job could not be cancelled.
    """
    for job in jobs:
        if not JOB_ID.fullmatch(job):
            raise ValueError(f"{job!r} is no job id")
    for start in range(0, len(jobs), 400):
        command = ["scancel", *jobs[start : start + 400]]
        try:
            done = _call(command, check=False)
        except subprocess.TimeoutExpired:
            raise SetupError("scancel does not answer; `bench status` says what still runs") from None
        problems = [line for line in done.stderr.splitlines() if not _ENDED.search(line)]
        if done.returncode and problems:
            raise SetupError(f"not all jobs were cancelled: {problems[0]} (`bench status` says what still runs)")
