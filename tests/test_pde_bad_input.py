"""Bad files: each ends in one DataError that names the file, what was found, what was expected, and what to do."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.contract import DataError, Request
from tests.pde_helpers import NAMES, TASKS, tiny

KEYS = {"cfd_1d": "density", "cfd_2d": "density"}
GROUPED = ("diffusion_sorption", "shallow_water", "diffusion_reaction_2d")


def field_key(name: str) -> str:
    """The array that a case spoils."""
    return "0003/data" if name in GROUPED else KEYS.get(name, "tensor")


def spoil(path: Path, name: str, change) -> None:
    """Replace the array by `change` of it."""
    with h5py.File(path, "r+") as h5:
        key = field_key(name)
        values = change(h5[key][:])
        del h5[key]
        if values is not None:
            h5[key] = values


def missing(path: Path, name: str, _) -> None:
    path.unlink()


def empty(path: Path, name: str, _) -> None:
    path.write_bytes(b"")


def directory(path: Path, name: str, _) -> None:
    path.unlink()
    path.mkdir()


def truncated(path: Path, name: str, _) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def web_page(path: Path, name: str, _) -> None:
    path.write_bytes(b"<!DOCTYPE html><html><body>403 Forbidden</body></html>")


def garbage(path: Path, name: str, _) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def no_permission(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the system's answer is put on."""
    real = os.access
    monkeypatch.setattr(os, "access", lambda p, mode: False if Path(p) == path else real(p, mode))


def wrong_axes(path: Path, name: str, _) -> None:
    spoil(path, name, lambda a: a.reshape(len(a), -1))


def wrong_shape(path: Path, name: str, _) -> None:
    """One array disagrees with its coordinates or its fellow arrays."""
    spoil(path, name, lambda a: a[:, ..., :-3, :] if name in GROUPED else a[..., :-3])


def whole_numbers(path: Path, name: str, _) -> None:
    spoil(path, name, lambda a: a.astype(np.int32))


def texts(path: Path, name: str, _) -> None:
    spoil(path, name, lambda a: np.full(a.shape, b"x"))


def no_samples(path: Path, name: str, _) -> None:
    spoil(path, name, lambda a: a[:0])


def gone(path: Path, name: str, _) -> None:
    """The array itself is missing."""
    spoil(path, name, lambda a: None)


def _set(where, value):
    def change(a: np.ndarray) -> np.ndarray:
        a[where] = value
        return a

    return change


def nan_in_input(path: Path, name: str, _) -> None:
    if name == "darcy_pdebench":
        with h5py.File(path, "r+") as h5:
            h5["nu"][3, 5, 5] = np.nan
        return
    spoil(path, name, _set((0, 5) if name in GROUPED else (3, 0, 5), np.nan))


def infinity_in_target(path: Path, name: str, _) -> None:
    spoil(path, name, _set((-1, 5) if name in GROUPED else (3, -1, 5), np.inf))


CASES = {
    missing: "no such file",
    empty: "an empty file",
    directory: "a directory",
    truncated: "a truncated file|a damaged file|data that cannot be read",
    web_page: "a web page",
    garbage: "no HDF5 signature",
    no_permission: "no permission to read it",
    wrong_axes: "of shape",
    wrong_shape: "of shape|coordinates of lengths|`nu` .* and `tensor`|`density` .*`pressure`",
    whole_numbers: "of dtype int32",
    texts: "of dtype .*S1",
    no_samples: "of shape",
    gone: "missing or not an array|an HDF5 file with",
    nan_in_input: "NaN or infinity in sample 3, frame 0",
    infinity_in_target: "NaN or infinity in sample 3",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spoiled", CASES, ids=lambda f: f.__name__)
def test_one_message_names_file_found_expected_and_cure(name, spoiled, tmp_path, monkeypatch):
    path = tiny(name, tmp_path)
    spoiled(path, name, monkeypatch)
    with pytest.raises(DataError, match=CASES[spoiled]) as caught:
        TASKS[name].read(Request(tmp_path, cache=tmp_path / "cache"))
    error = caught.value
    assert Path(error.file) == path
    assert error.found and error.expected and len(error.cure) > 15
    assert str(error) == f"{path}: found {error.found}; expected {error.expected}. {error.cure}"
    assert "\n" not in str(error) and len(str(error)) < 700
    assert not list(tmp_path.glob("cache/*")), "nothing bad is cached"


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_too_few_samples_to_split_is_said(protocol, tmp_path):
    path = tiny("advection", tmp_path)
    spoil(path, "advection", lambda a: a[:4])
    with pytest.raises(DataError, match="4 samples; expected at least 5"):
        TASKS["advection"].read(Request(tmp_path, protocol=protocol))


def test_a_group_without_data_is_not_skipped(tmp_path):
    path = tiny("shallow_water", tmp_path)
    with h5py.File(path, "r+") as h5:
        h5.create_group("0024")
    with pytest.raises(DataError, match="`0024/data` missing"):
        TASKS["shallow_water"].read(Request(tmp_path))


def test_missing_fields_of_a_flow_are_said(tmp_path):
    path = tiny("cfd_1d", tmp_path)
    with h5py.File(path, "r+") as h5:
        del h5["Vx"]
    with pytest.raises(DataError, match="2 channels; expected at least 3"):
        TASKS["cfd_1d"].read(Request(tmp_path))


def test_a_file_damaged_inside_is_said(tmp_path):
    """A compressed block that no longer unpacks."""
    path = tiny("diffusion_sorption", tmp_path)
    with h5py.File(path) as h5:
        block = h5["0003/data"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[block.byte_offset : block.byte_offset + block.size] = b"\xff" * block.size
    path.write_bytes(content)
    with pytest.raises(DataError, match="data that cannot be read"):
        TASKS["diffusion_sorption"].read(Request(tmp_path))
