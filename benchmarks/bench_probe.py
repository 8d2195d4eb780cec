"""The probe on what a cell keeps, at most 2,000 + 1,000 source samples: taking features, and the regression on them.

Beside it scikit-learn's default solver, L-BFGS, on the same standardised features at the same tolerance, and at a
tenth of it in float64, which is nearer to the optimum.
"""

import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from bench.analysis.features import choose_source
from bench.analysis.probe import TOLERANCE, fit_linear
from bench.backbones import BACKBONES
from bench.models.source import load_source_model
from bench.sources.data import SourceData
from bench.sources.load import SOURCES, load_source

CASES = [("swin_micro", "digits"), ("swin_micro", "fashion_mnist"), ("minilm", "topics")]


def source_of(backbone, name):
    """Source data behind a body; the test skips where either is not here."""
    spec = BACKBONES[backbone]
    if reason := spec.missing() or SOURCES[name].missing(Path("data")):
        pytest.skip(reason)
    return SourceData(load_source_model(spec), load_source(name, spec, Path("data"), "none", 0))


@pytest.mark.parametrize(("backbone", "name"), CASES)
def test_features(benchmark, backbone, name):
    """One pass of the body over the chosen samples."""
    source = source_of(backbone, name)
    rows, _ = choose_source(source)
    taken = benchmark.pedantic(lambda: source.encoded(source.model.encoder, rows), rounds=1, iterations=1)
    benchmark.extra_info |= {"samples": len(taken), "dimensions": taken.shape[1]}
    assert taken.shape == (len(rows), source.model.spec.out_width)


@pytest.mark.parametrize(("backbone", "name"), CASES)
def test_regression_against_the_default_solver(benchmark, backbone, name):
    """The regression alone, with its error and those of the default solver and of the optimum."""
    source = source_of(backbone, name)
    rows, test = choose_source(source)
    y, y_test = source.labels_of(rows[~test]), source.labels_of(rows[test])
    x = source.encoded(source.model.encoder, rows).numpy()
    ours = benchmark.pedantic(lambda: fit_linear(x[~test], y), rounds=3, iterations=1, warmup_rounds=1)
    error = 100 * np.mean(ours.predict(x[test]) != y_test)

    scaler = StandardScaler().fit(x[~test])

    def other(tolerance, precision=np.float32):
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            return LogisticRegression(tol=tolerance, max_iter=20_000).fit(
                scaler.transform(x[~test].astype(precision)), y
            )

    def error_of(fitted):
        return 100 * np.mean(fitted.predict(scaler.transform(x[test])) != y_test)

    clock = time.perf_counter()
    default = other(TOLERANCE)
    seconds = time.perf_counter() - clock
    benchmark.extra_info |= {
        "error_percent": error,
        "default_error_percent": error_of(default),
        "optimum_error_percent": error_of(other(TOLERANCE / 10, np.float64)),
        "default_seconds": seconds,
        "default_over_ours": seconds / benchmark.stats.stats.median,
        "dimensions": x.shape[1],
    }
    assert ours.converged and abs(error - benchmark.extra_info["optimum_error_percent"]) <= 0.3
