"""Every PDE metric against a number worked out by hand or in plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tasks.metrics.pde import PDE_METRICS

METRICS = {m.name: m for m in PDE_METRICS}
TARGET_1D = np.array([[[3.0, 4.0, 0.0, 0.0]], [[1.0, 1.0, 1.0, 1.0]]])
ERROR_1D = np.array([[[1.0, 0.0, 0.0, 2.0]], [[0.0, -3.0, 0.0, 0.0]]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nrmse", (math.sqrt(5 / 4) / math.sqrt(25 / 4) + math.sqrt(9 / 4) / 1) / 2),
        ("nrmse_normalised", (math.sqrt(5 / 4) / math.sqrt(25 / 4) + math.sqrt(9 / 4) / 1) / 2),
        ("nrmse_pertimestep", (math.sqrt(5 / 4) / math.sqrt(25 / 4) + math.sqrt(9 / 4) / 1) / 2),
        ("rmse", (math.sqrt(5 / 4) + math.sqrt(9 / 4)) / 2),
        ("max_error", 3.0),
        ("conserved_rmse", math.sqrt((3**2 + 3**2) / 2) / 4),
        ("boundary_rmse", (math.sqrt((1 + 4) / 2) + 0) / 2),
    ],
)
def test_by_hand_in_1d(name, expected):
    assert METRICS[name](TARGET_1D + ERROR_1D, TARGET_1D) == pytest.approx(expected, rel=1e-12)


def test_two_fields_are_flattened_by_nrmse_and_kept_apart_by_pertimestep():
    target = np.array([[[10.0, 10.0], [1.0, 1.0]]])
    pred = target + np.array([[[0.0, 0.0], [1.0, 1.0]]])
    assert METRICS["nrmse"](pred, target) == pytest.approx(1 / math.sqrt(101))
    assert METRICS["nrmse_pertimestep"](pred, target) == pytest.approx((0 + 1) / 2)
    assert METRICS["rmse"](pred, target) == pytest.approx(math.sqrt(0.5))
    assert METRICS["max_error"](pred, target) == pytest.approx((0 + 1) / 2)
    assert METRICS["conserved_rmse"](pred, target) == pytest.approx((0 + 1) / 2)


def test_boundary_in_2d_counts_the_four_edges_with_corners_twice():
    error = np.zeros((1, 1, 3, 4))
    error[0, 0, 0, 0], error[0, 0, 1, 3], error[0, 0, 1, 1] = 2.0, 1.0, 50.0
    expected = math.sqrt((2 * 2.0**2 + 1.0**2) / (2 * 3 + 2 * 4))
    assert METRICS["boundary_rmse"](error, np.zeros_like(error)) == pytest.approx(expected)


@pytest.mark.parametrize(("k", "band", "width"), [(2, "low", 4), (7, "mid", 8), (20, "high", 33 - 12)])
def test_fourier_bands_of_a_single_wave(k, band, width):
    """a cos(2 pi k x) has amplitude a/2 at wavenumber k and nothing elsewhere: a/2 over the width of its band."""
    x = np.arange(64) / 64
    wave = 0.3 * np.cos(2 * np.pi * k * x)[None, None]
    for name in ("low", "mid", "high"):
        expected = 0.15 / width if name == band else 0.0
        assert METRICS[f"fourier_rmse_{name}"](wave, np.zeros_like(wave)) == pytest.approx(expected, abs=1e-14)


def test_fourier_bands_against_the_reference_loops_in_1d_and_2d():
    rng = np.random.default_rng(0)
    for shape in ((3, 2, 40), (3, 2, 30, 30)):
        error = rng.standard_normal(shape)
        spectrum = loops_1d(error) if error.ndim == 3 else loops_2d(error)
        for name, low, high in (("low", 0, 4), ("mid", 4, 12), ("high", 12, None)):
            expected = spectrum[:, low:high].mean()
            assert METRICS[f"fourier_rmse_{name}"](error, np.zeros_like(error)) == pytest.approx(expected)


def loops_1d(error):
    n, channels, nx = error.shape
    out = np.zeros((channels, nx // 2 + 1))
    for c in range(channels):
        for k in range(nx // 2 + 1):
            wave = np.exp(-2j * np.pi * k * np.arange(nx) / nx)
            out[c, k] = math.sqrt(sum(abs((error[i, c] * wave).sum()) ** 2 for i in range(n)) / n) / nx
    return out


def loops_2d(error):
    n, channels, nx, ny = error.shape
    power = np.abs(np.fft.fftn(error, axes=(2, 3))) ** 2
    out = np.zeros((n, channels, min(nx // 2, ny // 2)))
    for i in range(nx // 2):
        for j in range(ny // 2):
            ring = math.floor(math.sqrt(i**2 + j**2))
            if ring <= min(nx // 2, ny // 2) - 1:
                out[:, :, ring] += power[:, :, i, j]
    return np.sqrt(out.mean(axis=0)) / (nx * ny)


@pytest.mark.parametrize("metric", PDE_METRICS, ids=lambda m: m.name)
def test_every_metric_is_zero_for_truth_and_describes_itself(metric):
    target = np.random.default_rng(1).standard_normal((5, 2, 32, 32)).astype(np.float32)
    assert metric(target, target) == 0.0
    assert not metric.higher_is_better and metric.range == (0.0, float("inf"))
    assert metric.formula and metric.source and metric.unit
    assert metric.function.__doc__
    bad = target.copy()
    bad[0, 0, 0, 0] = np.nan
    assert not math.isfinite(metric(bad, target)), "a NaN prediction is never skipped"


def test_nothing_is_invented():
    wave = np.ones((2, 1, 16))
    assert math.isnan(METRICS["fourier_rmse_high"](wave, wave)), "16 points have no wavenumber above 8"
    assert not math.isfinite(METRICS["nrmse"](wave, 0 * wave)), "no epsilon hides an all-zero target"
    with pytest.raises(ValueError, match="predictions"):
        METRICS["nrmse"](wave[:1], wave)
