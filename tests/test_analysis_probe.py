"""The linear probe against other solvers, steps away from its optimum, and bad input."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.analysis.inputs import AnalysisError
from bench.analysis.probe import C, fit_linear, probe


def blobs(seed, n=400, d=12, k=4, spread=1.5, dtype=np.float64):
    """Overlapping Gaussian classes with correlated features of very different scale, and labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    x = rng.normal(size=(k, d))[y] * spread + rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    return (x * np.logspace(-2, 2, d) + 7).astype(dtype), y.astype(np.int64)


def objective(classifier, x, y):
    """The documented objective in float64, computed from its formula, for three classes or more."""
    z = classifier.log_probabilities(x)
    penalty = (classifier.fitted[-1].coef_ ** 2).sum() / (2 * C * len(y))
    return -z[np.arange(len(y)), np.searchsorted(classifier.classes, y)].mean() + penalty


@pytest.mark.parametrize("k", [2, 3, 7])
def test_log_probabilities_are_those_of_every_other_solver(k):
    x, y = blobs(k, k=k)
    ours = fit_linear(x, y, tolerance=1e-7)
    scaled = StandardScaler().fit_transform(x)
    reference = LogisticRegression(tol=1e-9, max_iter=5000).fit(scaled, y)
    assert ours.converged
    assert np.allclose(ours.log_probabilities(x), reference.predict_log_proba(scaled), atol=1e-4)
    assert np.allclose(np.exp(ours.log_probabilities(x)).sum(axis=1), 1)


def test_iterations_that_run_out_are_said(monkeypatch):
    monkeypatch.setattr("bench.analysis.probe.MOST_ITERATIONS", 1)
    assert not fit_linear(*blobs(0)).converged


def test_default_rule_reaches_the_error_of_the_optimum():
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = digits.data.astype(np.float32), digits.target
    ours = probe(x[:1200], y[:1200], x[1200:], y[1200:])
    scaler = StandardScaler().fit(x[:1200])
    reference = LogisticRegression(C=C, tol=1e-7, max_iter=5000).fit(scaler.transform(x[:1200]), y[:1200])
    theirs = 100 * (reference.predict(scaler.transform(x[1200:])) != y[1200:]).mean()
    assert ours.error == pytest.approx(theirs)
    assert ours.low < ours.error < ours.high and ours.converged


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.integers(3, 5), st.sampled_from([np.float32, np.float64]))
def test_no_step_away_from_the_solution_lowers_the_objective(seed, k, dtype):
    x, y = blobs(seed, n=80, d=5, k=k, dtype=dtype)
    fitted = fit_linear(x, y, tolerance=1e-6)
    best, regression = objective(fitted, x, y), fitted.fitted[-1]
    rng, weight = np.random.default_rng(seed), regression.coef_
    for _ in range(5):
        regression.coef_ = weight + 1e-2 * rng.normal(size=weight.shape)
        assert objective(fitted, x, y) > best


def test_is_deterministic_and_indifferent_to_scale_shift_and_label_names():
    x, y = blobs(3)
    first, again = fit_linear(x, y), fit_linear(x, y)
    assert np.array_equal(first.log_probabilities(x), again.log_probabilities(x))
    moved = fit_linear(x * 1000 - 5, y * 10 + 3, tolerance=1e-8)
    assert np.array_equal(moved.classes, np.unique(y) * 10 + 3)
    assert np.array_equal(moved.predict(x * 1000 - 5), fit_linear(x, y, tolerance=1e-8).predict(x) * 10 + 3)


def test_constant_and_duplicated_features_do_no_harm():
    x, y = blobs(5, dtype=np.float32)
    plain = probe(x[:300], y[:300], x[300:], y[300:])
    wide = np.concatenate([x, np.full((len(x), 1), 3.3, np.float32), np.zeros((len(x), 1), np.float32)], axis=1)
    assert probe(wide[:300], y[:300], wide[300:], y[300:]).error == plain.error


def test_chance_on_noise_and_zero_on_separable_classes():
    rng = np.random.default_rng(0)
    y = np.arange(600) % 3
    noise = rng.normal(size=(600, 4))
    assert probe(noise[:300], y[:300], noise[300:], y[300:]).error == pytest.approx(66.7, abs=10)
    clear = noise + 50 * np.eye(4)[y]
    separable = probe(clear[:300], y[:300], clear[300:], y[300:])
    assert separable.error == 0 and (separable.low, separable.high) == pytest.approx((0, 100 * 3.84 / 303.84), abs=0.01)


def test_a_class_never_seen_in_training_counts_as_an_error():
    x, y = blobs(1, n=90, k=3)
    seen = y != 2
    assert probe(x[seen], y[seen], x[~seen], y[~seen]).error == 100


def test_bad_input_says_what_and_why():
    x, y = blobs(2, n=40)
    with pytest.raises(AnalysisError, match="1 class, expected at least 2"):
        fit_linear(x, np.zeros(40, np.int64))
    broken = x.copy()
    broken[7, 3] = np.nan
    with pytest.raises(AnalysisError, match=r"1 of 40 rows hold NaN or infinity \(first: row 7"):
        fit_linear(broken, y)
    with pytest.raises(AnalysisError, match="expected 40 whole numbers"):
        fit_linear(x, y[:30])
    with pytest.raises(AnalysisError, match="expected 40 whole numbers"):
        fit_linear(x, y.astype(float))
    with pytest.raises(AnalysisError, match=r"expected \(samples, dimensions\)"):
        fit_linear(x[:, 0], y)
    with pytest.raises(AnalysisError, match="test labels have shape"):
        probe(x, y, x, y[:5])
    with pytest.raises(AnalysisError, match="5 dimensions, the classifier was fitted on 12"):
        fit_linear(x, y).predict(x[:, :5])
