"""PDEBench files of the true shape, sparse or made small on disk: published sizes of splits, memory and bytes read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.contract import Request
from tests.pde_helpers import TASKS

FULL = {
    "advection": {"tensor": (10000, 201, 1024)},
    "burgers": {"tensor": (10000, 201, 1024)},
    "diffusion_reaction_1d": {"tensor": (10000, 101, 1024)},
    "cfd_1d": dict.fromkeys(("density", "pressure", "Vx"), (10000, 101, 1024)),
    "darcy_pdebench": {"nu": (10000, 128, 128), "tensor": (10000, 1, 128, 128)},
}
"""True shapes of the flat official files that are cheap to read sparse."""


def sparse(name: str, root: Path) -> Path:
    """A file of the true shape whose zeros take no disk space; the name carries the coefficients."""
    path = root / TASKS[name].files[0].path
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as h5:
        for key, shape in FULL[name].items():
            h5.create_dataset(key, shape, np.float32)[0] = np.ones(shape[1:], np.float32)
    assert path.stat().st_blocks * 512 < 64 * 2**20
    return path


pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", sorted(FULL))
def test_published_sizes_shapes_and_split_on_a_file_of_the_true_shape(name, tmp_path):
    sparse(name, tmp_path)
    task = TASKS[name]
    data = task.read(Request(tmp_path))
    assert {"train": len(data.train), "val": len(data.val), "test": len(data.test)} == dict(task.splits)
    assert np.prod(data.input_shape) == np.prod(task.input_shape)
    assert data.output_shape[-1] in (task.output_shape[-1], 1024)
    assert data.test.x[0].any() and not data.test.x[1:].any(), "the first tenth of a flat file is test"
    published = {"advection": 4, "darcy_pdebench": 2}
    assert data.notes["stride"] == published.get(name, 1)
    assert data.notes["frames"]["target_test"] == FULL[name]["tensor" if name != "cfd_1d" else "Vx"][1] - 1


def test_paper_protocol_has_the_published_sizes_and_shape(tmp_path):
    sparse("cfd_1d", tmp_path)
    data = TASKS["cfd_1d"].read(Request(tmp_path, protocol="paper"))
    assert (len(data.train), data.val, len(data.test)) == (9000, None, 1000)
    assert data.input_shape == data.output_shape == (1, 3072)


GROUPED = {
    "diffusion_sorption": (10000, (101, 1024, 1), (13, 256, 1)),
    "shallow_water": (1000, (101, 128, 128, 1), None),
    "diffusion_reaction_2d": (1000, (101, 128, 128, 2), (13, 16, 32, 1)),
}


@pytest.mark.parametrize("name", GROUPED)
def test_published_sizes_and_shapes_on_a_grouped_file_of_the_true_shape(name, tmp_path):
    """All groups but the last are links to one array of zeros: the true number of samples in a few megabytes."""
    task, (n, shape, chunks) = TASKS[name], GROUPED[name]
    path = tmp_path / task.files[0].path
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as h5:
        for number in (0, n - 1):
            compression = "lzf" if chunks else None
            zeros = np.zeros(shape, np.float32)
            h5.create_dataset(f"{number:04d}/data", data=zeros, chunks=chunks, compression=compression)
        h5[f"{n - 1:04d}/data"][0] = 1
        for number in range(1, n - 1):
            h5[f"{number:04d}"] = h5["0000"]
    data = task.read(Request(tmp_path))
    assert {"train": len(data.train), "val": len(data.val), "test": len(data.test)} == dict(task.splits)
    assert data.input_shape == task.input_shape and data.output_shape == task.output_shape
    assert data.test.x[-1].all() and not data.test.x[:-1].any() and not data.train.x.any()
    assert data.notes["stride"] == 1 and data.notes["frames"]["target_test"] == 100


def test_published_sizes_of_cfd_2d_whose_file_would_fill_a_disk(tmp_path):
    """The true number of samples and frames on 4 x 4 points; the split of published code is another."""
    task = TASKS["cfd_2d"]
    path = tmp_path / task.files[0].path
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as h5:
        for key in ("density", "pressure", "Vx", "Vy"):
            h5[key] = np.ones((10000, 21, 4, 4), np.float32)
    strict, paper = (task.read(Request(tmp_path, protocol)) for protocol in ("strict", "paper"))
    assert {"train": len(strict.train), "val": len(strict.val), "test": len(strict.test)} == dict(task.splits)
    assert (len(paper.train), len(paper.test)) == (9000, 1000)
    assert (strict.notes["split_policy"], paper.notes["split_policy"]) == ("pdebench-first10", "pdebench-last10")
    assert strict.notes["frames"]["target_test"] == 20


PROBE = """
import sys
from pathlib import Path
from tasks.contract import Request
from tasks.advection import TASK
import numpy, h5py, tasks.files.pairs
def number(file, name):
    return int(Path("/proc/self", file).read_text().split(name)[1].split()[0])
def read_so_far():
    return number("io", "rchar:")
root, before = Path(sys.argv[1]), read_so_far()
data = TASK.read(Request(root, cache=root / "cache"))
first = read_so_far() - before
data = TASK.read(Request(root, cache=root / "cache"))
print(1024 * number("status", "VmHWM:"), first, read_so_far() - before - first, len(data.train))
"""


def test_full_size_advection_needs_little_memory_and_reads_little_more_than_it_uses(tmp_path):
    path = sparse("advection", tmp_path)
    assert path.stat().st_size > 8.2e9
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", PROBE, str(tmp_path)], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    peak, first, second, train = map(int, done.stdout.split())
    used = 10000 * 2 * 1024 * 4
    print(f"peak {peak:,} bytes; read {first:,} bytes the first time, {second:,} the second")
    assert train == 8100
    assert peak < 300e6
    assert first < 1.3 * used + 66 * 2**16 + 2e6, "two rows of each sample, and the fingerprint's blocks"
    assert second < 10000 * 2 * 256 * 4 + 66 * 2**16 + 2e6, "the second time only the decimated copy is read"
