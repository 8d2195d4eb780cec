"""Marking what this project generated, and telling it from official files wherever it lies.

A stand-in carries two marks: a sidecar `<file>.generated.json`, and in an HDF5 file the root attribute `generated_by`,
which survives a copy that leaves the sidecar behind.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tasks.contract import DataError, Origin
from tasks.files.atomic import replacing_quickly, sync, write_quickly
from tasks.files.regular import NOTE, read_linked

GENERATOR = "cross-modality-bench generators, version 1"
"""Raised whenever a generator changes what it writes for the same arguments."""


def sidecar(path: Path) -> Path:
    """Where the mark of `path` lies."""
    return path.with_name(path.name + ".generated.json")


@contextmanager
def writing(path: Path, *, task: str, samples: int, size: Mapping[str, Any]) -> Iterator[Path]:
    """A temporary path to write a stand-in to; on success it becomes `path`, with its sidecar, atomically.

    `task` seeds the samples (see `tasks.generators.seeds`), `size` are the further arguments of the generator. After an
    exception nothing is left.
    """
    mark = {"generated_by": GENERATOR, "task": task, "seed": f"SeedSequence([crc32({task!r}), i])"}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing_quickly(path) as temporary:
            yield temporary
            write_json(
                sidecar(path), {**mark, "samples": samples, "size": dict(size), "bytes": temporary.stat().st_size}
            )
            sync(temporary)
    except OSError as error:
        raise DataError(path, f"it cannot be written ({error})", "a writable folder with enough space",
                        "Choose another folder with --data-dir, or free some space.") from error  # fmt: skip


@contextmanager
def opened(path: Path, *, task: str, samples: int, size: Mapping[str, Any]) -> Iterator[IO[bytes]]:
    """`writing`, with the temporary file open for bytes."""
    with writing(path, task=task, samples=samples, size=size) as temporary, temporary.open("wb") as stream:
        yield stream


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """`value` as JSON in `path`: the old file or the new one is there at any moment, never half of one."""
    write_quickly(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def read_mark(path: Path) -> dict[str, Any] | None:
    """The sidecar of `path`, or None where there is none that belongs to a file of this size."""
    try:
        mark = json.loads(read_linked(sidecar(path), NOTE))
        belongs = mark.get("bytes") == path.stat().st_size
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return mark if belongs else None


def origin_of(path: Path) -> Origin:
    """`generated` for a file with either mark, else `official`, also when it was put over a stand-in."""
    if read_mark(path) is not None:
        return "generated"
    import h5py

    from tasks.files.hdf5 import open_h5

    if path.is_file() and h5py.is_hdf5(path):
        try:
            with open_h5(path) as h5:
                return "generated" if "generated_by" in h5.attrs else "official"
        except DataError:
            return "official"  # truncated: what is wrong with it is the reader's to say
    return "official"
