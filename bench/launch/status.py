"""Where every cell is: manifests, records, claims and the queue joined. Needs neither Slurm nor the submitter."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench import cost
from bench.launch import claim, progress
from bench.launch.slurm import manifest, queue
from bench.launch.work import Work
from bench.plan import Cell, cell_of
from bench.records.record import Record
from bench.records.store import Problem, Store
from tasks.files.regular import NOTE, read_file

READ = (
    *("id", "task", "method", "backbone", "seed", "profile", "protocol", "origin", "overrides", "search"),
    *("status", "error", "host", "end"),
)
"""Keys of a record that tell where its cell is."""
CELL_ID = re.compile(r"[0-9a-f]{16}")

ORDER = ("running", "pending", "lost", "failed", "diverged", "out_of_memory", "timeout", "missing", "done")


@dataclass(frozen=True)
class Row:
    """One cell and what is known of it."""

    cell: Cell
    status: str
    """A record's status, or `running`, `pending`, `lost` (was started, and nobody knows of it), `missing`."""
    detail: str = ""
    job: str = ""
    where: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)
    expected: float | None = None
    """Seconds that the whole cell is expected to take, if that is known."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as `bench status --json` prints it."""
        left = progress.time_left(self.progress, self.expected)
        return {
            **self.cell.key(),
            "status": self.status,
            "detail": self.detail,
            "job": self.job,
            "where": self.where,
            "progress": dict(self.progress),
            "seconds_left": left,
        }


@dataclass(frozen=True)
class Placed:
    """A cell's place in the newest submission that has it."""

    job: str
    work: Work
    entry: queue.Entry | None
    cancelled: bool
    refused: str
    """Why sbatch did not take it, or empty."""
    log: Path
    """What its job printed, if it came to that."""


def rows(store: Store, cells: Iterable[Cell] | None = None, aside: list[Problem] | None = None) -> list[Row]:
    """The state of these cells, or of all that the store, its manifests or its work folders know.

    Files that should be records and cannot be read join `aside`.
    """
    entries = queue.squeue()
    known, placed = _placed(store, entries)
    found, problems = store.scan(READ)
    records = {record["id"]: record for record in found}
    if aside is not None:
        aside += problems
    if cells is None:
        for record in records.values():
            known.setdefault(record["id"], cell_of(record))
        known.update({cell.id: cell for cell in _at_work(store) if cell.id not in known})
        chosen: Iterable[Cell] = known.values()
    else:
        chosen = cells
    now = filesystem_now(store.folder)
    out = [_row(store, cell, records.get(cell.id), placed.get(cell.id), now) for cell in chosen]
    running = [row.cell for row in out if row.status == "running"]
    costs = cost.of_plan(running, store).by_cell if running else {}
    return sorted((_timed(row, costs.get(row.cell.id)) for row in out), key=lambda row: ORDER.index(row.status))


def _placed(store: Store, entries: Mapping[str, queue.Entry] | None) -> tuple[dict[str, Cell], dict[str, Placed]]:
    cells: dict[str, Cell] = {}
    placed: dict[str, Placed] = {}
    for written in manifest.load_all(store):
        works = written.works()
        cells.update((key, work.cell) for key, work in works.items())
        cancelled = set(written.plain["cancelled"])
        for job, ids, index in written.jobs(entries):
            refused = written.plain["arrays"][index].get("refused", "")
            for cell_id in ids:
                gone = cell_id in cancelled
                entry = (entries or {}).get(job)
                if entries is None and job and not gone:
                    # A controller that is silent for a while, or a machine without Slurm: no reason to call it lost.
                    entry = queue.Entry(job, "PENDING", "", "", "was submitted; squeue does not answer here")
                placed[cell_id] = Placed(job, works[cell_id], entry, gone, refused, written.log(index, job))
    return cells, placed


def _at_work(store: Store) -> list[Cell]:
    """Cells with a work folder: running, interrupted or abandoned ones."""
    out = []
    for folder in sorted((store.folder / "work").glob("*/cell.json")):
        if not CELL_ID.fullmatch(folder.parent.name):
            continue
        try:
            cell = Cell.from_dict(json.loads(read_file(folder, NOTE))["cell"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # just being removed, or of another version: it says nothing about a cell
        if cell.id == folder.parent.name:
            out.append(cell)
    return out


def _row(store: Store, cell: Cell, record: Record | None, place: Placed | None, now: float) -> Row:
    folder = store.work(cell.id)
    number, owner = claim.holder(folder)
    job = place.job if place else ""
    if number:
        said = progress.read(folder)
        if _lives(owner, folder / f"claim.{number}", now):
            where = f"{owner.host} pid {owner.pid}" if owner else ""
            return Row(cell, "running", "starting", job, where, said)
        if record is None and not (place and place.entry and place.entry.active):
            here = owner is not None and claim.alive_here(owner) is False
            fate = "is gone" if here else f"has been silent for more than {claim.STALE_SECONDS:.0f} s"
            detail = f"its process {fate} ({owner}); {_reason(place)}the next run resumes it"
            return Row(cell, "lost", detail, job, "", said)
    if place and place.entry and place.entry.active and not place.work.answered(record):
        entry = place.entry
        if entry.waits:
            return Row(cell, "pending", "just submitted" if entry.reason == "None" else entry.reason, job)
        return Row(cell, "pending", f"in running job {job}, not begun", job, entry.node)
    if record is not None:
        error = record["error"] or {}
        return Row(cell, record["status"], str(error.get("message", "")).split("\n")[0], job, record["host"])
    if place and place.cancelled:
        return Row(cell, "missing", "cancelled", job)
    if place and not place.job:
        return Row(cell, "missing", place.refused or "its submission did not finish; run it again")
    if place:
        state = f"Slurm says {place.entry.state.lower()}" if place.entry else "not in the queue"
        return Row(cell, "lost", f"was submitted, {state}, left no record; {_reason(place)}run it again", job)
    return Row(cell, "missing", "interrupted, resumes" if folder.is_dir() else "not begun")


def _reason(place: Placed | None) -> str:
    """Where the job that died may have said why."""
    return f"see {place.log}; " if place and place.log.is_file() else ""


def _timed(row: Row, expected: float | None) -> Row:
    """The row with what its cell says of itself in words, the time left among them."""
    if row.status != "running" or not row.progress:
        return row
    return replace(row, expected=expected, detail=progress.describe(row.progress, expected))


def _lives(owner: claim.Owner | None, path: Path, now: float) -> bool:
    """Whether a claim's holder seems alive, from one look: its process if it is here, else the age of its last beat."""
    alive = claim.alive_here(owner) if owner else None
    if alive is not None:
        return alive
    try:
        # A beat from the future was written before the clock was put back: a living holder corrects it within seconds.
        return abs(now - path.stat().st_mtime) < claim.STALE_SECONDS
    except FileNotFoundError:
        return False


def filesystem_now(folder: Path) -> float:
    """The time by the clock that stamps files there, which need not be this machine's."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".now.") as probe:
            return os.fstat(probe.fileno()).st_mtime
    except OSError:
        return time.time()  # a store that can only be read: the nearest clock there is
