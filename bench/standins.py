"""Which data a cell reads: official files if they are here, else a stand-in generated in the same layout.

Official files lie below the data folder (`--data-dir`, `$BENCH_DATA`, or `data/`); stand-ins below its folder
`generated/<profile>/`, so that the two can never be mixed. Imports nothing heavy.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import SetupError
from tasks import source
from tasks.contract import Task
from tasks.files.atomic import write_quickly
from tasks.files.generated import read_mark
from tasks.files.locate import locate
from tasks.files.regular import NOTE, read_linked

ROOM = 64 << 20
"""Bytes that must be free before a stand-in is made: more than a quick one takes."""


def default_dir() -> Path:
    """`$BENCH_DATA`, or `data`."""
    return Path(os.environ.get("BENCH_DATA") or "data").expanduser()


@contextlib.contextmanager
def as_default(folder: Path | None) -> Iterator[None]:
    """`$BENCH_DATA` says `folder`, if there is one: own data are tasks there, for this process and those that it starts."""
    before = os.environ.get("BENCH_DATA")
    if folder is not None:
        os.environ["BENCH_DATA"] = str(folder.absolute())
    try:
        yield
    finally:
        os.environ.pop("BENCH_DATA", None)
        if before is not None:
            os.environ["BENCH_DATA"] = before


def official_here(task: Task, data_dir: Path) -> bool:
    """Whether every official file of the task is below the data folder (by name; the reader looks at the content)."""
    return bool(task.files) and all(locate(data_dir, file) is not None for file in task.files)


def standin_root(data_dir: Path, profile: str, samples: int | None = None) -> Path:
    """Where the stand-ins of a profile lie; another number of samples has a folder of its own."""
    return data_dir / "generated" / (profile if samples is None else f"{profile}-{samples}")


def standin_here(task: Task, data_dir: Path, profile: str, samples: int | None = None) -> bool:
    """Whether a complete stand-in of the task is here, of this size and made by its generator as it is now."""
    root = standin_root(data_dir, profile, samples)
    mark = _done_mark(task, root)
    try:
        made = json.loads(read_linked(mark, NOTE))
    except (OSError, ValueError, RecursionError):
        return False  # none, or not whole: it is made again
    return made == _mark(task, profile, samples) and all(locate(root, file) is not None for file in task.files)


def origin_here(task: Task, data_dir: Path, official_only: bool = False) -> str:
    """`official` if the task's files are here, else `generated`, or a SetupError under `--official-only`."""
    if official_here(task, data_dir):
        paths = [locate(data_dir, file) for file in task.files]
        # A stand-in that somebody moved to the official place still says of itself what it is.
        if not any(read_mark(path) for path in paths if path is not None):
            return "official"
    if official_only or task.generate is None:
        missing = [file.path for file in task.files if locate(data_dir, file) is None]
        raise SetupError(
            f"task {task.name!r}: no official data in {data_dir} (missing: {', '.join(missing) or 'the files are stand-ins'}). "
            f"`python -m bench data fetch --tasks {task.name}` gets them or says how"
            + ("; without --official-only a stand-in is generated" if task.generate else "; it has no stand-in")
        )
    return "generated"


def root_of(task: Task, data_dir: Path, origin: str, profile: str, samples: int | None) -> Path:
    """The folder that a cell's reader is pointed at."""
    return data_dir if origin == "official" else standin_root(data_dir, profile, samples)


def generate(task: Task, data_dir: Path, profile: str, samples: int | None = None) -> bool:
    """Make the stand-in of a task unless it is there; whether anything was made.

    Written to a folder beside and moved into place, so that two processes and a kill leave a whole stand-in or none.
    """
    if task.generate is None:
        raise SetupError(f"task {task.name!r} has no stand-in: it runs on its real files only")
    root = standin_root(data_dir, profile, samples)
    if standin_here(task, data_dir, profile, samples):
        return False
    for left in abandoned(data_dir):
        shutil.rmtree(left, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(root.parent).free < ROOM:
        # Not left to the writers: HDF5 may take the whole process down when a disk is full.
        raise OSError(errno.ENOSPC, f"no room for a stand-in of {task.name} ({ROOM >> 20} MiB)", str(root))
    scratch = root.parent / f".{root.name}.{task.name}.{os.getpid()}@{socket.gethostname()}"
    scratch.mkdir(parents=True)
    try:
        mark = _mark(task, profile, samples)
        task.generate(scratch, **mark["size"])
        _move_into(scratch, root)
        _write_mark(task, root, mark)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return True


def abandoned(data_dir: Path) -> list[Path]:
    """Folders of stand-ins whose maker was killed on this machine; of other machines' processes nothing is known here."""
    here = re.compile(rf"\..+\.(\d+)@{re.escape(socket.gethostname())}")
    made = [(path, here.fullmatch(path.name)) for path in (data_dir / "generated").glob(".*@*")]
    return [path for path, fits in made if fits and (int(fits[1]) == os.getpid() or not _runs(fits[1]))]


def _runs(pid: str) -> bool:
    return Path(f"/proc/{pid}").exists()


def _move_into(scratch: Path, root: Path) -> None:
    for path in sorted(p for p in scratch.rglob("*") if p.is_file()):
        target = root / path.relative_to(scratch)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def sizes_of(task: Task, profile: str) -> Mapping[str, int]:
    """The arguments of a task's generator under a profile; the converged one has the quick one's, unless it has its own."""
    return task.sizes["quick" if profile == "converged" and profile not in task.sizes else profile]


def _done_mark(task: Task, root: Path) -> Path:
    return root / ".generated" / f"{task.name}.json"


def _mark(task: Task, profile: str, samples: int | None) -> dict[str, Any]:
    """What a stand-in was made from: the arguments of its generator, and the generator's source."""
    size: dict[str, Any] = dict(sizes_of(task, profile)) | ({} if samples is None else {"samples": samples})
    return {"task": task.name, "size": size, "code": source.digest_of_generators(task.generate.__module__)}


def _write_mark(task: Task, root: Path, made: Mapping[str, Any]) -> None:
    mark = _done_mark(task, root)
    mark.parent.mkdir(parents=True, exist_ok=True)
    write_quickly(mark, json.dumps(made).encode())
