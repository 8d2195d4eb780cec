"""The data files of tasks: what is here, whether it is what was published, getting it, making stand-ins, taking own arrays.

What is said of a file is a row of plain data. Imports nothing heavy.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import registry, standins
from bench.errors import UsageError
from bench.plan import PROFILES
from tasks.contract import File, Kind, Task
from tasks.files.locate import facts, locate

Row = dict[str, Any]
"""task, file, state, bytes, detail, and what an action adds."""


def status(task: Task, data_dir: Path) -> Iterator[Row]:
    """One row per official file, by what is known of its checksum, and one per stand-in that is here."""
    unknown = ("official", "not verified yet: `bench data verify`")
    for row in _official(task, data_dir, unknown, compute=False):
        row["state"] = "official" if row["state"] in ("verified", "unknown") else row["state"]
        yield row | {"detail": "" if row["state"] == "missing" else row["detail"]}
    for profile in PROFILES:
        if standins.standin_here(task, data_dir, profile):
            root = standins.standin_root(data_dir, profile)
            paths = [p for p in (locate(root, file) for file in task.files) if p is not None and p.is_file()]
            size = sum(p.stat().st_size for p in paths)
            yield {"task": task.name, "file": f"generated/{profile}", "state": "generated", "bytes": size, "detail": ""}


def verify(task: Task, data_dir: Path, dry_run: bool = False) -> Iterator[Row]:
    """The checksum of each official file that is here, computed once."""
    return _official(task, data_dir, ("would verify", ""), compute=not dry_run)


def _official(task: Task, data_dir: Path, unknown: tuple[str, str], compute: bool) -> Iterator[Row]:
    """One row per official file; `unknown` is state and detail where its checksum is neither known nor computed."""
    from tasks.files import verify

    for file in task.files:
        path = locate(data_dir, file)
        row = {"task": task.name, "file": file.path, "state": "missing", "bytes": file.size, "detail": facts(file)}
        if path is not None and path.is_file():
            verdict = verify.verify(path, file, data_dir, compute)
            state, detail = (verdict.status, verdict.detail) if verdict else unknown
            row |= {"state": state, "bytes": path.stat().st_size, "detail": detail}
        yield row


def fetch(
    task: Task, file: File, data_dir: Path, say: Callable[[str], None], dry_run: bool, progress: Callable[[int], None]
) -> Row:
    """Bring an official file to its place; where there is no direct link, the row says what to get where."""
    from tasks.files import fetch

    said: list[str] = []

    def tell(text: str) -> None:
        said.append(text)
        say(text)

    path = fetch.fetch(file, data_dir, tell, dry_run, progress)
    state = "here" if path else "would fetch" if file.url else "by hand"
    return of_file(task, file) | {"state": state, "detail": " ".join(said)}


def of_file(task: Task, file: File) -> Row:
    """What is known of an official file before it is fetched."""
    return {"task": task.name, "file": file.path, "bytes": file.size, "url": file.url, "checksum": file.checksum}


def generate(task: Task, data_dir: Path, profile: str, samples: int | None, dry_run: bool = False) -> Row:
    """The stand-in of a task, made unless it is here; `seconds` is how long that took."""
    if task.generate is None:
        return {"task": task.name, "file": None, "bytes": None, "state": "none", "detail": "no stand-in"}
    root = standins.standin_root(data_dir, profile, samples)
    size = {**standins.sizes_of(task, profile), **({"samples": samples} if samples else {})}
    wanted = ", ".join(f"{k} {v}" for k, v in size.items())
    row = {"task": task.name, "file": str(root), "bytes": None, "detail": wanted}
    if dry_run:
        here = standins.standin_here(task, data_dir, profile, samples)
        return row | {"state": "here" if here else "would generate"}
    start = time.monotonic()
    made = standins.generate(task, data_dir, profile, samples)
    return row | {"state": "generated" if made else "here", "seconds": round(time.monotonic() - start, 2)}


def own(
    path: Path, data_dir: Path, name: str, kind: Kind, target: Sequence[str] = ("y",), replace: bool = False
) -> Task:
    """A user's arrays, checked and kept as a task below the data folder; UsageError for a name that is taken."""
    from tasks.own import arrays, stored

    taken = registry.tasks().origin.get(name) or ("methods" if name in registry.methods().items else None)
    if taken and name not in stored.tasks_in(data_dir):
        raise UsageError(f"--name {name}: the name is taken by {taken}")
    task = stored.store(path, data_dir, name, kind, arrays.read(path, kind, target), replace)
    registry.forget_tasks()
    return task
