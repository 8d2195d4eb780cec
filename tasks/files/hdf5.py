"""Opening HDF5 files that came from elsewhere: what is read lies in the file itself, was written, and can be unpacked.

HDF5 lets a file lead to others (external links, external storage, virtual datasets), declare more than it holds (what
was never written reads as zeros), and be compressed by filters that are not here. Each is said instead of met.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np

from tasks.contract import AGAIN, DataError

MOST_PACKED = 1100
"""Times its own size that a file may unpack to: deflate cannot pack more than 1,032 to 1."""
MOST_CHUNK = 2**29
"""Bytes of one chunk, which HDF5 unpacks whole."""
WIDEST_NUMBER = 16
"""Bytes."""


@contextmanager
def open_h5(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file `path`, open for reading, locked or not; what goes wrong with it in the block becomes a DataError."""
    if path.is_file() and path.stat().st_size and not h5py.is_hdf5(path):
        with path.open("rb") as f:
            head = f.read(64).lstrip()
        found = (
            "a web page or text" if head[:1] in (b"<", b"{") else f"no HDF5 signature (it begins with {head[:16]!r})"
        )
        raise DataError(path, found, "an HDF5 file")
    try:
        h5 = _opened(path)
    except OSError as error:
        found, cure = describe(path, error)
        raise DataError(path, found, "a readable, complete HDF5 file", cure) from error
    try:
        with h5:
            yield h5
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:  # what h5py makes of a damaged file
        raise DataError(path, f"data that cannot be read ({error})", "a complete HDF5 file") from error


def _opened(path: Path) -> h5py.File:
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    # Fields are read a frame at a time: HDF5's 64-KiB sieve buffer would read sixteen times the bytes asked for.
    access.set_sieve_buf_size(0)
    try:
        return h5py.File(h5py.h5f.open(str(path).encode(), h5py.h5f.ACC_RDONLY, access))
    except OSError as error:
        if "lock" not in str(error):
            raise
        # Somebody else holds a lock, or the disk knows none; reading needs none.
        access.set_file_locking(False, False)
        return h5py.File(h5py.h5f.open(str(path).encode(), h5py.h5f.ACC_RDONLY, access))


def describe(path: Path, error: OSError) -> tuple[str, str]:
    """HDF5's error about opening a file: its cause, and what to do."""
    text = str(error).lower()
    if isinstance(error, PermissionError) or "permission denied" in text:
        return "no permission to read it", f"Allow it: chmod u+r '{path}'"
    if "already open for write" in text or "consistency flag" in text:
        found = "a file that is marked as open for writing: by a program that still writes, or that crashed"
        return found, f"Let the program finish. If there is none, take the mark off: h5clear -s '{path}'"
    cut = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", str(error))
    return (f"a truncated file, {cut[1]} of {cut[2]} bytes" if cut else f"a damaged file ({error})"), AGAIN


def member(path: Path, node: object, name: str) -> h5py.Group | h5py.Dataset | None:
    """What lies at `name` (`a/b`) below `node`, None if nothing; DataError for a link that is not the data themselves."""
    for part in name.split("/"):
        if not isinstance(node, h5py.Group) or not node.id.links.exists(part.encode()):
            return None
        if node.id.links.get_info(part.encode()).type != h5py.h5l.TYPE_HARD:
            link = node.get(part, getlink=True)
            where = " in ".join(str(v) for v in (getattr(link, "path", None), getattr(link, "filename", None)) if v)
            raise DataError(path, f"`{name}`, which is a link to {where}", "data that lie in this file itself",
                            "Copy them into it (h5copy -f soft,ext), or get the file again.")  # fmt: skip
        node = node[part]
    return node if isinstance(node, h5py.Group | h5py.Dataset) else None


def numbers_beside(node: h5py.Group) -> dict[str, float]:
    """The attributes of `node` that are one number each, by name.

    Others are not read: HDF5 takes a damaged description of strings at its word, and may never come back.
    """
    found = {}
    for name in node.attrs:
        attribute = node.attrs.get_id(name)
        kind = attribute.get_type()
        number = kind.get_class() in (h5py.h5t.INTEGER, h5py.h5t.FLOAT) and kind.get_size() <= WIDEST_NUMBER
        if number and attribute.shape in ((), (1,)):
            value = np.empty(1, kind.dtype)
            attribute.read(value.reshape(attribute.shape))
            found[name] = float(value[0])
    return found


def check_stored(path: Path, name: str, array: h5py.Dataset) -> h5py.Dataset:
    """`array`, if all that it declares lies in this file and can be unpacked; else a DataError."""
    if array.is_virtual or array.external:
        raise DataError(path, f"`{name}`, whose data lie in other files", "data that lie in this file itself",
                        "Put them together (h5repack copies them into one file), or get the file again.")  # fmt: skip
    plan = array.id.get_create_plist()
    for i in range(plan.get_nfilters()):
        _check_filter(path, name, *plan.get_filter(i)[::3])
    chunked = plan.get_layout() == h5py.h5d.CHUNKED
    declared, size = math.prod(array.shape) * array.dtype.itemsize, path.stat().st_size
    if declared > size * (MOST_PACKED if chunked else 1):
        found = f"`{name}` of shape {array.shape}, {declared:,} bytes, in a file of {size:,}"
        raise DataError(path, found, "data that were written")
    if chunked:
        chunk = math.prod(array.chunks) * array.dtype.itemsize
        if chunk > MOST_CHUNK:
            raise DataError(path, f"`{name}` in chunks of {chunk:,} bytes", f"at most {MOST_CHUNK:,}",
                            "Write it in smaller ones: h5repack -l CHUNK=...")  # fmt: skip
        want, have = math.prod(-(-s // c) for s, c in zip(array.shape, array.chunks)), array.id.get_num_chunks()
    else:
        want, have = declared, array.id.get_storage_size()
    if have < want:
        what = "chunks" if chunked else "bytes"
        found = f"`{name}` of shape {array.shape}, of which {have:,} of {want:,} {what} were ever written"
        raise DataError(path, found, "data that were written")
    return array


def _check_filter(path: Path, name: str, code: int, label: bytes) -> None:
    if not h5py.h5z.filter_avail(code):
        with suppress(ImportError):
            import hdf5plugin  # noqa: F401  # makes its filters known to HDF5
    if not h5py.h5z.filter_avail(code):
        known = label.decode("ascii", "replace").split(";")[0]
        raise DataError(path, f"`{name}`, compressed by a filter that is not here: {known or 'unnamed'} ({code})",
                        "data that can be unpacked",
                        "pip install hdf5plugin, or rewrite it where the filter is: h5repack -f GZIP=4 IN OUT")  # fmt: skip
