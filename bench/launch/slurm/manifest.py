"""What was submitted: one JSON file per `bench run --executor slurm`, written before the first sbatch call.

The job ids of an array are added right after its sbatch call. Where the submitter died in between, the array is found
again by its job name, which has the manifest's own id in it.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.launch.slurm.array import Array
from bench.launch.slurm.queue import JOB_ID, Entry
from bench.launch.work import Job, Work
from bench.plan import Cell
from bench.records.store import Store, to_json
from tasks.files.atomic import write_atomically
from tasks.files.regular import LIST, read_file

NAME = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}\.json")


@dataclass
class Manifest:
    """A submission on disk; `plain` is the file's content."""

    path: Path
    plain: dict[str, Any]

    @property
    def uid(self) -> str:
        """Eight hex digits, in the file's name and in every job's name."""
        return self.plain["uid"]

    def save(self) -> None:
        """Write the file, atomically."""
        write_atomically(self.path, to_json(self.plain))

    def job_name(self, array: int) -> str:
        """Slurm's name of the array's jobs."""
        return f"bench-{self.uid}-{array}"

    def folder(self, array: int) -> Path:
        """Where submitit keeps the job files of an array."""
        return self.path.parent.parent / "jobs" / self.uid / str(array)

    def log(self, array: int, job: str) -> Path:
        """What an element printed outside of its cells: the job script, srun, and a process that died."""
        return self.folder(array) / f"{job}_0_log.out"

    def submitted(self, array: int, jobs: list[str]) -> None:
        """Keep the job ids of an array's elements."""
        self.plain["arrays"][array]["jobs"] = jobs
        self.save()

    def refused(self, array: int, reason: str) -> None:
        """Keep why this array and those after it were never submitted."""
        for late in self.plain["arrays"][array:]:
            late["refused"] = reason
        self.save()

    def works(self) -> dict[str, Work]:
        """What was submitted, by the ids of the cells."""
        before = self.plain["before"]
        return {key: Work(Cell.from_dict(plain), before[key]) for key, plain in self.plain["cells"].items()}

    def jobs(self, queue: Mapping[str, Entry] | None = None) -> Iterator[tuple[str, list[str], int]]:
        """(job id or "", ids of its cells, array) for each element; job ids never written are sought in the queue."""
        for index, array in enumerate(self.plain["arrays"]):
            known = array["jobs"] or self._sought(index, len(array["elements"]), queue or {})
            for job, cells in zip(known, array["elements"], strict=True):
                yield job, cells, index

    def _sought(self, array: int, count: int, queue: Mapping[str, Entry]) -> list[str]:
        found = [""] * count
        for job, entry in queue.items():
            if entry.name == self.job_name(array):
                found[int(job.partition("_")[2] or 0)] = job
        return found


def new(plan: Sequence[Array], job: Job, git: Mapping[str, Any]) -> Manifest:
    """A manifest of arrays that are about to be submitted, already on disk."""
    uid = secrets.token_hex(4)
    now = datetime.now(UTC)
    path = job.store.work("manifests") / f"{now:%Y%m%dT%H%M%S}-{uid}.json"
    works = [work for array in plan for element in array.elements for work in element]
    cells = {work.cell.id: work.cell.to_dict() for work in works}
    arrays = [
        {
            "needs": asdict(array.needs),
            "minutes": array.minutes,
            "parallelism": array.parallelism,
            "elements": [[work.cell.id for work in element] for element in array.elements],
            "jobs": None,
        }
        for array in plan
    ]
    manifest = Manifest(
        path,
        {
            "schema": 1,
            "uid": uid,
            "created": now.isoformat(timespec="seconds"),
            "command": job.command,
            "host": socket.gethostname(),
            "git": dict(git),
            "shared": asdict(job),
            "arrays": arrays,
            "cells": cells,
            "before": {work.cell.id: work.before for work in works},
            "cancelled": [],
        },
    )
    manifest.save()
    return manifest


def load_all(store: Store) -> list[Manifest]:
    """Every manifest of a store, oldest first. One that cannot be read is left out: `bench doctor` names it."""
    readable, _ = scan(store)
    return readable


def scan(store: Store) -> tuple[list[Manifest], list[tuple[Path, str]]]:
    """All manifests of a store, oldest first, and the files that are none, each with the reason."""
    folder = store.work("manifests")
    good: list[Manifest] = []
    bad: list[tuple[Path, str]] = []
    for path in sorted(folder.glob("*.json")):
        try:
            good.append(_read(path))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            bad.append((path, f"not a manifest of this version: {type(error).__name__}: {error}"))
    return good, bad


def _read(path: Path) -> Manifest:
    """A manifest whose ids have been looked at: they become paths and arguments later."""
    if not NAME.fullmatch(path.name):
        raise ValueError("is not called like one")
    manifest = Manifest(path, json.loads(read_file(path, LIST)))
    if manifest.plain["schema"] != 1 or manifest.uid != path.stem.rpartition("-")[2]:
        raise ValueError("its schema or id does not fit")
    for array in manifest.plain["arrays"]:
        for job in array["jobs"] or []:
            if not JOB_ID.fullmatch(job):
                raise ValueError(f"{job!r} is no job id")
        if array["jobs"] is not None and len(array["jobs"]) != len(array["elements"]):
            raise ValueError("another number of jobs than of elements")
    for cell_id, work in manifest.works().items():
        if work.cell.id != cell_id:
            raise ValueError(f"{cell_id!r} is not the id of its cell")
    return manifest
