"""The linear probe: how well a linear classifier reads source classes from an encoder's features (MoNA, Fig. 3).

Features are standardised with the training split's mean and deviation; then multinomial logistic regression with an L2
penalty, its strength fixed at C = 1 as scikit-learn has it by default: nothing is tuned, so two encoders differ by
their features alone and no test sample chooses anything. The objective is scikit-learn's,
    (1/n) sum_i -log softmax(W^T x_i + b)[y_i] + ||W||^2 / (2 C n),
strictly convex in W: every solver ends in the same place. Here L-BFGS runs in coordinates in which the Hessian at W = 0
is the identity, which takes fewer passes over the features than plain coordinates (benchmarks/bench_probe.py).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize

from bench.analysis.inputs import AnalysisError, check_features, check_labels

C = 1.0
TOLERANCE = 1e-4
"""Largest component of the gradient at the end, scikit-learn's default."""


@dataclass(frozen=True)
class LinearClassifier:
    """x -> softmax(((x - mean) / scale) @ weight + bias)."""

    classes: np.ndarray
    """(K,) int64, sorted: the label that each column stands for."""
    mean: np.ndarray
    scale: np.ndarray
    weight: np.ndarray
    """(d, K)."""
    bias: np.ndarray
    """(K,)."""
    iterations: int
    converged: bool

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(n, d) features -> (n, K) unnormalised log-probabilities."""
        x = check_features(features)
        if x.shape[1] != len(self.mean):
            raise AnalysisError(f"features have {x.shape[1]} dimensions, the classifier was fitted on {len(self.mean)}")
        return ((x - self.mean) / self.scale) @ self.weight + self.bias

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """(n, d) features -> (n, K) log-probabilities, float64; rows sum to one after exp."""
        z = self.logits(features).astype(np.float64)
        z -= z.max(axis=1, keepdims=True)
        return z - np.log(np.exp(z).sum(axis=1, keepdims=True))

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(n, d) features -> (n,) labels."""
        return self.classes[self.logits(features).argmax(axis=1)]


@dataclass(frozen=True)
class Probe:
    """The outcome of a linear probe; errors in percent."""

    error: float
    low: float
    high: float
    """95 % Wilson interval of `error`, over test samples."""
    n_train: int
    n_test: int
    classes: int
    iterations: int
    converged: bool


def fit_linear(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    c: float = C,
    tolerance: float = TOLERANCE,
    max_iterations: int = 3000,
) -> LinearClassifier:
    """The minimiser of the objective above for (n, d) features and (n,) labels, in the features' own precision.

    Deterministic. Stops where no component of the gradient exceeds `tolerance`; `converged` says whether it got there.
    """
    x = check_features(features)
    y = check_labels(labels, len(x))
    classes, y = np.unique(y, return_inverse=True)
    if len(x) < len(classes):
        raise AnalysisError(f"{len(x)} samples for {len(classes)} classes: a probe needs at least one sample per class")
    mean = x.mean(axis=0, dtype=np.float64).astype(x.dtype)
    x = x - mean
    scale = np.sqrt(np.einsum("ij,ij->j", x, x, dtype=x.dtype) / len(x))
    scale[scale <= np.finfo(x.dtype).eps * np.abs(mean)] = (
        1  # a constant feature carries nothing and must not divide by 0
    )
    x /= scale
    weight, bias, iterations, converged = _minimise(x, y, len(classes), 1 / (c * len(x)), tolerance, max_iterations)
    return LinearClassifier(classes, mean, scale, weight, bias, iterations, converged)


def probe(train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> Probe:
    """Fit on (n_train, d) features, count errors on (n_test, d) ones; classes unseen in training count as errors."""
    test_x = check_features(test_x, "test features")
    if np.shape(test_y) != (len(test_x),):
        raise AnalysisError(
            f"test labels have shape {np.shape(test_y)}, expected ({len(test_x)},), one per row of features"
        )
    classifier = fit_linear(train_x, train_y)
    wrong = int((classifier.predict(test_x) != test_y).sum())
    low, high = wilson(wrong, len(test_x))
    return Probe(
        error=100 * wrong / len(test_x),
        low=100 * low,
        high=100 * high,
        n_train=len(train_x),
        n_test=len(test_x),
        classes=len(classifier.classes),
        iterations=classifier.iterations,
        converged=classifier.converged,
    )


def wilson(count: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a proportion `count` / n, within [0, 1]; 95 % by default (Wilson 1927)."""
    if n < 1 or not 0 <= count <= n:
        raise ValueError(f"{count} of {n} is no proportion")
    p = count / n
    centre = p + z * z / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    whole = 1 + z * z / n
    return max(0.0, float((centre - half) / whole)), min(1.0, float((centre + half) / whole))


def _minimise(
    x: np.ndarray, y: np.ndarray, k: int, penalty: float, tolerance: float, max_iterations: int
) -> tuple[np.ndarray, np.ndarray, int, bool]:
    """Weights (d, k), bias (k,), iterations and whether the tolerance was met, for standardised x and y in 0..k-1."""
    n, d = x.shape
    rows = np.arange(n)
    back = _coordinates(x, k, penalty)  # W = back @ V
    largest = np.inf

    def objective(v: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal largest
        inner = v.reshape(d + 1, k).astype(x.dtype)
        weight = back @ inner[:d]
        z = x @ weight
        z += inner[d]
        z -= z.max(axis=1, keepdims=True)
        true = z[rows, y].astype(np.float64)
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        loss = (np.log(total[:, 0].astype(np.float64)) - true).mean() + penalty / 2 * float(np.vdot(weight, weight))
        z /= total
        z[rows, y] -= 1
        z /= n
        slope = (z.T @ x).T + x.dtype.type(penalty) * weight
        slope_bias = z.sum(axis=0)
        largest = max(np.abs(slope).max(), np.abs(slope_bias).max())
        return float(loss), np.concatenate([(back.T @ slope).ravel(), slope_bias]).astype(np.float64)

    def stop(intermediate_result: object) -> None:
        if largest <= tolerance:
            raise StopIteration

    # The tolerance is on the gradient in the features' own coordinates, so scipy's own criteria are off.
    options = {"maxiter": max_iterations, "maxfun": 2 * max_iterations, "maxcor": 20, "gtol": 0.0, "ftol": 0.0}
    result = minimize(objective, np.zeros((d + 1) * k), jac=True, method="L-BFGS-B", callback=stop, options=options)
    objective(result.x)  # the last evaluation may have been a rejected step
    final = result.x.reshape(d + 1, k)
    return back @ final[:d].astype(x.dtype), final[d].astype(x.dtype), int(result.nit), bool(largest <= tolerance)


def _coordinates(x: np.ndarray, k: int, penalty: float) -> np.ndarray:
    """(d, d) map R^-1 with R^T R = x^T x / (n k) + penalty: the Hessian at W = 0, where every probability is 1/k."""
    hessian = (x.T @ x).astype(np.float64) / (len(x) * k)
    hessian[np.diag_indices(len(hessian))] += penalty
    upper = cholesky(hessian, lower=False, overwrite_a=True, check_finite=False)
    return solve_triangular(upper, np.eye(len(upper)), lower=False, check_finite=False).astype(x.dtype)
