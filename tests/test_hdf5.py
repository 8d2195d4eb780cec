"""HDF5 files that lead elsewhere, declare more than they hold, are held by a writer, or need a filter: said, not met."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.contract import DataError, Request
from tasks.files.darcy_mat import read_variable
from tasks.files.generated import origin_of
from tests import fuzz_files
from tests.fuzz_files import GOOD, in_a_child
from tests.pde_helpers import TASKS, tiny


def read(name: str, root: Path) -> None:
    TASKS[name].read(Request(root))


def elsewhere(path: Path) -> Path:
    """Another whole file of the same layout, outside of the data folder."""
    other = path.with_name("other.hdf5")
    shutil.copy(path, other)
    return other


def external_link(path: Path) -> None:
    other = elsewhere(path)
    with h5py.File(path, "r+") as h5:
        del h5["tensor"]
        h5["tensor"] = h5py.ExternalLink(other, "tensor")


def dangling_external_link(path: Path) -> None:
    external_link(path)
    path.with_name("other.hdf5").unlink()


def soft_link(path: Path) -> None:
    with h5py.File(path, "r+") as h5:
        h5.move("tensor", "hidden")
        h5["tensor"] = h5py.SoftLink("/hidden")


def dangling_soft_link(path: Path) -> None:
    soft_link(path)
    with h5py.File(path, "r+") as h5:
        del h5["hidden"]


def external_storage(path: Path) -> None:
    with h5py.File(path, "r+") as h5:
        values = h5["tensor"][:]
        values.tofile(path.with_name("values.raw"))
        del h5["tensor"]
        files = [(str(path.with_name("values.raw")), 0, values.nbytes)]
        h5.create_dataset("tensor", values.shape, values.dtype, external=files)


def virtual_dataset(path: Path) -> None:
    other = elsewhere(path)
    with h5py.File(path, "r+") as h5:
        source = h5py.VirtualSource(other, "tensor", h5["tensor"].shape)
        layout = h5py.VirtualLayout(h5["tensor"].shape, h5["tensor"].dtype)
        layout[:] = source
        del h5["tensor"]
        h5.create_virtual_dataset("tensor", layout)


def linked_coordinates(path: Path) -> None:
    other = elsewhere(path)
    with h5py.File(path, "r+") as h5:
        del h5["x-coordinate"]
        h5["x-coordinate"] = h5py.ExternalLink(other, "x-coordinate")


@pytest.mark.parametrize(
    "change, found",
    [
        (external_link, r"link to tensor in .*other\.hdf5"),
        (dangling_external_link, r"link to tensor in .*other\.hdf5"),
        (soft_link, "link to /hidden"),
        (dangling_soft_link, "link to /hidden"),
        (external_storage, "data lie in other files"),
        (virtual_dataset, "data lie in other files"),
        (linked_coordinates, "link to x-coordinate"),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_only_the_given_file_is_read(change: Callable[[Path], None], found: str, tmp_path):
    path = tiny("advection", tmp_path)
    change(path)
    with pytest.raises(DataError, match=found):
        read("advection", tmp_path)


def test_a_group_that_is_a_link_is_refused_and_a_fifo_is_not_waited_for(tmp_path):
    import os

    path = tiny("shallow_water", tmp_path)
    os.mkfifo(tmp_path / "fifo")
    with h5py.File(path, "r+") as h5:
        del h5["0003"]
        h5["0003"] = h5py.ExternalLink(tmp_path / "fifo", "/")
    with pytest.raises(DataError, match=r"link to / in .*fifo"):
        read("shallow_water", tmp_path)


@pytest.mark.parametrize("chunks", [(1, 200, 500), None])
def test_a_small_file_that_declares_gigabytes_is_refused_at_once(chunks, tmp_path):
    path = tiny("advection", tmp_path)
    with h5py.File(path, "w") as h5:
        h5.create_dataset("tensor", (100_000, 200, 500), np.float32, chunks=chunks)
    assert path.stat().st_size < 10_000
    start = time.perf_counter()
    with pytest.raises(DataError, match="40,000,000,000 bytes, in a file of"):
        read("advection", tmp_path)
    assert time.perf_counter() - start < 2


def test_an_array_with_unwritten_chunks_is_refused(tmp_path):
    path = tiny("advection", tmp_path)
    with h5py.File(path, "w") as h5:
        values = h5.create_dataset("tensor", (40, 11, 64), np.float32, chunks=(10, 11, 64))
        values[:10] = np.random.default_rng(0).random((10, 11, 64))
    with pytest.raises(DataError, match="1 of 4 chunks were ever written"):
        read("advection", tmp_path)


def test_a_name_that_is_no_text_is_passed_over(tmp_path):
    path = tiny("advection", tmp_path)
    with h5py.File(path, "r+") as h5:
        h5.move("tensor", b"t\xffnsor")
    with pytest.raises(DataError, match="an HDF5 file with"):
        read("advection", tmp_path)


def test_coordinates_longer_than_the_field_are_not_read(tmp_path):
    path = tiny("advection", tmp_path)
    with h5py.File(path, "r+") as h5:
        del h5["x-coordinate"]
        h5.create_dataset("x-coordinate", (2**40,), np.float32, chunks=(1024,))
    with pytest.raises(DataError, match="x-coordinate` of shape"):
        read("advection", tmp_path)


def test_a_locked_file_is_read(tmp_path):
    path = tiny("advection", tmp_path)
    lock = "import fcntl, sys; f = open(sys.argv[1], 'rb+'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", lock, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout and holder.stdout.readline() == "held\n"
    with pytest.raises(BlockingIOError), path.open("rb") as f:
        fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
    path.with_name(path.name + ".generated.json").unlink()
    try:
        read("advection", tmp_path)
        assert origin_of(path) == "generated", "the mark in the file is read as well"
    finally:
        holder.communicate()


def test_a_write_mark_of_a_crash_names_h5clear_and_not_removal(tmp_path):
    path = tiny("advection", tmp_path)
    crash = "import h5py, os, sys; h5 = h5py.File(sys.argv[1], 'w', libver='latest'); h5['tensor'] = 1.0; h5.flush(); os._exit(0)"
    subprocess.run([sys.executable, "-c", crash, str(path)], check=True)
    with pytest.raises(DataError) as caught:
        read("advection", tmp_path)
    assert "open for writing" in caught.value.found and f"h5clear -s '{path}'" in caught.value.cure
    assert "Remove" not in str(caught.value)


def test_a_filter_that_is_not_here_is_named(tmp_path):
    path = tiny("advection", tmp_path)
    with h5py.File(path, "r+") as h5:
        shape = h5["tensor"].shape
        del h5["tensor"]
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk(shape)
        plan.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, (2, 2, 4, 4, 5, 1, 0))
        h5py.h5d.create(h5.id, b"tensor", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple(shape), plan)
        h5["tensor"][:] = 1.0
    with pytest.raises(DataError) as caught:
        read("advection", tmp_path)
    assert "(32001)" in caught.value.found and "hdf5plugin" in caught.value.cure and "h5repack" in caught.value.cure
    assert "Remove" not in str(caught.value)


def test_darcys_matlab_file_is_held_to_the_same(tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as h5:
        h5.create_dataset("coeff", (421, 421, 10**6), np.float64, chunks=(1, 421, 100))
        h5["sol"] = h5py.ExternalLink("/dev/zero", "sol")
    with pytest.raises(DataError, match="in a file of"):
        read_variable(path, "coeff", 10)
    with pytest.raises(DataError, match="link to sol in /dev/zero"):
        read_variable(path, "sol", 10)


@pytest.mark.parametrize("at", [17, 51], ids=["crashed", "never came back"])
def test_a_damaged_attribute_that_is_no_number_is_left_unread(tmp_path, at):
    """Bytes behind the name of the mark, an attribute of text, at which reading all attributes ended so."""
    path = tiny("advection", tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"generated_by") + at] = 0xFF
    path.write_bytes(damaged)
    assert in_a_child(lambda: fuzz_files.read(TASKS["advection"], tmp_path)) == GOOD
