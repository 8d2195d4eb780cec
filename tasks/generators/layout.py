"""Writing PDEBench's two HDF5 layouts: flat arrays, and one group per sample."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.sparse as sp

from tasks.files.generated import GENERATOR, writing


def centres(n: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """The n cell centres low + (i + 1/2) dx of [low, high], float64."""
    return low + (np.arange(n) + 0.5) * (high - low) / n


def five_point(west: np.ndarray, south: np.ndarray) -> sp.csc_matrix:
    """The matrix (n m, n m) of -div(a grad u) on n x m points one apart, from `a` at the faces across either axis.

    `west` (n + 1, m), `south` (n, m + 1); the outer faces lead to points where u = 0.
    """
    centre = west[:-1] + west[1:] + south[:, :-1] + south[:, 1:]
    inner_south = south[:, :-1].copy()
    inner_south[:, 0] = 0  # the last point of a row and the first of the next one are no neighbours
    down, across = -west[1:-1].ravel(), -inner_south.ravel()[1:]
    diagonals, n = (centre.ravel(), down, down, across, across), centre.shape[1]
    return sp.diags_array(diagonals, offsets=(0, n, -n, 1, -1)).tocsc()


def saved_times(frames: int, end: float) -> np.ndarray:
    """The `frames` times from 0 to `end` at which a field is kept, float64."""
    return np.linspace(0.0, end, frames)


@contextmanager
def _h5(path: Path, task: str, samples: int, grid: Mapping[str, np.ndarray]) -> Iterator[h5py.File]:
    """The HDF5 file `path`, marked; the further arguments of its generator are the lengths of the grid's x and t."""
    size = {f"n{axis}": len(grid[axis]) for axis in ("x", "t") if axis in grid}
    with writing(path, task=task, samples=samples, size=size) as temporary, h5py.File(temporary, "w") as h5:
        h5.attrs["generated_by"] = GENERATOR
        yield h5


def write_flat(
    path: Path, task: str, arrays: Mapping[str, np.ndarray], grid: Mapping[str, np.ndarray],
    constants: Mapping[str, float],
) -> None:  # fmt: skip
    """Arrays (sample, time, *space) with `x-coordinate` ..., as PDEBench's JAX generators leave them.

    A `t` in `grid` gets the one extra entry that those files have. Everything is stored contiguous, as float32.
    """
    samples = len(next(iter(arrays.values())))
    with _h5(path, task, samples, grid) as h5:
        for name, constant in constants.items():
            h5.attrs[name] = constant
        for name, array in arrays.items():
            h5[name] = np.asarray(array, np.float32)
        for axis, line in grid.items():
            points = np.append(line, 2 * line[-1] - line[-2]) if axis == "t" else line
            h5[f"{axis}-coordinate"] = np.asarray(points, np.float32)


def write_groups(
    path: Path, task: str, fields: Iterable[np.ndarray], grid: Mapping[str, np.ndarray],
    config: Mapping[str, Any], samples: int, compression: str | None = "lzf",
) -> None:  # fmt: skip
    """Groups `0000`, `0001`, ... with `data` (time, *space, channel), `grid/x` ..., attribute `config` (YAML)."""
    with _h5(path, task, samples, grid) as h5:
        for i, values in enumerate(fields):
            group = h5.create_group(f"{i:04d}")
            group.create_dataset("data", data=np.asarray(values, np.float32), compression=compression)
            for axis, points in grid.items():
                group.create_dataset(f"grid/{axis}", data=np.asarray(points, np.float32), compression=compression)
            group.attrs["config"] = json.dumps({"sim": {**config, "seed": i}})  # JSON is YAML
