"""The linear probe: how well a linear classifier reads source classes from an encoder's features (MoNA, Fig. 3).

Features are standardised with the training split's mean and deviation; then scikit-learn's multinomial logistic
regression with an L2 penalty, its strength left at the default: nothing is tuned, so two encoders differ by their
features alone and no test sample chooses anything. Newton's method ends at the optimum of that strictly convex objective
in a tenth of the iterations of L-BFGS, which stops beside it at the same tolerance (docs/performance.md).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.inputs import AnalysisError, check_features, check_labels

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

C = 1.0
TOLERANCE = 1e-4
"""Largest component of the gradient at the end, scikit-learn's default."""
MOST_ITERATIONS = 300


@dataclass(frozen=True)
class LinearClassifier:
    """A fitted scaler and regression that refuse features of another width."""

    fitted: Pipeline
    converged: bool

    @property
    def classes(self) -> np.ndarray:
        """(K,) int64, sorted: the label that each column stands for."""
        return self.fitted.classes_

    def log_probabilities(self, features: np.ndarray) -> np.ndarray:
        """(n, d) features -> (n, K) log-probabilities, float64; rows sum to one after exp."""
        from scipy.special import log_softmax

        z = self.fitted.decision_function(self._checked(features).astype(np.float64))
        return log_softmax(z if z.ndim == 2 else np.stack([np.zeros_like(z), z], axis=1), axis=1)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """(n, d) features -> (n,) labels."""
        return self.fitted.predict(self._checked(features))

    def _checked(self, features: np.ndarray) -> np.ndarray:
        x, width = check_features(features), self.fitted.n_features_in_
        if x.shape[1] != width:
            raise AnalysisError(f"features have {x.shape[1]} dimensions, the classifier was fitted on {width}")
        return x


@dataclass(frozen=True)
class Probe:
    """The outcome of a linear probe; errors in percent."""

    error: float
    low: float
    high: float
    """95 % Wilson interval of `error`, over test samples (Wilson 1927)."""
    n_train: int
    n_test: int
    classes: int
    converged: bool


def fit_linear(features: np.ndarray, labels: np.ndarray, *, tolerance: float = TOLERANCE) -> LinearClassifier:
    """The regression above for (n, d) features and (n,) labels, in the features' own precision. Deterministic.

    Stops where no component of the gradient exceeds `tolerance`; `converged` says whether it got there.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = check_features(features)
    y = check_labels(labels, len(x))
    if len(x) < (classes := len(np.unique(y))):
        raise AnalysisError(f"{len(x)} samples for {classes} classes: a probe needs at least one sample per class")
    regression = LogisticRegression(C=C, tol=tolerance, max_iter=MOST_ITERATIONS, solver="newton-cg")
    with warnings.catch_warnings(record=True) as said:  # of iterations that ran out, or a step that was not found
        warnings.simplefilter("always")
        fitted = make_pipeline(StandardScaler(), regression).fit(x, y)
    return LinearClassifier(fitted, converged=not said)


def probe(train_x: np.ndarray, train_y: np.ndarray, test_x: np.ndarray, test_y: np.ndarray) -> Probe:
    """Fit on (n_train, d) features, count errors on (n_test, d) ones; classes unseen in training count as errors."""
    from scipy.stats import binomtest

    test_x = check_features(test_x, "test features")
    if np.shape(test_y) != (len(test_x),):
        raise AnalysisError(
            f"test labels have shape {np.shape(test_y)}, expected ({len(test_x)},), one per row of features"
        )
    classifier = fit_linear(train_x, train_y)
    wrong = int((classifier.predict(test_x) != test_y).sum())
    interval = binomtest(wrong, len(test_x)).proportion_ci(0.95, method="wilson")
    return Probe(
        error=100 * wrong / len(test_x),
        low=100 * float(interval.low),
        high=100 * float(interval.high),
        n_train=len(train_x),
        n_test=len(test_x),
        classes=len(classifier.classes),
        converged=classifier.converged,
    )
