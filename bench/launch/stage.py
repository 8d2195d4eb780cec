"""Copies of a cell's data files on this node's own disk, once per node, removed by the last process that used them.

The copies lie in a mirror of the data folder in which everything else is a link to where it was, so that readers, marks,
caches and source data find what they always find, and the fingerprint, being one of names and content, is the same.
"""

from __future__ import annotations

import atexit
import fcntl
import functools
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from bench import plan, registry
from bench import standins as data
from bench.faults import warn
from bench.plan import Cell, Places
from tasks.files.locate import locate

OWN_DISK = "auto"
"""Stands for `$SLURM_TMPDIR`, or the folder for temporary files."""


def staged(cell: Cell, places: Places, folder: str) -> Places:
    """The places of a cell with its data files copied below `folder`; as they were, with a warning, where that fails."""
    if folder == OWN_DISK:
        folder = os.environ.get("SLURM_TMPDIR") or tempfile.gettempdir()
    try:
        return replace(places, data_dir=_copied(cell, places.data_dir, Path(folder) / f"bench-{os.getuid()}"))
    except OSError as error:
        warn(f"data not staged, read from {places.data_dir}: {error}")
        return places


def _copied(cell: Cell, data_dir: Path, base: Path) -> Path:
    task, samples = registry.tasks()[cell.task], plan.resolve(cell).data.samples
    if cell.origin == "generated" and not data.standin_here(task, data_dir, cell.profile, samples):
        return data_dir  # the cell makes it, in its place
    root = data.root_of(task, data_dir, cell.origin, cell.profile, samples)
    chosen = {path for file in task.files if (path := locate(root, file)) is not None}
    files = sorted(file for path in chosen for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    if base.stat().st_uid != os.getuid() or stat.S_IMODE(base.stat().st_mode) & 0o022:
        raise PermissionError(f"{base} can be changed by others")
    seen = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    mirror = base / hashlib.sha256(repr((str(data_dir), seen)).encode()).hexdigest()[:16]
    if not mirror.exists() and shutil.disk_usage(base).free < sum(size for _, size, _ in seen):
        raise OSError(f"no room in {base}")
    _hold(mirror)
    mirror.mkdir(exist_ok=True)
    with (mirror / ".copying").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process copies, the others wait for it
        _mirror(data_dir, mirror, chosen)
    return mirror


def _mirror(source: Path, target: Path, chosen: Collection[Path]) -> None:
    """Make `target` look like `source`: the `chosen` are copies, the rest links. Whatever is there already stays."""
    target.mkdir(exist_ok=True)
    for entry in source.iterdir():
        there = target / entry.name
        if any(entry in path.parents for path in chosen):
            _mirror(entry, there, chosen)
        elif not there.exists():
            temporary = target / f".{entry.name}.{os.getpid()}.tmp"
            if entry not in chosen:
                temporary.symlink_to(entry)
            elif entry.is_dir():
                shutil.copytree(entry, temporary)
            else:
                shutil.copy2(entry, temporary)
            _put(temporary, there)


def _put(temporary: Path, there: Path) -> None:
    """Give a whole copy its name, unless another process was faster."""
    try:
        temporary.rename(there)
    except OSError:
        if not there.exists():
            raise
        shutil.rmtree(temporary)


@functools.cache  # a lock lasts as long as the process, and one is enough
def _hold(mirror: Path) -> None:
    """Share the lock of a mirror until this process ends; whoever is the last to end removes the mirror."""
    lock = mirror.with_suffix(".lock")
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(handle, fcntl.LOCK_SH)
        if lock.exists() and lock.stat().st_ino == os.fstat(handle).st_ino:
            break
        os.close(handle)  # its last user has just removed it

    def leave() -> None:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody else reads from it
        shutil.rmtree(mirror, ignore_errors=True)
        lock.unlink(missing_ok=True)

    atexit.register(leave)
