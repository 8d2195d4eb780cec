"""Cancel cells that wait or run on Slurm, by the manifests: only checked job ids reach scancel, nothing a shell."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from bench.launch.slurm import manifest, queue
from bench.plan import Cell
from bench.records.store import Store


@dataclass(frozen=True)
class Cancelled:
    """What was cancelled, and what could not be without taking other cells along."""

    jobs: tuple[str, ...]
    cells: tuple[Cell, ...]
    shared: tuple[Cell, ...]
    """Chosen cells in jobs that also hold cells which were not chosen and have not ended."""


def cancel(store: Store, chosen: Collection[Cell] | None = None) -> Cancelled:
    """Cancel the jobs of these cells, or of all that this store's manifests know. Records are never touched."""
    entries = queue.squeue() or {}
    wanted = None if chosen is None else {cell.id for cell in chosen}
    jobs: list[str] = []
    gone: list[Cell] = []
    shared: list[Cell] = []
    cancelled: list[tuple[manifest.Manifest, list[str]]] = []
    for written in manifest.load_all(store):
        works, mine = written.works(), []
        for job, ids, _ in written.jobs(entries):
            if job not in entries or not entries[job].active:
                continue
            open_ = [i for i in ids if not works[i].answered(store.get(works[i].cell.key()))]
            hit = [i for i in open_ if wanted is None or i in wanted]
            if not hit:
                continue
            if len(hit) < len(open_):
                shared += [works[i].cell for i in hit]
                continue
            jobs.append(job)
            mine += hit
        if mine:
            cancelled.append((written, mine))
            gone += [works[i].cell for i in mine]
    queue.scancel(jobs)
    for written, mine in cancelled:
        written.plain["cancelled"] = sorted({*written.plain["cancelled"], *mine})
        written.save()
    return Cancelled(tuple(jobs), tuple(gone), tuple(shared))
