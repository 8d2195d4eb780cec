"""The data of a cell: its stand-in made if need be, read, and checked against what the other cells of the store read."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import standins as data
from bench.cell.run import Run
from bench.official import unlike_published, verification
from bench.records.record import Record
from bench.records.store import Store
from bench.words import say
from tasks.contract import Data, DataError, Request
from tasks.files.fingerprint import fingerprint
from tasks.files.generated import origin_of
from tasks.files.locate import find


def load_data(run: Run) -> Data:
    """Generate the stand-in if it is missing, read the files, and check that they are the ones of the other cells."""
    clock = time.perf_counter()
    cell, task, config, places = run.cell, run.task, run.config, run.places
    official = cell.origin == "official"
    if not official:
        data.generate(task, places.data_dir, cell.profile, config.data.samples)
    root = data.root_of(task, places.data_dir, cell.origin, cell.profile, config.data.samples)
    paths = [find(root, file) for file in task.files]
    files = sorted(p for path in paths for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())
    if official:
        _refuse_standins(files)
    options = {"allow_stale": True} if config.data.allow_stale else {}
    cache = places.data_dir / ".cache"
    loaded = task.read(Request(root, cell.protocol, config.data.limit, options, cache, cell.seed))  # type: ignore[arg-type]
    print_ = fingerprint(files, loaded.members)
    _refuse_other_data(run.draft.record, run.store, print_, files)
    for text in loaded.notes.get("warnings", ()):
        say(f"warning: {task.name}: {text}", sys.stderr)
    found = {
        "fingerprint": print_,
        "verification": verification(task, paths, places.data_dir) if official else {},
        "files": [str(p.relative_to(root)) for p in files[:50]],
        "members": len(loaded.members),
        "sizes": {
            "train": len(loaded.train),
            "val": len(loaded.val) if loaded.val is not None else 0,
            "test": len(loaded.test),
        },
        "input_shape": list(loaded.input_shape),
        "output_shape": list(loaded.output_shape),
        "notes": dict(loaded.notes),
    }
    if official:
        found["unlike_published"] = unlike_published(task, loaded, cell.protocol, config.data.limit)
    run.draft.data(found, time.perf_counter() - clock)
    return loaded


def _refuse_standins(files: list[Path]) -> None:
    for path in files:
        if origin_of(path) == "generated":
            raise DataError(path, "a stand-in made by this project", "an official file",
                            "Move it out of the data folder: stand-ins belong under its folder `generated`.")  # fmt: skip


def _refuse_other_data(record: Record, store: Store, print_: str, files: list[Path]) -> None:
    """Refuse data that differ from what an earlier cell of this store read: the scores could not be compared.

    The records are the reference, so a copy of the store refuses as well.
    """
    before = next(_earlier(record, store), None)
    if before is not None and before["data"]["fingerprint"] != print_:
        raise DataError(files[0] if files else record["task"], f"fingerprint {print_[:12]}",
                        f"{before['data']['fingerprint'][:12]}, which {store.path(before).name} was made on",
                        f"Use another --results-dir for the new data, or move the records of the old ones out of "
                        f"{store.folder}.")  # fmt: skip


def _earlier(draft: Record, store: Store) -> Iterator[Record]:
    """Finished records of other cells on the same task, kind and size of data, that its present reader made."""
    for path in store.files():
        if not path.name.startswith(f"{draft['task']}."):
            continue
        try:
            record = store.read(path)
        except (ValueError, OSError):
            continue  # `scan` and `bench doctor` report it
        same = (
            all(record[key] == draft[key] for key in ("task", "origin", "profile")) and "fingerprint" in record["data"]
        )
        same = same and record["settings"].get("data.samples") == draft["settings"]["data.samples"]
        same = same and record["code"].get("task") == draft["code"]["task"]
        if same and record["status"] == "done" and record["id"] != draft["id"]:
            yield record
