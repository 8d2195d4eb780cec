"""Packed arrays: what a file promises is compared with what it holds before room is made for it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tasks.contract import DataError
from tasks.files.arrays import read_arrays
from tasks.files.npz import read_binary


def write(path: Path, shape: tuple[int, ...], content: bytes, descr: str = "|u1") -> None:
    """An `.npz` file whose array `x` promises that shape and is followed by that content."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": descr, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", head.getvalue() + content)


def test_an_array_is_read(tmp_path):
    write(tmp_path / "a.npz", (2, 3), bytes([0, 1, 0, 1, 1, 0]))
    assert read_binary(tmp_path / "a.npz", "x", (None, 3)).tolist() == [[0, 1, 0], [1, 1, 0]]


@pytest.mark.parametrize("shape", [(2**40, 3), (2**62, 3), (3, 3)])
def test_more_rows_than_there_are_bytes_are_refused(tmp_path, shape):
    write(tmp_path / "a.npz", shape, bytes(6))
    with pytest.raises(DataError, match="of shape"):
        read_binary(tmp_path / "a.npz", "x", (None, 3))


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path):
    write(tmp_path / "a.npz", (10**8, 1), bytes(10**8))
    assert (tmp_path / "a.npz").stat().st_size < 10**6
    with pytest.raises(DataError, match=r"100,000,\d+ bytes, packed"):
        read_binary(tmp_path / "a.npz", "x", (None, 1))


def test_booleans_other_than_0_and_1_are_refused(tmp_path):
    write(tmp_path / "a.npz", (2, 2), b"\x00\x01\xff\x02", "|b1")
    with pytest.raises(DataError, match="booleans"):
        read_binary(tmp_path / "a.npz", "x", (None, 2))


def test_a_header_that_is_no_python_is_no_traceback(tmp_path):
    write(tmp_path / "a.npz", (2, 3), bytes(6))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        content = archive.read("x.npy").replace(b"(2,", b" 2,")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(DataError, match=r"no \.npy header"):
        read_binary(tmp_path / "a.npz", "x", (None, 3))


def test_an_encrypted_archive_is_no_traceback(tmp_path):
    write(tmp_path / "a.npz", (2, 3), bytes(6))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[6] |= 1  # the flag in the local header, and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match="encrypted"):
        read_binary(tmp_path / "a.npz", "x", (None, 3))


@pytest.mark.parametrize("head", [b"{'descr': '<f4', (", b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}"])
def test_a_header_that_is_no_python_or_promises_objects_is_a_value_error(tmp_path, head):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + bytes(8))
    with pytest.raises(ValueError, match=r"no \.npy header|holds objects"):
        read_arrays(tmp_path / "a.npz")


def test_a_small_file_that_unpacks_to_far_more_is_refused_before_room_is_made(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", bytes(1 << 24))
    with pytest.raises(ValueError, match="16,777,216 bytes, expected at most"):
        read_arrays(tmp_path / "a.npz")
