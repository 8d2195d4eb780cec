"""The FNO paper's Darcy files: MATLAB arrays `coeff` and `sol`, decimated and normalised point by point."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np

from tasks.contract import DataError, File, Request, require
from tasks.files.copies import cached
from tasks.files.hdf5 import MOST_PACKED, check_stored, member, open_h5
from tasks.files.locate import find
from tasks.files.nb360 import array
from tasks.files.pickles import open_checked

STRIDE = 5
EPSILON = 1e-5
_EXPECTED = "a MATLAB file (version 5 or 7.3) with coeff and sol, each (n, 421, 421)"


def read_variable(path: Path, name: str, most: int) -> np.ndarray:
    """The first `most` samples of array `name` (n, s, s) at every fifth point, as stored.

    Version 5 files are read by scipy, which takes the whole array into memory (up to 1.5 GB); of a version 7.3 file
    (HDF5, axes reversed) only what is needed is read.
    """
    import h5py
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    open_checked(path, _EXPECTED).close()
    if h5py.is_hdf5(path):
        with open_h5(path) as f:
            stored = member(path, f, name)
            if stored is None:
                raise DataError(path, f"an HDF5 file with {', '.join(f) or 'nothing'}", _EXPECTED)
            if not isinstance(stored, h5py.Dataset) or stored.ndim != 3:
                raise DataError(path, f"{name} of shape {getattr(stored, 'shape', 'none')}", _EXPECTED)
            return check_stored(path, name, stored)[::STRIDE, ::STRIDE, :most].T
    try:
        shape = next((shape for found, shape, _ in whosmat(path) if found == name), ())
        if math.prod(shape) > MOST_PACKED * path.stat().st_size:
            raise DataError(path, f"{name} of shape {shape} in {path.stat().st_size:,} bytes", _EXPECTED)
        table = loadmat(path, variable_names=[name])
    except (
        MatReadError, ValueError, TypeError, OSError, EOFError, NotImplementedError, IndexError, struct.error, zlib.error
    ) as error:  # fmt: skip
        raise DataError(path, f"no readable MATLAB file, or a truncated one ({error})", _EXPECTED) from error
    require(name in table, path, f"a MATLAB file without {name}", _EXPECTED)
    values = table[name]
    return values[:most, ::STRIDE, ::STRIDE] if values.ndim == 3 else values


def read_pairs(request: Request, file: File, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Coefficient and solution of the first `most` samples at every fifth point, (n, s, s) float32 each.

    A full-size file is 1.6 GB; with `request.cache` the decimated copy is kept and read from then on.
    """
    path, names = find(request.root, file), ("coeff", "sol")

    def make() -> dict[str, np.ndarray]:
        return {name: _decimated(path, name, most) for name in names}

    fields = cached(path, request.cache, __name__, most, names, make)
    coeff, sol = fields["coeff"], fields["sol"]
    require(coeff.shape == sol.shape, path, f"coeff of shape {coeff.shape} and sol of shape {sol.shape}", _EXPECTED)
    return coeff, sol


def _decimated(path: Path, name: str, most: int) -> np.ndarray:
    values = read_variable(path, name, most)
    fits = values.ndim == 3 and values.shape[1] == values.shape[2] > 1 and len(values) > 0
    require(fits, path, f"{name} of shape {values.shape}", _EXPECTED)
    require(values.dtype.kind in "fiu", path, f"{name} of dtype {values.dtype}", _EXPECTED)
    few = np.ascontiguousarray(values, dtype=np.float32)
    return array(path, name, few, (None, *few.shape[1:]))


def normaliser(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation + 1e-5 over samples, point by point: (s, s) float32 each, sums in float64."""
    mean = values.mean(0, dtype=np.float64)
    std = values.std(0, dtype=np.float64, ddof=1 if len(values) > 1 else 0)
    return mean.astype(np.float32), (std + EPSILON).astype(np.float32)


def with_grid(values: np.ndarray) -> np.ndarray:
    """(n, s, s) with two coordinates in [0, 1] as further channels, (n, 3, s, s): along the last axis, then the first.

    That is the order of numpy's meshgrid, which all public code of this task leaves as it is.
    """
    line = np.linspace(0, 1, values.shape[-1], dtype=np.float32)
    grid = np.broadcast_to(np.stack(np.meshgrid(line, line)), (len(values), 2, *values.shape[1:]))
    return np.concatenate([values[:, None], grid], axis=1).astype(np.float32)
