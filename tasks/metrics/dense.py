"""Metrics of dense fields of NAS-Bench-360: Darcy's relative L2 and PSICOV's MAE_8."""

from __future__ import annotations

import numpy as np

from tasks.metrics.core import Extra, error_of

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


FLOOR = 0.01
"""Å; public code raises smaller predictions to this."""


def contacts(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(p, q) of the pairs of a map (L, L) that MAE_8 counts: at most 8 Å apart, q − p ≥ 24."""
    row, column = np.nonzero(np.triu(target <= 8.0, k=24))
    return row, column


def _contact_error(pred: np.ndarray, target: np.ndarray, published: bool = False) -> float:
    """Mean |y − p| over pairs q − p ≥ 24 with y ≤ 8 Å; NaN without such a pair. Maps (L, L) of one protein.

    p is the mean u of the two triangles. `published` averages as public code does: once in place, which leaves u above
    the diagonal and the prediction below it, then a floor of 0.01 Å, then both again: 0.25 and 0.75 of the two.
    """
    row, column = contacts(target)
    if not len(row):
        return float("nan")
    upper, lower = pred[row, column].astype(np.float64), pred[column, row].astype(np.float64)
    mixed = (upper + lower) / 2
    if published:
        mixed = (np.maximum(mixed, FLOOR) + np.maximum(lower, FLOOR)) / 2
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
    if "ignore" in extra:
        target = np.where(np.asarray(extra["ignore"], bool), np.inf, target)
    return _mean_of_proteins(pred, target, extra["length"])


def mae8_paper(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """MAE_8 as ORCA's code computes it: the mean of `mae8_nb360`, with one more defect kept.

    Every protein is cropped to the length of the *first* one (its batch index is always 0). Where that code stops at a
    protein without a qualifying pair, this leaves the protein out.

    pred, target (n, 1, S, S) and `length` (n,) as in `mae8`. Unit Å. Range [0, ∞) Å, lower is better.
    Source: ORCA's code.
    """
    return _mean_of_proteins(pred, target, np.broadcast_to(extra["length"][0], len(pred)), published=True)


def mae8_nb360(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """MAE_8 as NAS-Bench-360's code computes it, each protein at its own length.

    mean_protein mean_pq |y_pq − p_pq|, p_pq a mean of the triangles that weighs them 0.25 (upper) and 0.75 (lower), floored
    at 0.01 Å after the first of its two averages; nothing but padding is left out. That code's test loader also shuffles
    the proteins against their lengths, which is not kept. pred, target (n, 1, S, S) and `length` (n,) as in `mae8`.
    Unit Å. Range [0, ∞) Å, lower is better. Source: NAS-Bench-360's code (PSICOV).
    """
    return _mean_of_proteins(pred, target, extra["length"], published=True)


def _mean_of_proteins(pred: np.ndarray, target: np.ndarray, lengths: np.ndarray, published: bool = False) -> float:
    """Mean of `_contact_error` over the proteins that have such pairs, each cropped to its entry of `lengths`."""
    scores = []
    for p, y, length in zip(pred[:, 0], target[:, 0], lengths, strict=True):
        inside = slice(PAD, PAD + int(length))
        scores.append(_contact_error(p[inside, inside], y[inside, inside], published))
    known = [s for s in scores if not np.isnan(s)]
    return float(np.mean(known)) if known else float("nan")


DENSE_METRICS = (
    error_of(relative_l2, "1", "mean_i ||p_i - y_i||_2 / ||y_i||_2", "Li et al. 2021; NAS-Bench-360 (Darcy)"),
    error_of(mae8, "Å", "mean over proteins of mean |y - p| over pairs >= 24 apart with y <= 8",
             "NAS-Bench-360 (PSICOV)"),
    error_of(mae8_nb360, "Å", "as mae8, triangles weighed 0.25 and 0.75, floored at 0.01 after the first average",
             "NAS-Bench-360's code (PSICOV)"),
    error_of(mae8_paper, "Å", "as mae8_nb360, cropped to the first protein's length", "ORCA's code (PSICOV)"),
)  # fmt: skip
