"""Small files laid out as PDEBench's generators lay them out, written without any code of this project.

Names, keys, dtypes, attributes, chunks and compression as found in the reference's writers; fields are made up. Grids of
2D families are smaller than official ones.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

YAML = "!!python/object/apply:omegaconf.dictconfig.DictConfig\nsim: {seed: 3}\n"
"""A `config` as newer generator code writes it, with a tag that a safe YAML loader refuses."""


def fields(n: int, frames: int, space: tuple[int, ...], offset: float = 0.0, seed: int = 0) -> np.ndarray:
    """(n, frames, *space) float32: a random mean and random waves that decay, so that every frame differs."""
    rng = np.random.default_rng(seed)
    waves = rng.standard_normal((n, 1, *space)).cumsum(axis=-1) / np.sqrt(space[-1])
    decay = np.exp(-np.linspace(0, 1, frames)).reshape(1, frames, *(1 for _ in space))
    means = rng.uniform(0.5, 1.5, (n, 1, *(1 for _ in space)))
    return (offset + means + 0.3 * waves * decay).astype(np.float32)


def burgers(path: Path, n: int = 12, low: float = 0.0) -> None:
    """Frozen, as at nu = 1: from frame 20 on bit for bit the mean and a small residue. `low`: -1 before 2024."""
    u = fields(n, 201, (1024,))
    x = (np.arange(1024) + 0.5) / 1024
    u[:, 20:] = (u[:, :1].mean(axis=2, keepdims=True) + 1e-3 * np.cos(2 * np.pi * x)).astype(np.float32)
    _flat(path, {"tensor": u}, {"x": low + (1 - low) * x}, np.linspace(0, 2, 202), {"Nu": 1.0})


def diffusion_reaction_1d(path: Path, n: int = 12) -> None:
    """Frozen to one constant from frame 25 on, as the reference's small float32 steps leave it."""
    u = fields(n, 101, (1024,))
    u[:, 25:] = 0.5625
    _flat(path, {"tensor": u}, {"x": _cells(1024)}, np.linspace(0, 1, 102), {"Nu": 0.5, "rho": 1.0})


def cfd_1d(path: Path, n: int = 12) -> None:
    arrays = {
        k: fields(n, 101, (1024,), o, s) for s, (k, o) in enumerate([("density", 5), ("pressure", 50), ("Vx", 0)])
    }
    _flat(path, arrays, {"x": 2 * _cells(1024) - 1}, np.linspace(0, 1, 102), {"eta": 0.1, "zeta": 0.1})


def cfd_2d(path: Path, n: int = 12) -> None:
    arrays = {k: fields(n, 21, (64, 64), s, s) for s, k in enumerate(("density", "pressure", "Vx", "Vy"))}
    axes = {"x": _cells(64), "y": _cells(64)}
    _flat(path, arrays, axes, np.linspace(0, 1, 22), {"eta": 0.1, "zeta": 0.1, "M": 1.0})


def diffusion_sorption(path: Path, n: int = 12) -> None:
    _grouped(path, fields(n, 101, (1024, 1)), (13, 256, 1), "x")


def shallow_water(path: Path, n: int = 12) -> None:
    """Uncompressed, not chunked, and the config in the root attribute `<seed>/config`, as at the release."""
    _grouped(path, fields(n, 101, (32, 32, 1)), None, "xy", root_config=True)


def diffusion_reaction_2d(path: Path, n: int = 12) -> None:
    _grouped(path, fields(n, 101, (32, 32, 2)), (13, 16, 32, 1), "xy")


WRITERS = {
    f.__name__: f
    for f in (burgers, diffusion_reaction_1d, cfd_1d, cfd_2d, diffusion_sorption, shallow_water, diffusion_reaction_2d)
}


def _cells(n: int) -> np.ndarray:
    return (np.arange(n) + 0.5) / n


def _flat(path: Path, arrays: dict, axes: dict, times: np.ndarray, constants: dict[str, float]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as h5:
        for name, values in arrays.items():
            h5[name] = values
        for axis, values in (axes | {"t": times}).items():
            h5[f"{axis}-coordinate"] = values.astype(np.float32)
        for name, value in constants.items():
            h5.attrs[name] = value


def _grouped(path: Path, values: np.ndarray, chunks: tuple | None, axes: str, root_config: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as h5:
        for i, field in enumerate(values):
            name = f"{i:04d}"
            h5.create_dataset(f"{name}/data", data=field, chunks=chunks, compression="lzf" if chunks else None)
            for axis, points in zip(axes, field.shape[1:-1], strict=True):
                h5[f"{name}/grid/{axis}"] = _cells(points).astype(np.float32)
            h5[f"{name}/grid/t"] = np.linspace(0, 1, len(field), dtype=np.float32)
            if root_config:
                h5.attrs[f"{name}/config"] = YAML
            else:
                h5[name].attrs["config"] = YAML
