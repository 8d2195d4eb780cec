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
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (subprocess.SubprocessError, OSError):
        return None
    return parse(done.stdout)


def max_array_size() -> int:
    """The most elements that an array may have here (indices from 0); 1001, Slurm's default, if it does not say."""
    try:
        done = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, timeout=60, check=True)
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
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        problems = [line for line in done.stderr.splitlines() if not _ENDED.search(line)]
        if done.returncode and problems:
            raise SetupError(f"not all jobs were cancelled: {problems[0]} (`bench status` says what still runs)")
