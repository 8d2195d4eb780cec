"""The data of a cell: its stand-in made if need be, its files checked against those of the other cells, then read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench import data
from bench.plan import Cell, Places
from bench.record import Record
from bench.settings import Settings
from bench.store import write_atomically
from tasks.contract import Data, DataError, Request, Task
from tasks.files.fingerprint import fingerprint
from tasks.files.generated import origin_of
from tasks.files.locate import find
from tasks.files.verify import in_words


def load_data(cell: Cell, task: Task, config: Settings, places: Places, draft: Record) -> Data:
    """Generate the stand-in if it is missing, check that the files are the ones of the other cells, and read them."""
    if cell.origin == "generated":
        data.generate(task, places.data_dir, cell.profile, config.data.samples)
    root = data.root_of(task, places.data_dir, cell.origin, cell.profile, config.data.samples)
    paths = [find(root, file) for file in task.files]
    files = sorted(p for path in paths for p in (path.rglob("*") if path.is_dir() else [path]) if p.is_file())
    if cell.origin == "official":
        for path in files:
            if origin_of(path) == "generated":
                raise DataError(path, "a stand-in made by this project", "an official file",
                                "Move it out of the data folder: stand-ins belong under its folder `generated`.")  # fmt: skip
    print_ = fingerprint(files)
    seen = _seen(cell, config, places)
    _refuse_other_data(seen, places, print_, files)
    options = {"allow_stale": True} if config.data.allow_stale else {}
    loaded = task.read(Request(root, cell.protocol, config.data.limit, options, places.data_dir / ".cache"))  # type: ignore[arg-type]
    if not seen.exists():  # only now: files that cannot be read must not stand in the way of their replacement
        write_atomically(seen, json.dumps({"fingerprint": print_, "files": [str(f) for f in files[:50]]}).encode())
    for text in loaded.notes.get("warnings", ()):
        print(f"warning: {task.name}: {text}", file=sys.stderr, flush=True)
    sizes = {
        "train": len(loaded.train),
        "val": len(loaded.val) if loaded.val is not None else 0,
        "test": len(loaded.test),
    }
    official = zip(task.files, paths, strict=True) if cell.origin == "official" else ()
    draft["data"] = {
        "fingerprint": print_,
        "verification": {file.path: in_words(path, file, places.data_dir) for file, path in official},
        "files": [str(p.relative_to(root)) for p in files[:50]],
        "sizes": sizes,
        "input_shape": list(loaded.input_shape),
        "output_shape": list(loaded.output_shape),
        "notes": dict(loaded.notes),
    }
    return loaded


def _seen(cell: Cell, config: Settings, places: Places) -> Path:
    """Where the store remembers the fingerprint of the data that its cells of this kind have read."""
    size = "" if config.data.samples is None else f"-{config.data.samples}"
    return places.results_dir / "work" / "data" / f"{cell.task}.{cell.origin}.{cell.profile}{size}.json"


def _refuse_other_data(seen: Path, places: Places, print_: str, files: list[Path]) -> None:
    """Refuse data that differ from what earlier cells of this store read: their scores could not be compared."""
    if not seen.exists():
        return
    before = json.loads(seen.read_bytes())["fingerprint"]
    if before != print_:
        raise DataError(files[0] if files else places.data_dir, f"fingerprint {print_[:12]}",
                        f"{before[:12]}, which earlier cells in {places.results_dir} read",
                        f"Use another --results-dir for the new data, or delete {seen} to mix them knowingly.")  # fmt: skip
