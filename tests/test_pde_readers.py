"""Readers of PDEBench files: splits, decimation, copies, and the oddities of official files."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.contract import DataError, Request
from tasks.files.generated import origin_of
from tasks.files.pdebench import read_header
from tasks.files.splits import indices_hash, split
from tests.pde_helpers import NAMES, TASKS, shared_samples, tiny


@pytest.mark.parametrize("name", ["diffusion_sorption", "shallow_water", "diffusion_reaction_2d"])
def test_grouped_files_test_on_the_last_tenth(name, tmp_path):
    n = 10000 if name == "diffusion_sorption" else 1000
    rows = split("pdebench-last10", n, validation=True)
    assert {k: len(v) for k, v in rows.items()} == dict(TASKS[name].splits)
    assert rows["test"].tolist() == list(range(n - n // 10, n))
    assert [len(split("pdebench-last10", n, validation=False)["test"]) for n in (24, 25, 30, 31, 1003)] == [
        3,
        3,
        3,
        4,
        101,
    ]
    assert [len(split("pdebench-first10", n, validation=False)["test"]) for n in (24, 25, 30, 31, 1003)] == [
        2,
        2,
        3,
        3,
        100,
    ]
    path = tiny(name, tmp_path)
    data = TASKS[name].read(Request(tmp_path))
    with h5py.File(path) as h5:
        assert np.array_equal(data.test.x[-1, 0], h5["0023/data"][0, ..., 0])
        assert np.array_equal(data.test.y[-1, 0], h5["0023/data"][-1, ..., TASKS[name].name.endswith("_2d") * 1])


def test_validation_is_seeded_by_the_benchmark_and_disjoint():
    rows = split("pdebench-first10", 10000, validation=True)
    assert sorted(np.concatenate(list(rows.values())).tolist()) == list(range(10000))
    again = split("pdebench-first10", 10000, validation=True)
    assert indices_hash(rows) == indices_hash(again)
    assert rows["val"].tolist() != list(range(rows["val"][0], rows["val"][0] + 900)), "drawn, not a block"
    with pytest.raises(ValueError, match="pdebench-first10 or pdebench-last10"):
        split("first", 100, validation=True)


def test_cached_copy_gives_the_same_data_and_follows_the_file(tmp_path):
    path = tiny("advection", tmp_path)
    request = Request(tmp_path, cache=tmp_path / "cache")
    first, second = TASKS["advection"].read(request), TASKS["advection"].read(request)
    assert np.array_equal(first.train.x, second.train.x) and np.array_equal(first.test.y, second.test.y)
    (copy,) = (tmp_path / "cache").iterdir()
    copy.write_bytes(copy.read_bytes()[:100])
    assert np.array_equal(TASKS["advection"].read(request).train.x, first.train.x), "half a copy is made again"
    with h5py.File(path, "r+") as h5:
        h5["tensor"][:] *= 2
    assert np.array_equal(TASKS["advection"].read(request).train.x, 2 * first.train.x)


@pytest.mark.parametrize("name", NAMES)
def test_stand_in_is_read_under_both_protocols(name, tmp_path):
    tiny(name, tmp_path)
    strict, paper = (TASKS[name].read(Request(tmp_path, protocol=p)) for p in ("strict", "paper"))
    n = TASKS[name].sizes["tiny"]["samples"]
    assert len(strict.train) + len(strict.val) + len(strict.test) == n == len(paper.train) + len(paper.test)
    assert paper.val is None and paper.decode is None
    assert strict.notes["split_policy"].startswith("pdebench-") and len(strict.notes["indices_sha256"]) == 64
    batch = strict.train.batch(np.arange(3), None)
    assert batch.x.dtype == batch.y.dtype == np.float32
    assert batch.x.shape == (3, *strict.input_shape) and batch.y.shape == (3, *strict.output_shape)
    one, same, other = (TASKS[name].read(Request(tmp_path, limit=5, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(one.train.x, same.train.x) and not np.array_equal(one.train.x, other.train.x)
    held = {x.tobytes() for x in strict.train.x}
    assert len(one.train) == 5 and all(x.tobytes() in held for x in one.train.x)
    assert np.array_equal(one.test.x, strict.test.x) and np.array_equal(one.val.y, strict.val.y)
    assert "drawn by seed 1" in one.notes["training_subset"]


@pytest.mark.parametrize("name", NAMES)
def test_more_samples_never_change_the_first_ones_and_files_repeat_byte_for_byte(name, tmp_path):
    task, few = TASKS[name], {**TASKS[name].sizes["tiny"], "samples": 11}
    for folder, size in (("a", few), ("b", {**few, "samples": 13}), ("c", few)):
        task.generate(tmp_path / folder, **size)
    a, b, c = (tmp_path / folder / task.files[0].path for folder in "abc")
    assert a.read_bytes() == c.read_bytes()
    with h5py.File(a) as small, h5py.File(b) as large:
        if "0000" in small:
            assert all(np.array_equal(small[g]["data"], large[g]["data"]) for g in small)
        else:
            assert all(np.array_equal(small[k], large[k][:11]) for k in small if small[k].ndim > 1)


@pytest.mark.parametrize("name", NAMES)
def test_stand_in_has_the_official_layout(name, tmp_path):
    path = tiny(name, tmp_path)
    task, header = TASKS[name], read_header(path)
    assert origin_of(path) == "generated"
    frames = header.frames
    with h5py.File(path) as h5:
        if header.layout == "grouped":
            assert list(h5)[:2] == ["0000", "0001"]
            assert "xdim" in h5["0000"].attrs["config"]
            assert len(h5["0000/grid/t"]) == frames
            kept = {"diffusion_sorption": ("lzf", 1), "shallow_water": (None, 1), "diffusion_reaction_2d": ("lzf", 2)}
            assert (h5["0000/data"].compression, h5["0000/data"].shape[-1]) == kept[name]
        else:
            assert all(d.dtype == np.float32 and d.chunks is None for d in h5.values())
            if name != "darcy_pdebench":
                assert len(h5["t-coordinate"]) == frames + 1
    for sizes in task.sizes.values():
        assert sizes["samples"] >= 10


def edit(path: Path, change) -> None:
    with h5py.File(path, "r+") as h5:
        change(h5)


def test_times_may_number_t_or_t_plus_one_and_nothing_else(tmp_path):
    path = tiny("burgers", tmp_path)
    frames = read_header(path).frames

    def times(n):
        def change(h5):
            del h5["t-coordinate"]
            h5["t-coordinate"] = np.linspace(0, 2, n)

        return change

    for n in (frames, frames + 1):
        edit(path, times(n))
        assert TASKS["burgers"].read(Request(tmp_path)).notes["frames"]["stored"] == frames
    edit(path, times(frames + 2))
    with pytest.raises(DataError, match=f"{frames + 2} times for {frames} frames"):
        TASKS["burgers"].read(Request(tmp_path))


def test_old_burgers_domain_is_accepted_with_a_warning(tmp_path):
    path = tiny("burgers", tmp_path)
    assert TASKS["burgers"].read(Request(tmp_path)).notes["warnings"] == []

    def stretch(h5):
        h5["x-coordinate"][:] = 2 * h5["x-coordinate"][:] - 1

    edit(path, stretch)
    (warning,) = TASKS["burgers"].read(Request(tmp_path)).notes["warnings"]
    assert "x runs over (-0.98" in warning and "before 2024" in warning


def test_stale_advection_is_told_by_its_speed_and_refused_unless_allowed(tmp_path):
    path = tiny("advection", tmp_path)

    def double(h5):
        frames = h5["tensor"][:]
        n = frames.shape[1]
        h5["tensor"][:, : (n + 1) // 2] = frames[:, ::2]

    edit(path, double)
    with pytest.raises(DataError, match=r"twice beta.*October 2023.*allow_stale"):
        TASKS["advection"].read(Request(tmp_path))
    data = TASKS["advection"].read(Request(tmp_path, options={"allow_stale": True}))
    assert "twice beta" in data.notes["warnings"][0]
    with pytest.raises(ValueError, match="unknown reader option 'allow_old'; known: allow_stale"):
        TASKS["advection"].read(Request(tmp_path, options={"allow_old": True}))


def moving(path, speed, frames=3):
    """A file in Advection's layout whose sines move at `speed`, which says that it is beta 0.4."""
    rng, x, t = np.random.default_rng(0), (np.arange(256) + 0.5) / 256, 0.01 * np.arange(frames)
    k, phase = rng.integers(1, 8, (20, 1, 1)), rng.uniform(0, 6, (20, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as h5:
        h5["tensor"] = np.sin(2 * np.pi * k * (x - speed * t[:, None]) + phase).astype(np.float32)
        h5["x-coordinate"], h5["t-coordinate"], h5.attrs["beta"] = x, t, 0.4


@pytest.mark.parametrize("speed", [0.1, 0.2, -0.4, 0.0, 0.7, 1.0, 4.0])
def test_an_advection_file_that_moves_at_another_speed_is_refused_whatever_is_allowed(tmp_path, speed):
    moving(tmp_path / TASKS["advection"].files[0].path, speed)
    for options in ({}, {"allow_stale": True}):
        with pytest.raises(DataError, match=rf"moves at {speed:.3g}|moves at -?\d(\.\d+)?e-\d+") as error:
            TASKS["advection"].read(Request(tmp_path, options=options))
        assert error.value.expected == "a solution that moves at beta = 0.4"


@pytest.mark.parametrize("speed, factor", [(0.4, 1), (0.405, 1), (0.8, 2)])
def test_the_measured_speed_of_advection_stands_in_the_notes(tmp_path, speed, factor):
    moving(tmp_path / TASKS["advection"].files[0].path, speed)
    notes = TASKS["advection"].read(Request(tmp_path, options={"allow_stale": True})).notes
    assert notes["speed"]["measured"] == pytest.approx(speed, rel=1e-4) and notes["speed"]["stated"] == 0.4
    assert notes["speed"]["distance_from_pure_motion"] < 1e-5
    assert bool(notes["warnings"]) == (factor == 2)


def test_advection_frames_that_are_no_motion_of_each_other_are_refused(tmp_path):
    path = TASKS["advection"].files[0].path
    moving(tmp_path / path, 0.4)
    with h5py.File(tmp_path / path, "r+") as h5:
        h5["tensor"][:, 1] = np.random.default_rng(1).normal(size=(20, 256))
    with pytest.raises(DataError, match=r"no motion of each other .*apart"):
        TASKS["advection"].read(Request(tmp_path))


def test_coefficients_come_from_attributes_else_from_the_name_else_are_assumed_aloud(tmp_path):
    path = tiny("diffusion_reaction_1d", tmp_path)

    def forget(h5):
        del h5.attrs["Nu"], h5.attrs["rho"]

    edit(path, forget)
    assert read_header(path).constants == {"nu": 0.5, "rho": 1.0}
    assert TASKS["diffusion_reaction_1d"].read(Request(tmp_path)).notes["warnings"] == []
    edit(path, lambda h5: h5.attrs.__setitem__("rho", 10.0))
    with pytest.raises(DataError, match=r"found rho = 10; expected rho = 1\. This is another variant"):
        TASKS["diffusion_reaction_1d"].read(Request(tmp_path))


def test_content_decides_not_the_name(tmp_path):
    """A file directly in the data folder is recognised by its arrays; another family under its name is refused."""
    path = tiny("darcy_pdebench", tmp_path)
    shutil.move(path, tmp_path / path.name)
    assert len(TASKS["darcy_pdebench"].read(Request(tmp_path)).test) == 2
    other = tiny("advection", tmp_path)
    shutil.copy(other, tmp_path / path.name)
    with pytest.raises(DataError, match="a scalar file in 1D; expected a darcy file in 2D"):
        TASKS["darcy_pdebench"].read(Request(tmp_path))


def test_float64_files_are_cast(tmp_path):
    path = tiny("burgers", tmp_path)
    before = TASKS["burgers"].read(Request(tmp_path))

    def widen(h5):
        values = h5["tensor"][:].astype(np.float64)
        del h5["tensor"]
        h5["tensor"] = values

    edit(path, widen)
    after = TASKS["burgers"].read(Request(tmp_path))
    assert after.train.x.dtype == np.float32 and np.array_equal(before.train.x, after.train.x)


def test_axes_are_kept_as_stored_and_named_per_family(tmp_path):
    axes = {name: TASKS[name].read(Request(tiny(name, tmp_path) and tmp_path)).notes["axes"] for name in NAMES[5:]}
    assert axes == {"darcy_pdebench": "xy", "shallow_water": "xy", "diffusion_reaction_2d": "yx", "cfd_2d": "xy"}


def test_config_attribute_is_not_needed(tmp_path):
    path = tiny("diffusion_sorption", tmp_path)

    def forget(h5):
        for group in h5.values():
            del group.attrs["config"], group["grid"]
        h5.attrs["0000/config"] = "!!python/object:omegaconf.DictConfig {}"

    edit(path, forget)
    assert len(TASKS["diffusion_sorption"].read(Request(tmp_path)).train) == 19


def test_paper_frames_are_the_mismatched_ones_of_published_code(tmp_path):
    path = tmp_path / TASKS["diffusion_reaction_1d"].files[0].path
    path.parent.mkdir(parents=True)
    values = np.arange(101, dtype=np.float32)[None, :, None] + np.linspace(0, 0.5, 16, dtype=np.float32)
    with h5py.File(path, "w") as h5:
        h5["tensor"] = np.repeat(values, 20, axis=0)
    for protocol, train, test in (("strict", 100, 100), ("paper", 29, 99)):
        data = TASKS["diffusion_reaction_1d"].read(Request(tmp_path, protocol=protocol))
        assert (data.train.y[0, 0, 0], data.test.y[0, 0, 0], data.test.x[0, 0, 0]) == (train, test, 0)
        assert (data.notes["frames"]["target_train"], data.notes["frames"]["target_test"]) == (train, test)


def test_cfd_1d_protocols_strict_in_physical_units_paper_z_scored_by_the_inputs(tmp_path):
    path = tiny("cfd_1d", tmp_path)
    strict, paper = (TASKS["cfd_1d"].read(Request(tmp_path, protocol=p)) for p in ("strict", "paper"))
    with h5py.File(path) as h5:
        x = np.stack([h5[k][:, 0] for k in ("density", "pressure", "Vx")], axis=1)
        y = np.stack([h5[k][:, -1] for k in ("density", "pressure", "Vx")], axis=1)
    assert strict.input_shape == (3, x.shape[-1]) and np.array_equal(strict.test.y, y[:2])
    batch = strict.train.batch(np.arange(len(strict.train)), None)
    assert np.allclose(batch.x.mean(axis=(0, 2)), 0, atol=1e-5) and np.allclose(batch.x.std(axis=(0, 2)), 1, atol=1e-4)
    shift, scale = strict.decode
    assert np.allclose(shift[:, 0], strict.train.y.mean(axis=(0, 2)), rtol=1e-5)
    assert np.allclose(scale[:, 0], strict.train.y.std(axis=(0, 2)), rtol=1e-5)
    flat_x, flat_y = x.reshape(24, -1).astype(float), y.reshape(24, -1)
    expected = (flat_y[:2] - flat_x[2:].mean(axis=0)) / (flat_x[2:].std(axis=0, ddof=1) + 1e-5)
    assert paper.test.y.shape == (2, 1, flat_y.shape[1])
    assert np.allclose(paper.test.y[:, 0], expected, rtol=1e-4, atol=1e-4)
    assert "z-scored" in paper.notes["kept_defects"][0]


def test_cfd_2d_paper_tests_on_the_last_tenth_and_z_scores_each_frame(tmp_path):
    tiny("cfd_2d", tmp_path)
    strict, paper = (TASKS["cfd_2d"].read(Request(tmp_path, protocol=p)) for p in ("strict", "paper"))
    assert (strict.notes["split_policy"], paper.notes["split_policy"]) == ("pdebench-first10", "pdebench-last10")
    everything = np.concatenate([paper.train.y, paper.test.y])
    assert np.allclose(everything.mean(axis=0), 0, atol=1e-3), "fewer than 100 samples: all of them set the statistics"
    assert np.allclose(everything.std(axis=0, ddof=1), 1, atol=1e-2)


def test_nearly_constant_targets_are_counted(tmp_path):
    tiny("burgers", tmp_path), tiny("advection", tmp_path)
    assert TASKS["burgers"].read(Request(tmp_path)).notes["target_nearly_constant"] == 1.0
    assert TASKS["advection"].read(Request(tmp_path)).notes["target_nearly_constant"] < 0.1


def test_files_of_the_reference_generators(tmp_path):
    """Advection, diffusion-sorption and Darcy as PDEBench's own generators write them."""
    folder = shared_samples()
    for name, key, expected in (
        ("advection", "1D_Advection_Sols_beta0.4.hdf5", (1, 256)),
        ("diffusion_sorption", "1D_diff-sorp_NA_NA.h5", (1, 1024)),
        ("darcy_pdebench", "2D_DarcyFlow_beta0.1_Train.hdf5", (1, 64, 64)),
    ):
        assert origin_of(folder / key) == "official"
        data = TASKS[name].read(Request(folder, cache=tmp_path))
        assert data.input_shape == data.output_shape == TASKS[name].input_shape == expected
        assert data.notes["warnings"] == []
    with h5py.File(folder / "1D_Advection_Sols_beta0.4.hdf5") as h5:
        data = TASKS["advection"].read(Request(folder))
        assert np.array_equal(data.test.x[0, 0], h5["tensor"][0, 0, ::4])
        assert np.array_equal(data.test.y[0, 0], h5["tensor"][0, 200, ::4])
    with h5py.File(folder / "1D_diff-sorp_NA_NA.h5") as h5:
        data = TASKS["diffusion_sorption"].read(Request(folder))
        assert np.array_equal(data.test.y[-1, 0], h5["0011/data"][100, :, 0])
    with h5py.File(folder / "2D_DarcyFlow_beta0.1_Train.hdf5") as h5:
        data = TASKS["darcy_pdebench"].read(Request(folder))
        assert np.array_equal(data.test.x[0, 0], h5["nu"][0, ::2, ::2])
        assert np.array_equal(data.test.y[0, 0], h5["tensor"][0, 0, ::2, ::2])
