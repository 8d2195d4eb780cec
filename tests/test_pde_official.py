"""Files laid out by PDEBench's own generators, small N: what readers make of them, and a run from file to record."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from bench.cli import main
from tasks.contract import Request
from tasks.files.generated import origin_of
from tests.pde_helpers import TASKS
from tests.pdebench_layouts import WRITERS, burgers

KEYS = {"cfd_1d": ("density", "pressure", "Vx"), "cfd_2d": ("density", "pressure", "Vx", "Vy")}
CHANNEL = {"diffusion_reaction_2d": (0, 1)}


def written(name: str, root: Path, **how) -> Path:
    path = root / TASKS[name].files[0].path
    WRITERS[name](path, **how)
    return path


def stored(path: Path, name: str, frame: int, channel: int) -> np.ndarray:
    """One frame of every sample as h5py gives it out, (n, C, *space)."""
    with h5py.File(path) as h5:
        if "0000" in h5:
            return np.stack([h5[g]["data"][frame, ..., channel] for g in sorted(h5)])[:, None]
        return np.stack([h5[k][:, frame] for k in KEYS.get(name, ("tensor",))], axis=1)


@pytest.mark.parametrize("name", WRITERS)
def test_every_family_is_read_under_both_protocols(name, tmp_path):
    path, task = written(name, tmp_path), TASKS[name]
    assert origin_of(path) == "official"
    strict, paper = (task.read(Request(tmp_path, p, cache=tmp_path / "copies")) for p in ("strict", "paper"))
    # of 12 samples published code tests on int(0.1 * 12) = 1 in front, or on those from int(0.9 * 12) = 10 on
    tested = {p: 1 if data.notes["split_policy"] == "pdebench-first10" else 2 for p, data in zip("sp", (strict, paper))}
    assert [len(s) for s in (strict.train, strict.val, strict.test)] == [11 - tested["s"], 1, tested["s"]]
    assert [len(s) for s in (paper.train, paper.test)] == [12 - tested["p"], tested["p"]] and paper.val is None
    assert strict.notes["warnings"] == paper.notes["warnings"] == []
    into, out = CHANNEL.get(name, (0, 0))
    row = 0 if strict.notes["split_policy"] == "pdebench-first10" else 10
    assert np.array_equal(strict.test.x[0], stored(path, name, 0, into)[row])
    assert np.array_equal(strict.test.y[0], stored(path, name, -1, out)[row])
    if name not in KEYS:
        frames = paper.notes["frames"]
        assert np.array_equal(paper.test.y[0], stored(path, name, frames["target_test"], out)[row])
        assert np.array_equal(paper.train.y[0], stored(path, name, frames["target_train"], out)[1 if row == 0 else 0])


@pytest.mark.parametrize("n", [5, 10, 16, 24])
def test_any_small_number_of_samples_has_all_splits(n, tmp_path):
    written("burgers", tmp_path, n=n)
    data = TASKS["burgers"].read(Request(tmp_path))
    assert len(data.test) == len(data.val) == max(1, n // 10) and len(data.train) == n - 2 * max(1, n // 10)


@pytest.mark.parametrize("left_out", ["x-coordinate", "t-coordinate", "both", "attributes", "all"])
def test_coordinates_and_attributes_may_be_missing_and_others_may_be_there(left_out, tmp_path):
    path = written("burgers", tmp_path)
    before = TASKS["burgers"].read(Request(tmp_path))
    with h5py.File(path, "r+") as h5:
        for key in ("x-coordinate", "t-coordinate"):
            if left_out in (key, "both", "all"):
                del h5[key]
        if left_out in ("attributes", "all"):
            del h5.attrs["Nu"]
        h5["mask"], h5.attrs["author"] = np.zeros(3), "somebody"
    data = TASKS["burgers"].read(Request(tmp_path))
    assert np.array_equal(data.train.y, before.train.y) and data.notes["warnings"] == []


def test_a_constant_may_be_an_array_of_one(tmp_path):
    path = written("burgers", tmp_path)
    with h5py.File(path, "r+") as h5:
        h5.attrs["Nu"] = np.array([1.0], np.float32)
    assert TASKS["burgers"].read(Request(tmp_path)).notes["constants"] == {"nu": 1.0}


def test_old_burgers_domain_of_a_reference_file_is_warned_of(tmp_path):
    written("burgers", tmp_path, low=-1.0)
    (warning,) = TASKS["burgers"].read(Request(tmp_path)).notes["warnings"]
    assert "x runs over (-0.999, 0.999)" in warning


def test_targets_that_are_zero_everywhere_are_warned_of(tmp_path):
    path = written("diffusion_reaction_1d", tmp_path)
    with h5py.File(path, "r+") as h5:
        h5["tensor"][0, -1], h5["tensor"][5, -1] = 0, 0
    assert [text[:14] for text in TASKS["diffusion_reaction_1d"].read(Request(tmp_path)).notes["warnings"]] == [
        "1 of 10 train ", "1 of 1 test ta",
    ]  # fmt: skip


def test_a_folder_that_cannot_be_written_is_read_without_a_copy():
    root = Path(tempfile.mkdtemp())
    written("burgers", root)
    for folder in (root, *(p for p in root.rglob("*") if p.is_dir())):
        folder.chmod(0o555)
    expected = TASKS["burgers"].read(Request(root))
    lesser = os.geteuid() == 0
    if lesser:
        os.seteuid(65534)
    try:
        data = TASKS["burgers"].read(Request(root, cache=root / ".cache"))
    finally:
        if lesser:
            os.seteuid(0)
    assert np.array_equal(data.train.x, expected.train.x) and not (root / ".cache").exists()
    for folder in (root, *(p for p in root.rglob("*") if p.is_dir())):
        folder.chmod(0o755)
    shutil.rmtree(root)


def test_from_an_official_file_to_a_record_that_tells_a_frozen_target(tmp_path, capsys):
    """Burgers as released: the record has origin, verification, the share of constant targets and what a mean scores."""
    burgers(tmp_path / "data" / Path(TASKS["burgers"].files[0].path).name, n=12, low=-1.0)
    where = ("--data-dir", str(tmp_path / "data"), "--results-dir", str(tmp_path / "results"))
    assert main(["run", "--tasks", "burgers", "--profile", "tiny", *where]) == 0
    assert "warning: burgers: x runs over (-0.999" in capsys.readouterr().err
    (path,) = (p for p in (tmp_path / "results").glob("burgers.*.json") if not p.name.endswith("curves.json"))
    record = json.loads(path.read_text())
    assert record["origin"] == "official" and list(record["data"]["verification"].values()) == ["not verified"]
    assert record["data"]["notes"]["target_nearly_constant"] == 1.0
    trivial = record["trivial"]
    assert trivial["name"] == "input_mean" and trivial["score"] < 3e-3 < 0.05 < trivial["all"]["mean"]
    assert not record["beats_trivial"], "two epochs do not beat the mean of the input"
