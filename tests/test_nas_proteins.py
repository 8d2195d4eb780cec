"""PSICOV: channels and distances against loops, padding, cropping, and the window of a long protein."""

import shutil

import numpy as np
import pytest

from tasks.contract import Request
from tasks.files import psicov
from tasks.files.pickles import load_pickle
from tasks.metrics import METRICS
from tasks.psicov import TASK
from tests.nas_helpers import read, stand_in, whole


@pytest.fixture
def folder(shared_data):
    return stand_in(shared_data, "psicov") / "protein"


def channels_by_loops(table):
    length = len(table["seq"])
    lines = [*table["ss"], *table["pssm"].T, table["sa"], table["entropy"]]
    out = []
    for line in lines:
        tiled = np.repeat(line.reshape(1, length), length, axis=0)
        out += [tiled, tiled.T]
    return np.stack([*out, table["ccmpred"], table["freecon"], table["potential"]])


def test_channels_equal_loops_over_features(folder):
    path = folder / "deepcov/features/d00002.pkl"
    found = psicov.channels(path)
    assert found.shape[0] == 57 and found.dtype == np.float32
    np.testing.assert_array_equal(found, channels_by_loops(load_pickle(path)))


def test_distances_are_floored_and_the_diagonal_comes_from_neighbours(tmp_path):
    own = np.array([[0, 3, 9.0, 0.5], [3, 0, 4, 8], [9, 4, 0, 5], [0.5, 8, 5, 0]])
    triple = np.empty(3, object)
    triple[:] = [4, "ACDE", own]
    path = tmp_path / "p-cb.npy"
    np.save(path, triple, allow_pickle=True)
    found = psicov.distances(path, 5)
    expected = np.maximum(own, 1.0)
    np.fill_diagonal(expected, [3, 3.5, 4.5, 5])
    np.testing.assert_allclose(found[:4, :4], expected.astype(np.float32))
    assert np.isnan(found[4]).all() and np.isnan(found[:, 4]).all()


def test_placement_padding_and_clipping(shared_data, folder):
    strict, paper = read(shared_data, "psicov"), read(shared_data, "psicov", "paper")
    test = whole(strict.test)
    for b, length in enumerate(test.extra["length"]):
        inside = slice(5, 5 + length)
        keep = np.zeros_like(test.extra["ignore"][b, 0])
        keep[inside, inside] = True
        np.testing.assert_array_equal(test.extra["ignore"][b, 0], ~keep)
        assert (test.y[b, 0][~keep] == 100).all() and not test.x[b][:, ~keep].any()
        name = strict.test.names[b]
        np.testing.assert_array_equal(
            test.x[b][:, inside, inside], psicov.channels(folder / f"psicov/features/{name}.pkl")
        )
        assert test.y[b].max() == 100 and test.y[b, 0][keep].max() > 16
    assert whole(strict.train).y.max() == 16 and whole(strict.val).y.max() == 100
    assert not whole(paper.train).extra["ignore"].any() and whole(paper.test).extra["ignore"].any()


def test_a_long_protein_is_cropped_from_its_start_or_at_random(folder):
    names = ("d00000", "d00001", "d00002")
    small = psicov.Proteins(folder, names, window=36)
    plain = small.batch(np.arange(3), None)
    assert plain.x.shape == (3, 57, 36, 36) and (plain.extra["length"] == 26).all()
    full = psicov.channels(folder / "deepcov/features/d00000.pkl")
    np.testing.assert_array_equal(plain.x[0][:, 5:31, 5:31], full[:, :26, :26])
    drawn = [small.batch(np.arange(3), np.random.default_rng(s)).x for s in range(3)]
    assert any(not np.array_equal(drawn[0], d) for d in drawn[1:])
    np.testing.assert_array_equal(small.batch(np.arange(3), np.random.default_rng(0)).x, drawn[0])


def test_unknown_distances_are_ignored_not_zero(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "protein")
    path = tmp_path / "protein/deepcov/distance/d00000-cb.npy"
    stored = np.load(path, allow_pickle=True)
    stored[2][3, 20] = np.nan
    np.save(path, stored, allow_pickle=True)
    batch = psicov.Proteins(tmp_path / "protein", ("d00000",), 64).batch(np.arange(1), None)
    assert batch.extra["ignore"][0, 0, 8, 25] and batch.y[0, 0, 8, 25] == 100
    assert not batch.extra["ignore"][0, 0, 8, 26]


def test_under_paper_an_unknown_distance_is_a_contact_at_zero_that_the_strict_metric_leaves_out(shared_data, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(stand_in(shared_data, "psicov"), root)
    name = (root / "protein/psicov.lst").read_text().split()[0]
    path = root / f"protein/psicov/distance/{name}-cb.npy"
    stored = np.load(path, allow_pickle=True)
    stored[2][2, 30] = np.nan
    np.save(path, stored, allow_pickle=True)
    strict, paper = (
        TASK.read(Request(root, protocol)).test.batch(np.arange(1), None) for protocol in ("strict", "paper")
    )
    assert (strict.y[0, 0, 7, 35], paper.y[0, 0, 7, 35]) == (100, 0) and paper.extra["ignore"][0, 0, 7, 35]
    guess = np.full_like(paper.y, 9.0)
    mae8 = METRICS["mae8"]
    assert mae8(guess, paper.y, paper.extra) == mae8(guess, strict.y, strict.extra)
    assert METRICS["mae8_paper"](guess, paper.y, paper.extra) > METRICS["mae8_paper"](guess, strict.y, strict.extra)


def test_the_official_window_is_512(shared_data, tmp_path):
    root = tmp_path / "data"
    shutil.copytree(stand_in(shared_data, "psicov"), root)
    (root / "protein/deepcov.lst.generated.json").unlink()
    data = TASK.read(Request(root))
    assert data.input_shape == TASK.input_shape and data.output_shape == TASK.output_shape
    assert data.test.batch(np.arange(1), None).x.shape == (1, 57, 512, 512)
