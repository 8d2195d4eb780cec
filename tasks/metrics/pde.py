"""PDEBench's metrics on one predicted frame, under names that say which formula is meant.

All take `pred` and `target` (n, K, *space), K fields on a grid of one or two spatial axes (three for `nrmse`, `rmse`,
`max_error`), in physical units (`*_normalised`: in standard deviations), over the whole split at once: a mean over
batches is another number. Computed in float64. A prediction that is not finite gives a value that is not finite.
"""

from __future__ import annotations

import numpy as np

from tasks.metrics.core import Extra, Metric, Score, error_of

BANDS = {"low": (0, 4), "mid": (4, 12), "high": (12, None)}
"""Half-open bands of wavenumbers, as PDEBench's code (not its paper) cuts them."""
CODE = "PDEBench reference code of December 2024, without its averaging over batches"


def _space(a: np.ndarray) -> tuple[int, ...]:
    return tuple(range(2, a.ndim))


def _error(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    if pred.shape != target.shape:
        raise ValueError(f"predictions {pred.shape} for targets {target.shape}")
    return np.asarray(pred, np.float64) - np.asarray(target, np.float64)


def _rms(a: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    return np.sqrt(np.mean(np.square(a, dtype=np.float64), axis=axes))


def rmse(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """mean_i sqrt(mean_j (p_ij - y_ij)^2), j over all fields and points of sample i.

    pred and target (n, K, *space). Unit: the fields' own. Range [0, inf), lower is better. Source: ORCA's code.
    """
    return float(_rms(_error(pred, target), tuple(range(1, pred.ndim))).mean())


def nrmse(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """mean_i sqrt(mean_j (p_ij - y_ij)^2) / sqrt(mean_j y_ij^2), j over all fields and points of sample i; no epsilon.

    PDEBench's "whole trajectory" form, here of one frame. pred and target (n, K, *space). Unit 1. Range [0, inf), lower is
    better; a target that is zero everywhere gives inf or NaN. Source: ORCA's score.
    """
    axes = tuple(range(1, pred.ndim))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(_rms(_error(pred, target), axes) / _rms(target, axes)))


def nrmse_pertimestep(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """mean_ic sqrt(mean_x (p_icx - y_icx)^2) / sqrt(mean_x y_icx^2): PDEBench's nRMSE, a small field weighs like a large one.

    The mean is over samples i, fields c and time steps; these tasks have one time step, so with one field it equals
    `nrmse`. pred and target (n, K, *space). Unit 1. Range [0, inf), lower is better. Source: PDEBench's code.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(_rms(_error(pred, target), _space(pred)) / _rms(target, _space(pred))))


def max_error(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """mean_c max_ix |p_icx - y_icx|: grows with the number of samples.

    pred and target (n, K, *space). Unit: the fields' own. Range [0, inf), lower is better. Source: PDEBench's code.
    """
    return float(np.abs(_error(pred, target)).max(axis=(0, *_space(pred))).mean())


def conserved_rmse(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """mean_c sqrt(mean_i (sum_x p_icx - sum_x y_icx)^2) / N, N points: the error in what a conservation law keeps.

    pred and target (n, K, *space). Unit: the fields' own. Range [0, inf), lower is better. Source: PDEBench's code.
    """
    totals = _error(pred, target).mean(axis=_space(pred))
    return float(_rms(totals, (0,)).mean())


def boundary_rmse(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """mean_ic sqrt(mean_x (p_icx - y_icx)^2), x on the boundary. 1D: both ends. 2D: four edges, corners counted twice.

    pred and target (n, K, *space). Unit: the fields' own. Range [0, inf), lower is better. Source: PDEBench's code.
    """
    e = _error(pred, target)
    if e.ndim == 3:
        edge = e[..., [0, -1]]
    elif e.ndim == 4:
        edge = np.concatenate([e[..., 0, :], e[..., -1, :], e[..., :, 0], e[..., :, -1]], axis=-1)
    else:
        raise ValueError(f"boundary_rmse of a field with {e.ndim - 2} spatial axes; defined for 1 and 2")
    return float(_rms(edge, (2,)).mean())


def _spectrum(error: np.ndarray) -> np.ndarray:
    """Root mean square over samples of the error's Fourier amplitude per wavenumber, (K, wavenumbers), unit domain.

    2D as in the reference: only wavenumbers i, j >= 0, squares summed over the ring floor(sqrt(i^2 + j^2)) < nx / 2.
    """
    space = error.shape[2:]
    if len(space) == 1:
        power = np.abs(np.fft.rfft(error)) ** 2
    elif len(space) == 2:
        half = tuple(n // 2 for n in space)
        quarter = np.abs(np.fft.fft2(error)[..., : half[0], : half[1]]) ** 2
        ring = np.floor(np.hypot(*np.meshgrid(np.arange(half[0]), np.arange(half[1]), indexing="ij"))).astype(int)
        count = min(half)
        power = np.stack([quarter[..., ring == k].sum(axis=-1) for k in range(count)], axis=-1)
    else:
        raise ValueError(f"Fourier bands of a field with {len(space)} spatial axes; defined for 1 and 2")
    return np.sqrt(power.mean(axis=0)) / np.prod(space)


def _fourier(band: str) -> Metric:
    low, high = BANDS[band]

    def function(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
        amplitude = _spectrum(_error(pred, target))[:, low:high]
        return float(amplitude.mean()) if amplitude.size else float("nan")

    function.__doc__ = (
        f"mean_c mean_k sqrt(mean_i |F(p - y)_ick|^2) / N over wavenumbers k in [{low}, {high or 'end'}); NaN on a grid "
        "without any. pred and target (n, K, *space), one or two axes. Unit: the fields' own. Range [0, inf), lower is "
        "better. Source: PDEBench's code."
    )
    above = f"{low} <= k < {high}" if high else f"k >= {low}"
    formula = f"mean_c mean_k sqrt(mean_i |F(p - y)_ick|^2) / N, {above}"
    return error_of(function, "field", formula, CODE, name=f"fourier_rmse_{band}")


def _normalised(function: Score) -> Metric:
    """`function` under a name of its own, for fields that the paper protocol has z-scored and never scales back."""
    name = function.__name__
    formula = f"{name} of fields z-scored point by point and never scaled back"
    source = "ORCA code for the two CFD tasks (Shen et al. 2023)"
    return error_of(function, "1", formula, f"{source}; not {name}", name=f"{name}_normalised")


PDE_METRICS: tuple[Metric, ...] = (
    error_of(nrmse, "1", "mean_i sqrt(mean_j (p_ij - y_ij)^2) / sqrt(mean_j y_ij^2), j over fields and points",
            "ORCA code (Shen et al. 2023); whole split at once"),
    *(_normalised(function) for function in (nrmse, rmse, max_error)),
    error_of(nrmse_pertimestep, "1", "mean_ic sqrt(mean_x (p_icx - y_icx)^2) / sqrt(mean_x y_icx^2)", CODE),
    error_of(rmse, "field", "mean_i sqrt(mean_j (p_ij - y_ij)^2), j over fields and points",
            "ORCA code (Shen et al. 2023); whole split at once"),
    error_of(max_error, "field", "mean_c max_ix |p_icx - y_icx|", CODE),
    error_of(conserved_rmse, "field", "mean_c sqrt(mean_i (sum_x p_icx - sum_x y_icx)^2) / N", CODE),
    error_of(boundary_rmse, "field", "mean_ic sqrt(mean_{x on the boundary} (p_icx - y_icx)^2)", CODE),
    *(_fourier(band) for band in BANDS),
)  # fmt: skip
