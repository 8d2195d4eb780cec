"""The PDEBench manifest: every released file (but NS_Incom) with its folder, link and MD5."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

from tasks.contract import File

TABLE = Path(__file__).with_name("pdebench_files.csv")
LINK = "https://darus.uni-stuttgart.de/api/access/datafile/{id}"
DOI = "doi:10.18419/darus-2986"


@functools.cache
def rows() -> dict[str, dict[str, str]]:
    """The manifest by file name: family, file, datafile_id, md5, path."""
    with TABLE.open(newline="") as f:
        return {row["file"]: row for row in csv.DictReader(f)}


def official(name: str, size: int | None = None, about: str = "") -> File:
    """The released file `name` as a `File`; `size` in bytes only where it is known exactly, else `about` in words."""
    row = rows()[name]
    link = LINK.format(id=row["datafile_id"])
    get = f"PDEBench, {DOI}" + (f", about {about}" if about else "")
    return File(row["path"] + name, size, link, f"md5:{row['md5']}", get)
