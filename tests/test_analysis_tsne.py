"""t-SNE: the same rows and seed everywhere, neighbours kept, clear errors."""

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from bench.analysis.inputs import AnalysisError
from bench.analysis.tsne import choose_rows, coordinates


def blobs(n=60, d=8, k=3):
    rng = np.random.default_rng(0)
    y = np.arange(n) % k
    return (rng.normal(size=(n, d)) + 15 * np.eye(d)[y]).astype(np.float16), y


def test_is_deterministic_and_keeps_neighbours():
    x, y = blobs()
    first = coordinates(x, y)
    assert first.shape == (60, 2) and first.dtype == np.float32
    assert np.array_equal(first, coordinates(x, y))
    assert trustworthiness(x.astype(float), first, n_neighbors=5) > 0.9
    centres = np.stack([first[y == label].mean(axis=0) for label in range(3)])
    nearest = ((first[:, None] - centres) ** 2).sum(axis=-1).argmin(axis=1)
    assert np.array_equal(nearest, y)


def test_rows_are_the_first_of_each_class_whatever_the_features():
    labels = np.array([3, 1, 1, 2, 3, 1, 2, 9])
    assert choose_rows(labels, most_classes=3, per_class=2).tolist() == [0, 1, 2, 3, 4, 6]
    assert choose_rows(np.arange(50)).tolist() == list(range(10))


def test_few_samples_and_a_single_dimension_still_work():
    x, y = blobs(n=6)
    assert np.isfinite(coordinates(x, y)).all()
    assert np.isfinite(coordinates(x[:, :1] + np.arange(6)[:, None], y)).all()


def test_bad_input_says_what_and_why():
    x, y = blobs()
    with pytest.raises(AnalysisError, match="at least 4"):
        coordinates(x[:3], y[:3])
    with pytest.raises(AnalysisError, match="same for every sample"):
        coordinates(np.ones((20, 3)), y[:20])
    with pytest.raises(AnalysisError, match="NaN"):
        coordinates(np.where(np.arange(60)[:, None] == 5, np.nan, x), y)
