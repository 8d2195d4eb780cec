"""ECG windows, Satellite series, DeepSEA blocks, NinaPro and Darcy against loops and closed forms."""

import h5py
import numpy as np
import pytest
from scipy.io import loadmat

from tasks.contract import Request
from tasks.files import darcy_mat, ecg, npz
from tasks.generators import darcy_nb360 as darcy
from tasks.losses import LOSSES
from tests.nas_helpers import read, stand_in, task, whole


def test_ecg_windows_equal_loops(shared_data):
    path = stand_in(shared_data, "ecg") / "ecg/challenge2017.pkl"
    signals, labels = ecg.read_records(path)
    records = np.array([5, 2, 40, 11, 7])
    batch = whole(ecg.windows(path, signals, labels, records))
    x, y, number = [], [], []
    for r in records:
        series = (signals[r] - signals[r].mean()) / signals[r].std()
        stride = {0: 500, 1: 83, 2: 250, 3: 25}[labels[r]]
        for start in range(0, len(series) - 999, stride):
            x.append(series[start : start + 1000])
            y.append(labels[r])
            number.append(r)
    np.testing.assert_allclose(batch.x[:, 0], np.array(x), atol=1e-5)
    np.testing.assert_array_equal(batch.y, y)
    np.testing.assert_array_equal(batch.extra["record"], number)


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_ecg_records_lie_in_one_split_only(shared_data, protocol):
    data = read(shared_data, "ecg", protocol)
    parts = [set(s.record) for s in (data.train, data.val, data.test) if s is not None]
    assert sum(map(len, parts)) == len(set.union(*parts)) == sum(data.notes["records"].values())


def test_ecg_labels_of_every_spelling(tmp_path):
    import pickle

    series = [np.arange(1200, dtype=np.int16)] * 20
    for names in (list("NAO~") * 5, [n.encode() for n in "NAO~" * 5], np.array(list("NAO~") * 5)):
        (tmp_path / "a.pkl").write_bytes(pickle.dumps({"data": series, "label": names}, 2))
        np.testing.assert_array_equal(ecg.read_records(tmp_path / "a.pkl")[1], [0, 1, 2, 3] * 5)


def test_a_constant_record_becomes_zeros_and_short_ones_are_counted(tmp_path):
    assert not ecg.z_score(np.full(10, 7)).any()
    import pickle

    series = [np.arange(1200) if i else np.arange(500) for i in range(30)]
    (tmp_path / "ecg").mkdir()
    table = {"data": series, "label": list("NAO") * 10}
    (tmp_path / "ecg/challenge2017.pkl").write_bytes(pickle.dumps(table))
    assert task("ecg").read(Request(tmp_path)).notes["records_without_a_window"] == 1


def test_satellite_is_z_scored_under_strict_and_raw_under_paper(shared_data):
    strict, paper = (whole(read(shared_data, "satellite", p).test).x for p in ("strict", "paper"))
    np.testing.assert_allclose(strict.mean(2), 0, atol=1e-5)
    np.testing.assert_allclose(strict.std(2), 1, atol=1e-5)
    table = np.load(stand_in(shared_data, "satellite") / "satellite/satellite_test.npy", allow_pickle=True)[()]
    np.testing.assert_array_equal(paper[:, 0], table["data"])
    np.testing.assert_array_equal(whole(read(shared_data, "satellite").test).y, table["label"] - 1)


@pytest.mark.parametrize("dtype", ["u1", "f4", "f8", "?", "i8"])
def test_npz_arrays_are_read_in_blocks(tmp_path, monkeypatch, dtype):
    monkeypatch.setattr(npz, "BLOCK_BYTES", 1000)
    values = np.random.default_rng(0).integers(0, 2, (57, 10, 4)).astype(dtype)
    np.savez_compressed(tmp_path / "a.npz", x=values, other=np.zeros(3))
    found = npz.read_binary(tmp_path / "a.npz", "x", (None, 10, 4), npz.transpose_rows)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, values.transpose(0, 2, 1))


def test_deepsea_and_ninapro_keep_what_is_stored_with_the_channels_first(shared_data):
    with np.load(stand_in(shared_data, "deepsea") / "deepsea/deepsea_filtered.npz") as stored:
        batch = whole(read(shared_data, "deepsea").val)
        np.testing.assert_array_equal(batch.x, stored["x_val"].transpose(0, 2, 1))
        np.testing.assert_array_equal(batch.y, stored["y_val"])
        merged = read(shared_data, "deepsea", "paper").train
        np.testing.assert_array_equal(merged.y, np.concatenate([stored["y_train"], stored["y_val"]]))
    stored = np.load(stand_in(shared_data, "ninapro") / "ninaPro/ninapro_val.npy")
    np.testing.assert_array_equal(whole(read(shared_data, "ninapro").val).x[:, 0], stored.transpose(0, 2, 1))


def test_darcy_solver_against_a_manufactured_solution():
    errors = []
    for points in (21, 41, 81):
        line = np.linspace(0, 1, points)
        x, y = np.meshgrid(line, line, indexing="ij")
        # a = 1: the exact series of -laplace u = 1 with u = 0 on the border
        exact = np.zeros_like(x)
        for m in range(1, 60, 2):
            for n in range(1, 60, 2):
                term = np.sin(m * np.pi * x) * np.sin(n * np.pi * y) / (m * n * (m**2 + n**2))
                exact += 16 / np.pi**4 * term
        errors.append(np.linalg.norm(darcy.solve(np.ones_like(x)) - exact) / np.linalg.norm(exact))
    assert errors[-1] < 1e-3 and errors[0] / errors[1] > 3 and errors[1] / errors[2] > 3


def test_darcy_solution_has_no_residue_and_conserves_flux():
    a = darcy.permeability(np.random.default_rng(0), 31)
    u = darcy.solve(a)
    h = 1 / 30
    across, along = (a[1:] + a[:-1]) / 2 * np.diff(u, axis=0), (a[:, 1:] + a[:, :-1]) / 2 * np.diff(u, axis=1)
    residue = np.diff(across[:, 1:-1], axis=0) + np.diff(along[1:-1], axis=1) + h * h
    assert abs(residue).max() < 1e-12 and u.min() >= 0
    outflow = across[0, 1:-1].sum() - across[-1, 1:-1].sum() + along[1:-1, 0].sum() - along[1:-1, -1].sum()
    assert outflow == pytest.approx(29 * 29 * h * h)


def test_random_field_has_the_spectrum_of_the_recipe():
    rng = np.random.default_rng(0)
    from scipy.fft import dctn

    fields = np.stack([darcy.random_field(rng, 32, modes=32) for _ in range(600)])
    power = (np.stack([dctn(f, norm="ortho") for f in fields]) ** 2).mean(0) / 32**2
    k = np.pi * np.arange(32)
    expected = 9 * (k[:, None] ** 2 + k**2 + 9.0) ** -2.0
    assert power[0, 0] < 1e-20
    ratio = (power / expected)[1:6, 1:6]
    assert abs(ratio - 1).max() < 0.35 and abs(ratio.mean() - 1) < 0.05
    assert set(np.unique(darcy.permeability(rng, 20))) == {4.0, 12.0}


def test_a_finer_grid_shows_the_same_field():
    from tasks.generators.seeds import sample_rng

    coarse, fine = (darcy.permeability(sample_rng("t", 0), n) for n in (64, 128))
    assert (coarse == fine[::2, ::2]).mean() > 0.9


def test_windows_are_cut_as_public_code_cuts_them(tmp_path):
    lengths = (9000, 1000, 1001, 1500, 1501)
    for label, stride in enumerate((500, 83, 250, 25)):
        signals = [np.arange(n) for n in lengths]
        found = ecg.windows(tmp_path, signals, np.full(len(lengths), label), np.arange(len(lengths)))
        count = np.bincount(found.record, minlength=len(lengths))
        assert count.tolist() == [len(range(0, n - 1000, stride)) for n in lengths]
        assert count[0] == {500: 16, 83: 97, 250: 32, 25: 320}[stride] and count[1] == 0


def test_both_versions_of_matlab_files_are_read_alike(tmp_path, shared_data):
    path = stand_in(shared_data, "darcy_nb360") / "darcy/piececonst_r421_N1024_smooth1.mat"
    stored = loadmat(path)["coeff"]
    with h5py.File(tmp_path / "new.mat", "w") as f:
        f["coeff"] = stored.T
    old = darcy_mat.read_variable(path, "coeff", 7)
    np.testing.assert_array_equal(old, stored[:7, ::5, ::5])
    np.testing.assert_array_equal(darcy_mat.read_variable(tmp_path / "new.mat", "coeff", 7), old)


def test_darcy_inputs_are_normalised_and_targets_stay_physical(shared_data):
    data = read(shared_data, "darcy_nb360")
    stored = loadmat(stand_in(shared_data, "darcy_nb360") / "darcy/piececonst_r421_N1024_smooth1.mat")
    n = len(data.train)
    a, u = stored["coeff"][:n, ::5, ::5].astype(float), stored["sol"][:n, ::5, ::5].astype(float)
    batch = whole(data.train)
    np.testing.assert_allclose(batch.x[:, 0], (a - a.mean(0)) / (a.std(0, ddof=1) + 1e-5), atol=1e-3)
    line = np.linspace(0, 1, a.shape[1])
    # as np.meshgrid orders them: first along the columns
    np.testing.assert_allclose(batch.x[3, 1], np.broadcast_to(line, a.shape[1:]), atol=1e-6)
    np.testing.assert_allclose(batch.x[3, 2], np.broadcast_to(line[:, None], a.shape[1:]), atol=1e-6)
    np.testing.assert_allclose(batch.y[:, 0], u, rtol=1e-6)
    shift, scale = data.decode
    assert shift.shape == scale.shape == data.output_shape
    np.testing.assert_allclose(shift[0], u.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale[0], u.std(0, ddof=1) + 1e-5, rtol=1e-4)
    import torch

    raw = torch.as_tensor((batch.y - shift) / scale)
    loss = LOSSES["relative_l2"](raw * torch.as_tensor(scale) + torch.as_tensor(shift), torch.as_tensor(batch.y), {})
    assert loss < 1e-5


def test_darcy_keeps_a_decimated_copy(shared_data, tmp_path, monkeypatch):
    one = read(shared_data, "darcy_nb360", cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.npz"))) == 2
    monkeypatch.setattr(darcy_mat, "read_variable", None)
    two = read(shared_data, "darcy_nb360", cache=tmp_path / "cache")
    np.testing.assert_array_equal(one.train.x, two.train.x)
