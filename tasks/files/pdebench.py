"""Reading PDEBench's HDF5 files: which layout a file has, told from its content, and single frames out of it.

Nothing here knows tasks, splits or protocols; see `tasks.files.pairs` for those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import h5py
import numpy as np

from tasks.contract import AGAIN, DataError, require
from tasks.files.hdf5 import check_stored, member, numbers_beside, open_h5

Layout = Literal["scalar", "darcy", "cfd", "grouped"]
FIELDS = ("density", "pressure", "Vx", "Vy", "Vz")
"""The arrays of a CFD file, in PDEBench's order of channels."""
ROWS = 64
"""Samples per read: bounds memory, and keeps the reads in the order of the file."""


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
    constants: dict[str, float] = field(default_factory=dict)
    """Coefficients from the root attributes or, where these are missing, from the file name."""
    coordinates: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    """x, y, t as stored, where they are; t may have one entry more than there are frames."""


def read_header(path: Path) -> Header:
    """The layout of `path`, told from its arrays; DataError if it is none of PDEBench's."""
    with open_h5(path) as h5:
        names = {n for n in h5 if isinstance(n, str)}  # of links, none followed; damaged names come as bytes
        if {"tensor", "nu"} <= names:
            return _darcy(path, h5)
        if "tensor" in names:
            return _flat(path, h5, "scalar", ("tensor",), axes=(1,))
        if "density" in names:
            return _flat(path, h5, "cfd", tuple(n for n in FIELDS if n in names), axes=(1, 2, 3))
        # Opening 10,000 groups takes seconds: a number for a name is enough to look for `data` in it.
        groups = sorted((n for n in names if n.isdecimal() or member(path, h5, f"{n}/data")), key=_number)
        if groups:
            return _grouped(path, h5, tuple(groups))
        keys = ", ".join(sorted(names)[:6]) or "nothing"
        raise DataError(path, f"an HDF5 file with {keys}",
                        "`tensor`, `tensor` and `nu`, `density` ..., or numbered groups with `data`",
                        "This is no forward-problem file of PDEBench; " + AGAIN)  # fmt: skip


def _number(name: str) -> tuple[int, str]:
    return (int(name), name) if name.isdecimal() else (10**9, name)


def _array(path: Path, h5: h5py.File, name: str, axes: tuple[int, ...]) -> h5py.Dataset:
    """`name` in the file, if it is a non-empty array of real numbers, all written, whose number of axes is in `axes`."""
    node = member(path, h5, name)
    expected = f"a floating-point array with {' or '.join(map(str, axes))} axes"
    if not isinstance(node, h5py.Dataset):
        raise DataError(path, f"`{name}` missing or not an array", expected)
    if node.dtype.kind != "f":
        raise DataError(path, f"`{name}` of dtype {node.dtype}", expected)
    if node.ndim not in axes or 0 in node.shape:
        raise DataError(path, f"`{name}` of shape {node.shape}", expected)
    return check_stored(path, name, node)


def _flat(path: Path, h5: h5py.File, layout: Layout, names: tuple[str, ...], axes: tuple[int, ...]) -> Header:
    """A file whose arrays have shape (sample, time, *space)."""
    shapes = [_array(path, h5, n, tuple(2 + a for a in axes)).shape for n in names]
    if len(set(shapes)) > 1:
        raise DataError(path, ", ".join(f"`{n}` {s}" for n, s in zip(names, shapes)), "fields of one shape")
    n, t, *space = shapes[0]
    return _completed(h5, "{}-coordinate", Header(path, layout, n, t, tuple(space), len(names), names))


def _darcy(path: Path, h5: h5py.File) -> Header:
    """`nu` (sample, x, y) is the coefficient, `tensor` (sample, 1, x, y) the solution."""
    nu, u = _array(path, h5, "nu", (3,)), _array(path, h5, "tensor", (4,))
    fits = u.shape == (nu.shape[0], 1, *nu.shape[1:])
    require(fits, path, f"`nu` {nu.shape} and `tensor` {u.shape}", "(n, x, y) and (n, 1, x, y)")
    return _completed(h5, "{}-coordinate", Header(path, "darcy", len(nu), 1, nu.shape[1:], 1, ("nu", "tensor")))


def _grouped(path: Path, h5: h5py.File, groups: tuple[str, ...]) -> Header:
    """One group per sample with `data` (time, *space, channel); all of one shape."""
    shape = _array(path, h5, f"{groups[0]}/data", (3, 4, 5)).shape
    for name in groups:
        other = _array(path, h5, f"{name}/data", (3, 4, 5)).shape
        if other != shape:
            raise DataError(path, f"`{name}/data` of shape {other}", f"{shape} as in group {groups[0]}")
    t, *space, channels = shape
    header = Header(path, "grouped", len(groups), t, tuple(space), channels, groups)
    return _completed(h5, f"{groups[0]}/grid/{{}}", header)


def _completed(h5: h5py.File, pattern: str, header: Header) -> Header:
    """`header` with its constants, and with x, y and t from where `pattern` says, if they are there.

    Times number T or T + 1; as many x (and y) as the field has points, in either order.
    """
    path, space, frames = header.path, header.shape, header.frames
    coordinates, most = {}, max(frames, *space) + 1
    for axis in "xyt":
        name = pattern.format(axis)
        node = member(path, h5, name)
        if isinstance(node, h5py.Dataset) and node.ndim == 1:
            what = f"`{name}` of shape {node.shape}, dtype {node.dtype}"
            require(node.dtype.kind in "fiu" and len(node) <= most, path, what, f"at most {most} numbers")
            coordinates[axis] = np.asarray(check_stored(path, name, node)[:], np.float64)
    times = len(coordinates.get("t", range(frames)))
    fits = frames == 1 or times in (frames, frames + 1)
    require(fits, path, f"{times} times for {frames} frames", f"{frames} or {frames + 1} times")
    lengths = sorted(len(coordinates[a]) for a in "xy" if a in coordinates)
    fits = len(lengths) != len(space) or lengths == sorted(space)
    require(fits, path, f"coordinates of lengths {lengths}", f"as many as points: {sorted(space)}")
    return replace(header, constants=_constants(path, h5), coordinates=coordinates)


def _constants(path: Path, h5: h5py.File) -> dict[str, float]:
    """Coefficients by lower-case name, from the attributes or else the file name (`beta0.4`, `Nu1.0`, `Eta1.e-8`)."""
    number = r"([0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)"
    found = {n.lower(): v for n, v in re.findall(rf"(?<![A-Za-z])(beta|Nu|Rho|Eta|Zeta|M){number}", path.stem)}
    constants = {name: float(value.rstrip(".")) for name, value in found.items()}
    return constants | {name.lower(): value for name, value in numbers_beside(h5).items()}


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
                        "finite numbers")  # fmt: skip


def _read_rows(h5: h5py.File, header: Header, rows: slice, frame: int, channel: int) -> np.ndarray:
    """(rows, *space) as stored, of one frame and channel."""
    if header.layout == "grouped":
        return np.stack([h5[f"{g}/data"][frame, ..., channel] for g in header.names[rows]])
    if header.layout == "darcy":
        return h5["nu"][rows] if channel == 0 else h5["tensor"][rows, 0]
    return h5[header.names[channel]][rows, frame]
