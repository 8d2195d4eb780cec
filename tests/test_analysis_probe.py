"""The linear probe against scikit-learn, finite differences of its optimum, and the textbook Wilson interval."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.analysis.inputs import AnalysisError
from bench.analysis.probe import C, fit_linear, probe, wilson


def blobs(seed, n=400, d=12, k=4, spread=1.5, dtype=np.float64):
    """Overlapping Gaussian classes with correlated features of very different scale, and labels."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    x = rng.normal(size=(k, d))[y] * spread + rng.normal(size=(n, d)) @ rng.normal(size=(d, d))
    return (x * np.logspace(-2, 2, d) + 7).astype(dtype), y.astype(np.int64)


def objective(classifier, x, y, c=C):
    """The documented objective in float64, computed from its formula."""
    z = (x - classifier.mean) / classifier.scale @ classifier.weight.astype(np.float64) + classifier.bias
    return (logsumexp(z, axis=1) - z[np.arange(len(y)), y]).mean() + (classifier.weight**2).sum() / (2 * c * len(y))


@pytest.mark.parametrize("c", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("k", [2, 3, 7])
def test_equals_scikit_learn(k, c):
    x, y = blobs(k, k=k)
    ours = fit_linear(x, y, c=c, tolerance=1e-7)
    if k == 2:  # scikit-learn fits one difference vector w; ours are w/2 and -w/2, penalised half as much
        reference = LogisticRegression(C=2 * c, tol=1e-9, max_iter=5000).fit(StandardScaler().fit_transform(x), y)
        assert np.allclose(ours.weight[:, 1] - ours.weight[:, 0], reference.coef_[0], atol=1e-3, rtol=1e-3)
    else:
        reference = LogisticRegression(C=c, tol=1e-9, max_iter=5000).fit(StandardScaler().fit_transform(x), y)
        assert np.allclose(ours.weight.T, reference.coef_, atol=1e-3, rtol=1e-3)
        assert np.allclose(ours.bias - ours.bias.mean(), reference.intercept_ - reference.intercept_.mean(), atol=1e-3)
    assert ours.converged
    probabilities = np.exp(ours.log_probabilities(x))
    assert np.allclose(probabilities, reference.predict_proba(StandardScaler().fit_transform(x)), atol=1e-5)
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_default_rule_reaches_scikit_learns_error_and_loss():
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = digits.data.astype(np.float32), digits.target
    ours = probe(x[:1200], y[:1200], x[1200:], y[1200:])
    scaler = StandardScaler().fit(x[:1200])
    reference = LogisticRegression(C=C, max_iter=5000).fit(scaler.transform(x[:1200]), y[:1200])
    theirs = 100 * (reference.predict(scaler.transform(x[1200:])) != y[1200:]).mean()
    assert ours.error == pytest.approx(theirs, abs=0.1)
    assert ours.low < ours.error < ours.high and ours.converged
    fitted = fit_linear(x[:1200], y[:1200])
    z = scaler.transform(x[:1200].astype(np.float64)) @ reference.coef_.T + reference.intercept_
    loss = (logsumexp(z, axis=1) - z[np.arange(1200), y[:1200]]).mean() + (reference.coef_**2).sum() / 2400
    assert objective(fitted, x[:1200].astype(np.float64), y[:1200]) == pytest.approx(loss, rel=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.sampled_from([np.float32, np.float64]))
def test_no_step_away_from_the_solution_lowers_the_objective(seed, k, dtype):
    x, y = blobs(seed, n=80, d=5, k=k, dtype=dtype)
    fitted = fit_linear(x, y, tolerance=1e-6)
    best = objective(fitted, x.astype(np.float64), y)
    rng = np.random.default_rng(seed)
    for _ in range(5):
        moved = replace(fitted, weight=fitted.weight + 1e-2 * rng.normal(size=fitted.weight.shape))
        assert objective(moved, x.astype(np.float64), y) > best


def test_is_deterministic_and_indifferent_to_scale_shift_and_label_names():
    x, y = blobs(3)
    first, again = fit_linear(x, y), fit_linear(x, y)
    assert np.array_equal(first.weight, again.weight)
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


@given(st.integers(1, 3000), st.floats(0, 1))
def test_wilson_equals_scipy(n, share):
    count = round(share * n)
    expected = binomtest(count, n).proportion_ci(0.95, method="wilson")
    assert wilson(count, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_wilson_refuses_what_is_no_proportion():
    for count, n in [(1, 0), (3, 2), (-1, 5)]:
        with pytest.raises(ValueError, match="proportion"):
            wilson(count, n)


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
