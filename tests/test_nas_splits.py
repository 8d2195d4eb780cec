"""Split sizes against the published table on official shapes, kept small by views, lists and sparse files."""

import csv
import json
import shutil

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.contract import Request
from tasks.files.ecg import split_records
from tasks.files.splits import drawn
from tests.nas_helpers import stand_in, task

PAPER_TRAIN = {
    "cifar100": 50_000, "spherical": 50_000, "ninapro": 3_297, "darcy_nb360": 1_000, "psicov": 3_456, "cosmic": 4_830,
    "satellite": 900_000, "deepsea": 74_243, "fsd50k": 36_796,
}  # fmt: skip


def zeros(*shape, dtype=np.uint8):
    """An array of that shape that takes no memory."""
    return np.broadcast_to(np.zeros((), dtype), shape)


def cifar100(root, monkeypatch):
    counts = {"train": 50_000, "test": 10_000}

    def table(path, **_):
        n = counts[path.name]
        return {b"data": zeros(n, 3072), b"fine_labels": zeros(n, dtype=np.int64)}

    monkeypatch.setattr("tasks.files.pickles.load_pickle", table)


def spherical(root, monkeypatch):
    part = {n: {"images": zeros(n, 3, 60, 60), "labels": zeros(n, dtype=np.int64)} for n in (50_000, 10_000)}
    monkeypatch.setattr(
        "tasks.files.pickles.load_pickle", lambda *a, **k: {"train": part[50_000], "test": part[10_000]}
    )


def ninapro(root, monkeypatch):
    for part, n in (("train", 2638), ("val", 659), ("test", 659)):
        np.save(root / f"ninaPro/ninapro_{part}.npy", zeros(n, 52, 16, dtype=np.float32))
        np.save(root / f"ninaPro/label_{part}.npy", zeros(n, dtype=np.int8))


def satellite(root, monkeypatch):
    def table(path, **_):
        n = 900_000 if "train" in path.name else 100_000
        return {"data": zeros(n, 46, dtype=np.float32), "label": np.ones(n, np.int64)}

    monkeypatch.setattr("tasks.files.pickles.load_npy_object", table)


def deepsea(root, monkeypatch):
    counts = {"train": 71_753, "val": 2_490, "test": 149_400}

    def member(path, name, shape, arrange=None):
        n = counts[name[2:]]
        return zeros(n, 4, 1) if name[0] == "x" else zeros(n, 36)

    monkeypatch.setattr("tasks.files.npz.read_binary", member)


def darcy_nb360(root, monkeypatch):
    """The true shape in a sparse MATLAB 7.3 file: 1.4 GB each, nothing of it on disk, which a reader would refuse."""
    monkeypatch.setattr("tasks.files.darcy_mat.check_stored", lambda path, name, array: array)
    for number in (1, 2):
        path = root / f"darcy/piececonst_r421_N1024_smooth{number}.mat"
        path.unlink()
        with h5py.File(path, "w") as f:
            for name in ("coeff", "sol"):
                f.create_dataset(name, (421, 421, 1024), "f8", chunks=(1, 421, 1024))
        assert path.stat().st_size < 10_000


def psicov(root, monkeypatch):
    for group, n in (("deepcov", 3_456), ("psicov", 150)):
        path = root / f"protein/{group}.lst"
        path.write_text(path.read_text().splitlines()[0] + "\n" + (path.read_text().splitlines()[1] + "\n") * (n - 1))


def cosmic(root, monkeypatch):
    for part, n in (("train", 4_830), ("test", 420)):
        path = root / f"cosmic/{part}_dirs.npy"
        np.save(path, np.repeat(np.load(path)[:1], n))
    one = (zeros(8, 8, dtype=np.float32), zeros(8, 8, dtype=bool), zeros(8, 8, dtype=bool))
    monkeypatch.setattr("tasks.files.cosmic.read_stack", lambda path: one)
    monkeypatch.setattr("tasks.files.cosmic.sky_level", lambda path: 0.0)


def fsd50k(root, monkeypatch):
    folder = root / "audio/data/chunks"
    names = {f"sound_{i}": i for i in range(200)}
    (folder / "lbl_map.json").write_text(json.dumps(names))
    for name, n in (("tr", 36_796), ("val", 4_170), ("eval", 10_231)):
        with (folder / f"{name}.csv").open(newline="") as f:
            file = next(iter(csv.DictReader(f)))["files"]
        with (folder / f"{name}.csv").open("w", newline="") as f:
            csv.writer(f).writerows([("files", "labels", "ext"), *((file, f"sound_{i % 200}", i) for i in range(n))])


MAKERS = {
    f.__name__: f for f in (cifar100, spherical, ninapro, satellite, deepsea, darcy_nb360, psicov, cosmic, fsd50k)
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_sizes_of_official_layouts_are_the_published_ones(shared_data, tmp_path, monkeypatch, name):
    root = tmp_path / "data"
    shutil.copytree(stand_in(shared_data, name), root)
    MAKERS[name](root, monkeypatch)
    spec = task(name)
    strict, paper = spec.read(Request(root)), spec.read(Request(root, "paper"))
    sizes = {"train": len(strict.train), "val": len(strict.val), "test": len(strict.test)}
    assert sizes == dict(spec.splits)
    assert len(paper.train) == PAPER_TRAIN[name] and paper.val is None and len(paper.test) == spec.splits["test"]
    if name == "fsd50k":
        assert strict.output_shape == (200,)
    if name == "darcy_nb360":
        assert strict.input_shape == spec.input_shape and strict.output_shape == spec.output_shape


def test_ecg_splits_the_8528_records_into_tenths():
    strict, paper = split_records(8528, True), split_records(8528, False)
    assert [len(strict[k]) for k in ("train", "val", "test")] == [6822, 853, 853]
    assert [len(paper[k]) for k in ("train", "test")] == [7675, 853]
    for rows in (strict, paper):
        assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(8528))
    from sklearn.model_selection import train_test_split

    train, rest = train_test_split(np.arange(8528), test_size=0.2, random_state=0)
    np.testing.assert_array_equal(strict["train"], train)
    np.testing.assert_array_equal(np.sort(np.concatenate([strict["val"], strict["test"]])), np.sort(rest))


@pytest.mark.parametrize("name", ["cifar100", "spherical", "darcy_nb360", "cosmic"])
def test_validation_is_the_last_part_of_training(shared_data, name):
    spec, root = task(name), stand_in(shared_data, name)
    strict, paper = spec.read(Request(root)), spec.read(Request(root, "paper"))
    together = paper.train.batch(np.arange(len(paper.train)), None)
    val = strict.val.batch(np.arange(len(strict.val)), None)
    np.testing.assert_array_equal(val.y, together.y[-len(val.y) :])
    np.testing.assert_array_equal(strict.train.batch(np.arange(2), None).y, together.y[:2])


def test_satellite_validation_is_seeded_and_disjoint(shared_data):
    spec, root = task("satellite"), stand_in(shared_data, "satellite")
    one, two = spec.read(Request(root)), spec.read(Request(root))
    np.testing.assert_array_equal(one.val.x, two.val.x)
    assert one.notes["indices_sha256"] == two.notes["indices_sha256"]
    rows = {row.tobytes() for row in one.train.x} & {row.tobytes() for row in one.val.x}
    assert not rows


# -- the training samples that a limit leaves --------------------------------------------------------------------------


def kept(rows, limit, seed, labels=None):
    return drawn(rows, Request(None, limit=limit, seed=seed), labels)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.lists(st.integers(0, 6), min_size=1, max_size=60))
def test_smaller_limits_lie_in_larger_ones_and_classes_keep_their_shares(seed, classes, values):
    labels = np.array([9, *values])  # sample 0 is no training sample
    rows = np.arange(1, len(labels))
    subsets = [kept(rows, limit, seed, labels if classes else None) for limit in range(1, len(rows) + 3)]
    for limit, subset in enumerate(subsets, 1):
        assert len(subset) == min(limit, len(rows)) and (np.diff(subset) > 0).all()
        assert set(subset) <= set(subsets[min(limit, len(subsets) - 1)])
        if classes:
            there, found = (np.unique(labels[r], return_counts=True) for r in (rows, subset))
            if limit >= len(there[0]):
                assert found[0].tolist() == there[0].tolist(), "each class comes at least once"
            else:
                assert found[1].max() == 1, "each at most once"
    np.testing.assert_array_equal(subsets[-1], rows)


def test_a_subset_is_drawn_by_its_seed_alone_and_in_proportion():
    rows, labels = np.arange(1000), np.repeat([0, 1, 2, 3], [600, 300, 90, 10])
    np.testing.assert_array_equal(kept(rows, 100, 5, labels), kept(rows, 100, 5, labels))
    draws = [kept(rows, 100, seed, labels) for seed in range(5)]
    assert {tuple(np.bincount(labels[d])) for d in draws} == {(60, 30, 9, 1)}
    assert len({tuple(d) for d in draws}) == 5 and len({tuple(kept(rows, 100, seed)) for seed in range(5)}) == 5
    seen = np.bincount(np.concatenate([kept(rows, 100, seed) for seed in range(200)]), minlength=1000)
    assert 5 < seen[:100].mean() < 40 and 15 < seen[500:].mean() < 25, "no end of the file is favoured"
