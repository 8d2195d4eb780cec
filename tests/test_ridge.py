"""Ridge in closed form: against scikit-learn in float64, what it does with masks and units, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge as SklearnRidge
from sklearn.linear_model import RidgeClassifier

from bench import plan
from bench.cell import story
from bench.plan import Places, Selection
from bench.records.store import Store
from methods.closed_form import AffineMap, decompose
from methods.contract import MethodError, TorchBatch
from methods.ridge import Ridge


class Shapes:
    """A context of arrays: the part that ridge reads."""

    def __init__(self, kind, output_shape, train, val=None, shift=0.0, scale=1.0, ignore=None):
        self.model = AffineMap(kind, output_shape)
        self.splits, self.ignore = {"train": train, "val": val}, ignore
        self.train_size, self.val_size = len(train[0]), 0 if val is None else len(val[0])
        self.shift, self.scale, self.logged = shift, scale, {}

    def plain(self, split, index):
        x, y = (torch.from_numpy(a[index]) for a in self.splits[split])
        extra = {} if self.ignore is None else {"ignore": torch.from_numpy(self.ignore[index])}
        return TorchBatch(x, y, extra)

    def raw(self, y):
        return (y - self.shift) / self.scale

    def loss(self, output, batch):
        return (output * self.scale + self.shift - batch.y).square().mean()

    def rng(self, name):
        return np.random.default_rng(len(name))

    def solve(self, name, work):
        self.logged = work()


def data(n, shape, k, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, *shape)) * rng.lognormal(size=shape) + 3
    weights = rng.normal(size=(int(np.prod(shape)), k))
    return x.astype(np.float32), (x.reshape(n, -1) @ weights + rng.normal(size=(n, k)) - 7).astype(np.float32)


@pytest.mark.parametrize("n", [60, 12])
@pytest.mark.parametrize("strength", [1e-6, 0.1, 10.0])
def test_both_forms_are_scikit_learns_ridge_in_float64(n, strength):
    (x, y), (new, _) = data(n, (2, 15), 4), data(9, (2, 15), 4, seed=1)
    flat = x.reshape(n, -1).astype(np.float64)
    path = decompose(
        lambda: ((torch.from_numpy(flat[i : i + 7]), torch.from_numpy(y[i : i + 7]).double()) for i in range(0, n, 7))
    )
    assert path.spectrum.shape == (min(n, 30),)
    alpha = strength * np.square(flat - flat.mean(0)).sum() / min(n, 30)
    model = AffineMap("dense", (4, 1))
    model.set(path, strength)
    expected = SklearnRidge(alpha=alpha, solver="svd").fit(flat, y.astype(np.float64)).predict(new.reshape(9, -1))
    np.testing.assert_allclose(model(torch.from_numpy(new)).numpy()[..., 0], expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("n", "classes"), [(80, 5), (25, 3), (80, 2)])
def test_classes_are_scikit_learns_ridge_classifier(n, classes):
    (x, y), (new, _) = data(n, (1, 30), classes), data(40, (1, 30), classes, seed=1)
    labels = y.argmax(1).astype(np.int64)
    context = Shapes("classes", (classes,), (x, labels), (x, labels))
    Ridge(strengths=(0.3,)).align(context)
    flat = x.reshape(n, -1).astype(np.float64)
    alpha = 0.3 * np.square(flat - flat.mean(0)).sum() / min(n, 30)
    expected = RidgeClassifier(alpha=alpha, solver="svd").fit(flat, labels).predict(new.reshape(40, -1))
    assert (context.model(torch.from_numpy(new)).argmax(1).numpy() == expected).all()


@pytest.mark.parametrize("with_val", [True, False])
def test_the_strength_is_the_one_of_least_error_on_samples_that_were_not_fitted(with_val):
    x, y = data(240, (1, 35), 1)
    (x, y), val = (x[:40], y[:40]), (x[40:], y[40:])
    context = Shapes("dense", (1, 1), (x, y[:, None]), (val[0], val[1][:, None]) if with_val else None)
    grid = (1e-6, 1e-2, 1.0, 1e4)
    Ridge(strengths=grid).align(context)
    found, alone = context.logged, {}
    if with_val:
        for strength in grid:
            one = Shapes("dense", (1, 1), (x, y[:, None]), (val[0], val[1][:, None]))
            Ridge(strengths=(strength,)).align(one)
            alone[strength] = one.logged["loss"]
        assert found["loss"] == min(alone.values()) and alone[found["strength"]] == found["loss"]
    assert found["strength"] in grid[:3] and found["samples"] == 40
    whole = Shapes("dense", (1, 1), (x, y[:, None]), (x, y[:, None]))
    Ridge(strengths=(found["strength"],)).align(whole)
    torch.testing.assert_close(context.model(torch.from_numpy(x)), whole.model(torch.from_numpy(x)))  # fitted to all


def test_a_target_in_other_units_is_met_in_them():
    x, y = data(50, (1, 6), 1)
    context = Shapes("dense", (1, 1), (x, y[:, None]), (x, y[:, None]), shift=5.0, scale=20.0)
    Ridge(strengths=(1e-8,)).align(context)
    physical = context.model(torch.from_numpy(x)).numpy().ravel() * 20 + 5
    assert np.abs(physical - y.ravel()).max() < 0.5 * np.abs(y).mean()


def test_masks_become_signs_and_what_is_ignored_is_not_learned():
    x, _ = data(60, (1, 4), 1)
    y = (x > 3).astype(np.float32)
    ignore = np.zeros_like(y, bool)
    ignore[:, :, 0] = True
    context = Shapes("dense", (1, 4), (x, y), (x, y), ignore=ignore)
    Ridge(strengths=(1e-6,)).align(context)
    out = context.model(torch.from_numpy(x)).numpy()
    assert ((out > 0) == (y > 0))[:, :, 1:].mean() > 0.85 and -1 <= out[:, :, 1:].mean() <= 1
    assert np.abs(out[:, :, 0]).max() < 1e-12  # nothing known: the mean of nothing


def test_more_samples_than_a_matrix_may_have_rows_are_drawn_by_chance_and_counted():
    x, y = data(90, (1, 30), 2)
    context = Shapes("dense", (2, 1), (x, y[..., None]), (x, y[..., None]))
    Ridge(largest=20).align(context)
    assert context.logged["samples"] == 20
    Ridge(largest=30).align(context)
    assert context.logged["samples"] == 90  # thirty inputs are a matrix of thirty rows, whatever the samples


def test_what_does_not_fit_into_memory_is_refused_with_its_size():
    with pytest.raises(MethodError, match=r"14942208 inputs and 262144 outputs.*hold 8 samples.*method\.memory"):
        Ridge().build("dense", (57, 512, 512), (1, 512, 512))


@pytest.mark.parametrize(
    "options", [{"strengths": ()}, {"strengths": (0.0,)}, {"largest": 0}, {"memory": 0.0}], ids=str
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(MethodError, match=next(iter(options))):
        Ridge(**options).check()


@pytest.mark.parametrize("protocol", ["strict", "paper"])
@pytest.mark.parametrize("task", ["ninapro", "cosmic", "cfd_1d"])
def test_a_record_of_ridge_tells_what_was_chosen(shared_data, tmp_path, task, protocol):
    places = Places(shared_data, tmp_path)
    cell = plan.cells(Selection(tasks=(task,), methods=("ridge",), profile="tiny", protocol=protocol), shared_data)[0]
    record = story.run(cell, places, {})
    assert record["status"] == "done", record["error"]
    (row,) = Store(tmp_path).curves(record)["stage1"]
    assert row["phase"] == "ridge" and row["strength"] in Ridge().strengths
    assert row["samples"] == record["data"]["sizes"]["train"]
    assert record["steps_stage1"] == record["steps_stage2"] == 0 and record["seconds_stage1"] > 0
    assert record["weights"] == "none: a closed form"
    assert (record["score_best_val"] is None) == (protocol == "paper") and record["score"] is not None
