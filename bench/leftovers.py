"""What killed processes and finished cells have left on disk: found, named by `bench doctor`, removed by its `--clean`.

Nothing is called a leftover that a living process may still need, here or on another machine of a shared file system.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import standins as data
from bench.launch import claim
from bench.launch.status import CELL_ID, filesystem_now
from bench.records.record import Record
from bench.records.store import Store

READ = ("task", "method", "backbone", "seed", "id", "status")
"""What `find` needs of each record."""


@dataclass(frozen=True)
class Leftovers:
    """What lies below a results folder and a data folder without anybody at work on it."""

    superfluous: tuple[Path, ...] = ()
    """Work folders of cells that are done, halves of files, stand-ins half made: can be removed."""
    failed: tuple[Path, ...] = ()
    """Work folders of cells whose record says that they failed: a retry goes on from them."""
    begun: tuple[Path, ...] = ()
    """Work folders of cells that were interrupted: the next run goes on from them."""


def find(store: Store, records: Iterable[Record], data_dir: Path) -> Leftovers:
    """Look for leftovers; changes nothing."""
    by_id = {record["id"]: record for record in records}
    superfluous: list[Path] = []
    failed: list[Path] = []
    begun: list[Path] = []
    for folder in sorted((store.folder / "work").glob("*")):
        if not CELL_ID.fullmatch(folder.name) or _held(folder):
            continue
        record = by_id.get(folder.name)
        if record is None or _newer(folder / "cell.json", store.path(record)):
            begun.append(folder)
        else:
            (superfluous if record["status"] == "done" else failed).append(folder)
    superfluous += [path for path in store.folder.glob(".*.tmp") if _half_written(path, store.folder)]
    return Leftovers((*superfluous, *data.abandoned(data_dir)), tuple(failed), tuple(begun))


def clean(found: Leftovers) -> list[Path]:
    """Remove what is superfluous; what was removed."""
    for path in found.superfluous:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return list(found.superfluous)


def _newer(path: Path, than: Path) -> bool:
    """Whether an attempt began after the record was written, in order to replace it."""
    try:
        return path.stat().st_mtime_ns > than.stat().st_mtime_ns
    except FileNotFoundError:
        return False


def _held(folder: Path) -> bool:
    _, owner = claim.holder(folder)
    return owner is not None and claim.alive_here(owner) is not False


def _half_written(path: Path, folder: Path) -> bool:
    """A temporary file that nobody writes any more: no such process here, and none elsewhere takes so long for one."""
    pid = re.search(r"\.(\d+)\.tmp$", path.name)
    if pid is None or Path(f"/proc/{pid[1]}").exists():
        return False
    return filesystem_now(folder) - path.stat().st_mtime > claim.STALE_SECONDS
