"""Metrics of dense fields of NAS-Bench-360: Darcy's relative L2 and PSICOV's MAE_8."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tasks.metrics_core import Metric

Extra = Mapping[str, np.ndarray]
PAD = 5
"""Pixels of padding before a protein's first residue (DEEPCON)."""


def relative_l2(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """mean_i ‖p_i − y_i‖₂ / ‖y_i‖₂, fields flattened per sample, in physical units.

    pred and target (n, K, H, W). Unit 1. Range [0, ∞), lower is better; a target that is zero everywhere gives inf or NaN.
    Source: Li et al. 2021 (FNO); NAS-Bench-360 (Darcy).
    """
    n = len(target)
    difference = np.linalg.norm((pred.astype(np.float64) - target).reshape(n, -1), axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(difference / np.linalg.norm(target.astype(np.float64).reshape(n, -1), axis=1)))


def _contact_error(pred: np.ndarray, target: np.ndarray, upper: float, lower: float) -> float:
    """Mean |y − p| over pairs q − p ≥ 24 with y ≤ 8 Å, p = upper·P[p, q] + lower·P[q, p]; NaN without such a pair."""
    row, column = np.nonzero(np.triu(target <= 8.0, k=24))
    if not len(row):
        return float("nan")
    mixed = upper * pred[row, column].astype(np.float64) + lower * pred[column, row]
    return float(np.mean(np.abs(target[row, column] - mixed)))


def mae8(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """mean_protein mean_pq |y_pq − p_pq| over pairs with y ≤ 8 Å and q − p ≥ 24: error of predicted Cβ distances.

    The prediction is symmetrised, each protein is cropped to its own length, errors are averaged over the pairs of a
    protein and then over proteins. A protein without such a pair is left out.

    Args:
        pred: (n, 1, S, S) distances in Å, residues starting at pixel `PAD`.
        target: (n, 1, S, S) true distances in Å, 100 in the padding.
        extra: `length` (n,) int, residues of each protein; with `ignore` (n, 1, S, S), pixels to leave out.

    Unit Å. Range [0, ∞) Å, lower is better. Source: Adhikari 2020 (PDNET/DEEPCON); NAS-Bench-360 (PSICOV).
    """
    if np.isnan(pred).any():
        return float("nan")
    if "ignore" in extra:
        target = np.where(np.asarray(extra["ignore"], bool), np.inf, target)
    scores = []
    for p, y, length in zip(pred[:, 0], target[:, 0], extra["length"], strict=True):
        inside = slice(PAD, PAD + int(length))
        scores.append(_contact_error(p[inside, inside], y[inside, inside], 0.5, 0.5))
    return _mean_known(scores)


def mae8_paper(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """MAE_8 as published code computes it, three defects kept.

    Every protein is cropped to the length of the *first* one (its batch index is always 0); averaging the triangles in
    place and then again weighs them 0.25 (upper) and 0.75 (lower); predictions are floored at 0.01 Å. Where published
    code stops at a protein without a qualifying pair, this leaves the protein out.

    mean_protein mean_pq |y_pq − p_pq|; pred, target (n, 1, S, S) and `length` (n,) as in `mae8`. Unit Å. Range [0, ∞) Å,
    lower is better. Source: ORCA's code.
    """
    if np.isnan(pred).any():
        return float("nan")
    inside = slice(PAD, PAD + int(extra["length"][0]))
    return _mean_known(
        [
            _contact_error(np.maximum(p[inside, inside], 0.01), y[inside, inside], 0.25, 0.75)
            for p, y in zip(pred[:, 0], target[:, 0], strict=True)
        ]
    )


def _mean_known(scores: list[float]) -> float:
    known = [s for s in scores if not np.isnan(s)]
    return float(np.mean(known)) if known else float("nan")


DENSE_METRICS = (
    Metric("relative_l2", relative_l2, "1", False, (0.0, float("inf")),
           "mean_i ||p_i - y_i||_2 / ||y_i||_2", "Li et al. 2021; NAS-Bench-360 (Darcy)"),
    Metric("mae8", mae8, "Å", False, (0.0, float("inf")),
           "mean over proteins of mean |y - p| over pairs >= 24 apart with y <= 8", "NAS-Bench-360 (PSICOV)"),
    Metric("mae8_paper", mae8_paper, "Å", False, (0.0, float("inf")),
           "as mae8, cropped to the first protein's length, triangles weighed 0.25 and 0.75", "ORCA's code (PSICOV)"),
)  # fmt: skip
