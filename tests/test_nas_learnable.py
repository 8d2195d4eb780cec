"""Stand-ins can be learned: a small scikit-learn model beats the trivial predictor clearly on every one of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from tasks.contract import Batch, Data, Request
from tasks.metrics import METRICS
from tasks.trivial import PREDICTORS
from tests.nas_helpers import NAMES, task, whole


def logits(model, x: np.ndarray, classes: int) -> np.ndarray:
    """Class probabilities with a column for every class, seen in training or not."""
    out = np.zeros((len(x), classes))
    out[:, model.classes_] = model.predict_proba(x)
    return out


def flat(batch: Batch) -> np.ndarray:
    return batch.x.reshape(len(batch.x), -1)


def classify(model, features: Callable[[Batch], np.ndarray] = flat):
    def predict(train: Batch, test: Batch, data: Data) -> np.ndarray:
        return logits(model.fit(features(train), train.y), features(test), data.output_shape[0])

    return predict


def rhythm_features(batch: Batch) -> np.ndarray:
    """Spectrum, and mean, spread and number of the intervals between high peaks."""
    x = batch.x[:, 0]
    intervals = []
    for series in x:
        peaks = (series[1:-1] > 2) & (series[1:-1] > series[:-2]) & (series[1:-1] >= series[2:])
        gaps = np.diff(np.flatnonzero(peaks))
        intervals.append([gaps.mean(), gaps.std(), len(gaps)] if len(gaps) > 1 else [0, 0, 0])
    return np.c_[np.log1p(abs(np.fft.rfft(x, axis=1))[:, :120]), intervals]


def sound_features(batch: Batch) -> np.ndarray:
    """Mean, loudest and spread of each mel band."""
    x = batch.x[:, 0]
    return np.c_[x.mean(2), x.max(2), x.std(2)]


def words(batch: Batch, length: int = 6) -> np.ndarray:
    """How often each word of six bases occurs."""
    codes = sum(batch.x.argmax(1)[:, k : 995 + k] * 4**k for k in range(length))
    return np.stack([np.bincount(row, minlength=4**length) for row in codes]).astype(np.float32)


def labels_by(features: Callable[[Batch], np.ndarray], model, count: int | None = None):
    """One binary model per label; the labels after `count` get their frequency."""

    def predict(train: Batch, test: Batch, data: Data) -> np.ndarray:
        x, z = features(train), features(test)
        out = np.broadcast_to(train.y.mean(0), (len(z), train.y.shape[1])).copy()
        for k in range(count or train.y.shape[1]):
            out[:, k] = logits(model().fit(x, train.y[:, k].astype(int)), z, 2)[:, 1]
        return out

    return predict


def pixels(train: Batch, test: Batch, data: Data) -> np.ndarray:
    """A logistic regression of each pixel on its value and its four neighbours."""

    def features(batch: Batch) -> np.ndarray:
        x = np.arcsinh(np.pad(batch.x[:, 0], ((0, 0), (1, 1), (1, 1)), mode="edge") / 20)
        around = np.stack([x[:, :-2, 1:-1], x[:, 2:, 1:-1], x[:, 1:-1, :-2], x[:, 1:-1, 2:]])
        centre = x[:, 1:-1, 1:-1]
        parts = [centre, around.mean(0), around.min(0), around.max(0), centre - np.median(around, 0)]
        return np.stack(parts, -1).reshape(-1, 5)

    keep = ~train.extra["ignore"].ravel()
    model = LogisticRegression(max_iter=200, class_weight="balanced")
    model.fit(features(train)[keep][::4], train.y.ravel()[keep][::4])
    return model.decision_function(features(test)).reshape(test.y.shape)


def pairs(train: Batch, test: Batch, data: Data) -> np.ndarray:
    """A linear map from the three coevolution scores, smoothed, to the distance."""
    from scipy.ndimage import uniform_filter

    def features(batch: Batch) -> np.ndarray:
        maps = batch.x[:, -3:]
        smooth = uniform_filter(maps, (0, 0, 3, 3))
        return np.concatenate([maps, smooth, maps**2], 1).transpose(0, 2, 3, 1)

    keep = (~train.extra["ignore"] & (train.y < 16))[:, 0]
    model = Ridge().fit(features(train)[keep], train.y[:, 0][keep])
    return model.predict(features(test).reshape(-1, 9)).reshape(test.y.shape)


def fields(train: Batch, test: Batch, data: Data) -> np.ndarray:
    """Ridge regression between principal components of coefficient and pressure."""
    reduce = PCA(30, random_state=0).fit(train.x[:, 0].reshape(len(train.x), -1))
    x, z = (reduce.transform(b.x[:, 0].reshape(len(b.x), -1)) for b in (train, test))
    return Ridge(100.0).fit(x, train.y.reshape(len(x), -1)).predict(z).reshape(test.y.shape)


def forest() -> ExtraTreesClassifier:
    return ExtraTreesClassifier(60, random_state=0)


# task: (size of the stand-in, model, largest share of the trivial score that the model may have)
MODELS = {
    "cifar100": ({"samples": 1500}, classify(forest()), 0.7),
    "spherical": ({"samples": 900, "chunk": 20, "rotation_percent": 10}, classify(KNeighborsClassifier(3)), 0.5),
    "darcy_nb360": ({"samples": 150, "grid": 41}, fields, 0.75),
    "psicov": ({"samples": 20, "longest": 48, "window": 64}, pairs, 0.7),
    "cosmic": ({"samples": 30, "width": 48}, pixels, 0.4),
    "ninapro": ({"samples": 500}, classify(forest()), 0.5),
    "fsd50k": ({"samples": 100}, labels_by(sound_features, forest), 0.7),
    "ecg": ({"samples": 250, "length": 1100}, classify(forest(), rhythm_features), 0.5),
    "satellite": ({"samples": 700}, classify(forest()), 0.3),
    "deepsea": ({"samples": 500}, labels_by(words, lambda: LogisticRegression(C=0.01, max_iter=50), 6), None),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The number of unique classes")
@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize("name", NAMES)
def test_a_small_model_beats_the_trivial_predictor(tmp_path, name):
    size, predict, share = MODELS[name]
    spec = task(name)
    spec.generate(tmp_path, **size)
    data = spec.read(Request(tmp_path))
    train, test = whole(data.train), whole(data.test)
    trivial = PREDICTORS[spec.trivial](data.train, data.test, data.output_shape)
    learned, metric = predict(train, test, data), METRICS[spec.metric]
    if name == "deepsea":  # six labels stand for all: their models take a second each
        score, base = metric(learned[:, :6], test.y[:, :6]), 0.5
        assert score < 0.2 < base
        return
    score, base = (metric(p, test.y, test.extra) for p in (learned, trivial))
    print(f"{name}: {score:.3g} against {base:.3g}")
    assert score < share * base


@pytest.mark.parametrize("name", [name for name in NAMES if name != "darcy_nb360"])
def test_a_generator_says_what_it_imitates(name):
    assert "mitate" in (importlib.import_module(f"tasks.generators.{name}").__doc__ or "")


def test_darcy_is_solved_and_not_imitated():
    assert "solved" in (importlib.import_module("tasks.generators.darcy_nb360").__doc__ or "").lower()
