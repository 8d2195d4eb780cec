"""Reading PDEBench's HDF5 files: which layout a file has, told from its content, and single frames out of it.

Nothing here knows tasks, splits or protocols; see `tasks.files.pairs` for those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from tasks.contract import DataError

Layout = Literal["scalar", "darcy", "cfd", "grouped"]
FIELDS = ("density", "pressure", "Vx", "Vy", "Vz")
"""The arrays of a CFD file, in PDEBench's order of channels."""
ROWS = 64
"""Samples per read: bounds memory, and keeps the reads in the order of the file."""
GET_AGAIN = "Remove the file and get it again (`bench data fetch`), or make a stand-in (`bench data generate`)."


@dataclass(frozen=True)
class Header:
    """What a file says about itself, before any field is read."""

    path: Path
    layout: Layout
    samples: int
    frames: int
    """Time steps stored (1 in a Darcy file)."""
    shape: tuple[int, ...]
    """Points per spatial axis, in the order in which they are stored."""
    channels: int
    names: tuple[str, ...]
    """Flat files: the arrays that hold the fields. Grouped files: the groups, in the order of their numbers."""
    constants: dict[str, float]
    """Coefficients from the root attributes or, where these are missing, from the file name."""
    coordinates: dict[str, np.ndarray] = field(repr=False)
    """x, y, t as stored, where they are; t may have one entry more than there are frames."""


@contextmanager
def open_h5(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file `path`, open for reading; whatever goes wrong with it inside the block becomes a DataError."""
    if path.is_file() and path.stat().st_size and not h5py.is_hdf5(path):
        with path.open("rb") as f:
            head = f.read(64).lstrip()
        found = (
            "a web page or text" if head[:1] in (b"<", b"{") else f"no HDF5 signature (it begins with {head[:16]!r})"
        )
        raise DataError(path, found, "an HDF5 file", GET_AGAIN)
    try:
        # Fields are read a frame at a time: HDF5's 64-KiB sieve buffer would read sixteen times the bytes asked for.
        access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
        access.set_sieve_buf_size(0)
        h5 = h5py.File(h5py.h5f.open(str(path).encode(), h5py.h5f.ACC_RDONLY, access))
    except OSError as error:
        raise DataError(path, describe(error), "a readable, complete HDF5 file", GET_AGAIN) from error
    try:
        with h5:
            yield h5
    except (OSError, RuntimeError) as error:
        raise DataError(path, f"data that cannot be read ({error})", "a complete HDF5 file", GET_AGAIN) from error


def describe(error: OSError) -> str:
    """HDF5's error about opening a file, shortened to its cause."""
    if isinstance(error, PermissionError) or "permission denied" in str(error).lower():
        return "no permission to read it"
    cut = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", str(error))
    return f"a truncated file, {cut[1]} of {cut[2]} bytes" if cut else f"a damaged file ({error})"


def read_header(path: Path) -> Header:
    """The layout of `path`, told from its arrays; DataError if it is none of PDEBench's."""
    with open_h5(path) as h5:
        if "tensor" in h5 and "nu" in h5:
            return _darcy(path, h5)
        if "tensor" in h5:
            return _flat(path, h5, "scalar", ("tensor",), axes=(1,))
        if "density" in h5:
            return _flat(path, h5, "cfd", tuple(n for n in FIELDS if n in h5), axes=(1, 2, 3))
        # Opening 10,000 groups takes seconds: a number for a name is enough to look for `data` in it.
        groups = sorted((n for n in h5 if n.isdecimal() or _holds_data(h5[n])), key=_number)
        if groups:
            return _grouped(path, h5, tuple(groups))
        keys = ", ".join(list(h5)[:6]) or "nothing"
        raise DataError(path, f"an HDF5 file with {keys}",
                        "`tensor`, `tensor` and `nu`, `density` ..., or numbered groups with `data`",
                        "This is no forward-problem file of PDEBench; " + GET_AGAIN)  # fmt: skip


def _holds_data(node: object) -> bool:
    return isinstance(node, h5py.Group) and "data" in node


def _number(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() else (10**9, name)


def _array(path: Path, node: object, name: str, axes: tuple[int, ...]) -> h5py.Dataset:
    """`node` if it is a non-empty array of real numbers whose number of axes is in `axes`."""
    expected = f"a floating-point array with {' or '.join(map(str, axes))} axes"
    if not isinstance(node, h5py.Dataset):
        raise DataError(path, f"`{name}` missing or not an array", expected, GET_AGAIN)
    if node.dtype.kind != "f":
        raise DataError(path, f"`{name}` of dtype {node.dtype}", expected, GET_AGAIN)
    if node.ndim not in axes or 0 in node.shape:
        raise DataError(path, f"`{name}` of shape {node.shape}", expected, GET_AGAIN)
    return node


def _flat(path: Path, h5: h5py.File, layout: Layout, names: tuple[str, ...], axes: tuple[int, ...]) -> Header:
    """A file whose arrays have shape (sample, time, *space)."""
    shapes = [_array(path, h5[n], n, tuple(2 + a for a in axes)).shape for n in names]
    if len(set(shapes)) > 1:
        found = ", ".join(f"`{n}` {s}" for n, s in zip(names, shapes, strict=True))
        raise DataError(path, found, "fields of one shape", GET_AGAIN)
    n, t, *space = shapes[0]
    coordinates = _coordinates(h5, "{}-coordinate")
    _check_coordinates(path, coordinates, t, tuple(space))
    return Header(path, layout, n, t, tuple(space), len(names), names, _constants(path, h5), coordinates)


def _darcy(path: Path, h5: h5py.File) -> Header:
    """`nu` (sample, x, y) is the coefficient, `tensor` (sample, 1, x, y) the solution."""
    nu, u = _array(path, h5["nu"], "nu", (3,)), _array(path, h5["tensor"], "tensor", (4,))
    if u.shape != (nu.shape[0], 1, *nu.shape[1:]):
        raise DataError(path, f"`nu` {nu.shape} and `tensor` {u.shape}", "(n, x, y) and (n, 1, x, y)", GET_AGAIN)
    coordinates = _coordinates(h5, "{}-coordinate")
    _check_coordinates(path, coordinates, 1, nu.shape[1:])
    return Header(path, "darcy", len(nu), 1, nu.shape[1:], 1, ("nu", "tensor"), _constants(path, h5), coordinates)


def _grouped(path: Path, h5: h5py.File, groups: tuple[str, ...]) -> Header:
    """One group per sample with `data` (time, *space, channel); all of one shape."""
    shape = _array(path, h5.get(f"{groups[0]}/data"), f"{groups[0]}/data", (3, 4, 5)).shape
    for name in groups:
        other = _array(path, h5.get(f"{name}/data"), f"{name}/data", (3, 4, 5)).shape
        if other != shape:
            raise DataError(path, f"`{name}/data` of shape {other}", f"{shape} as in group {groups[0]}", GET_AGAIN)
    t, *space, channels = shape
    grid = h5[groups[0]].get("grid")
    coordinates = _coordinates(grid, "{}") if isinstance(grid, h5py.Group) else {}
    _check_coordinates(path, coordinates, t, tuple(space))
    return Header(path, "grouped", len(groups), t, tuple(space), channels, groups, _constants(path, h5), coordinates)


def _coordinates(node: h5py.Group, pattern: str) -> dict[str, np.ndarray]:
    found = {axis: node.get(pattern.format(axis)) for axis in "xyt"}
    return {k: np.asarray(v[:], np.float64) for k, v in found.items() if isinstance(v, h5py.Dataset) and v.ndim == 1}


def _check_coordinates(path: Path, coordinates: dict[str, np.ndarray], frames: int, space: tuple[int, ...]) -> None:
    """Times number T or T + 1; as many x (and y) as the field has points, in either order."""
    t = coordinates.get("t")
    if t is not None and frames > 1 and len(t) not in (frames, frames + 1):
        raise DataError(path, f"{len(t)} times for {frames} frames", f"{frames} or {frames + 1} times", GET_AGAIN)
    lengths = sorted(len(coordinates[a]) for a in "xy" if a in coordinates)
    if len(lengths) == len(space) and lengths != sorted(space):
        raise DataError(path, f"coordinates of lengths {lengths}", f"as many as points: {sorted(space)}", GET_AGAIN)


def _constants(path: Path, h5: h5py.File) -> dict[str, float]:
    """Coefficients by lower-case name, from the attributes or else the file name (`beta0.4`, `Nu1.0`, `Eta1.e-8`)."""
    number = r"([0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)"
    found = {n.lower(): v for n, v in re.findall(rf"(?<![A-Za-z])(beta|Nu|Rho|Eta|Zeta|M){number}", path.stem)}
    constants = {name: float(value.rstrip(".")) for name, value in found.items()}
    for name, value in h5.attrs.items():
        if np.size(value) == 1 and np.asarray(value).dtype.kind in "fiu":
            constants[name.lower()] = float(np.ravel(value)[0])
    return constants


def read_frames(
    header: Header, wanted: Mapping[str, tuple[int, tuple[int, ...]]], stride: int = 1
) -> dict[str, np.ndarray]:
    """Some frames of every sample, each (n, channels, *space) float32 at every `stride`-th point, in one pass.

    `wanted` gives frame and channels by name. Channels number the fields of a CFD file or the last axis of a grouped
    one; in a Darcy file 0 is the coefficient and 1 the solution. Frames are read whole and thinned in memory: strided
    reads are slower. DataError on a number that is not finite.
    """
    thin = (slice(None), *(slice(None, None, stride),) * len(header.shape))
    space = tuple(-(-s // stride) for s in header.shape)
    out = {name: np.empty((header.samples, len(c), *space), np.float32) for name, (_, c) in wanted.items()}
    with open_h5(header.path) as h5:
        for start in range(0, header.samples, ROWS):
            rows = slice(start, min(start + ROWS, header.samples))
            for name, (frame, channels) in wanted.items():
                for k, channel in enumerate(channels):
                    block = _read_rows(h5, header, rows, frame, channel)[thin]
                    _check_finite(header, block, start, frame, channel)
                    out[name][rows, k] = block
    return out


def _check_finite(header: Header, block: np.ndarray, start: int, frame: int, channel: int) -> None:
    finite = np.isfinite(block).all(axis=tuple(range(1, block.ndim)))
    if not finite.all():
        bad = start + int(np.flatnonzero(~finite)[0])
        raise DataError(header.path, f"NaN or infinity in sample {bad}, frame {frame}, channel {channel}",
                        "finite numbers", GET_AGAIN)  # fmt: skip


def _read_rows(h5: h5py.File, header: Header, rows: slice, frame: int, channel: int) -> np.ndarray:
    """(rows, *space) as stored, of one frame and channel."""
    if header.layout == "grouped":
        return np.stack([h5[f"{g}/data"][frame, ..., channel] for g in header.names[rows]])
    if header.layout == "darcy":
        return h5["nu"][rows] if channel == 0 else h5["tensor"][rows, 0]
    return h5[header.names[channel]][rows, frame]
