"""Metrics of ranked scores: average precision and area under the ROC curve, vectorised by sorting."""

from __future__ import annotations

import numpy as np

from tasks.metrics.core import Extra, error_of, in_chunks


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve of one label, by the rank-sum identity (ties count half).

    Args:
        score: (n,) real scores, larger means more likely positive.
        positive: (n,) of 0 and 1.

    Returns:
        In [0, 1]; NaN when there is no positive or no negative, or when a score is NaN.
    """
    positive = np.asarray(positive, bool)
    n_pos = int(positive.sum())
    n_neg = positive.size - n_pos
    if n_pos == 0 or n_neg == 0 or np.isnan(score).any():
        return float("nan")
    from scipy.stats import rankdata  # 0.4 s of CPU time that most cells have no use for

    ranks = rankdata(score)
    return float((ranks[positive].sum(dtype=np.float64) - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def average_precision(score: np.ndarray, positive: np.ndarray) -> float:
    """Average precision Σ (R_k − R_{k−1}) P_k of one label over its distinct scores, highest first (no interpolation).

    Args and NaN rules as in `auroc`, except that no negative is needed.
    """
    positive = np.asarray(positive, bool)
    n_pos = int(positive.sum())
    if n_pos == 0 or np.isnan(score).any():
        return float("nan")
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(positive[order])
    last_of_tie = np.append(np.diff(score[order]) != 0, True)
    hits, seen = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
    return float((np.diff(hits, prepend=0) / n_pos * (hits / seen)).sum())


def group_mean(values: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of `values` (n, K) over the rows of each group, and each group's first row: (G, K), (G,)."""
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(group[order]) != 0))
    counts = np.diff(np.append(starts, len(group)))
    sums = np.add.reduceat(values[order].astype(np.float64), starts, axis=0)
    return sums / counts[:, None], order[starts]


def _macro(function, pred: np.ndarray, target: np.ndarray) -> float:
    """Mean of `function` over labels (columns), leaving out the labels for which it is undefined."""
    values = np.array([function(pred[:, k], target[:, k]) for k in range(pred.shape[1])])
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def one_minus_map(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """1 − mean_k AP_k, AP_k = Σ_j (R_j − R_{j−1}) P_j of label k: 1 − macro mean average precision.

    Args:
        pred: (n, K) logits; any increasing function of the probability gives the same value within a clip.
        target: (n, K) in {0, 1}.
        extra: with `clip` (n,) int, rows are chunks: their logits are averaged over each clip first (FSD50K).

    Labels without a positive in the split are left out of the mean. Unit 1. Range [0, 1], lower is better.
    Source: NAS-Bench-360 (FSD50K); average precision as in scikit-learn.
    """
    if "clip" in extra:
        pred, first = group_mean(pred, extra["clip"])
        target = target[first]
    return 1.0 - _macro(average_precision, pred, target)


def one_minus_auroc(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """1 − mean_k AUROC_k, or 1 − AUROC over all pixels of dense logits.

    Args:
        pred: (n, K) logits, or (n, 1, H, W) per-pixel logits (Cosmic).
        target: same shape, in {0, 1}.
        extra: with `ignore` (n, 1, H, W), pixels to leave out.

    Labels without a positive or without a negative are left out (nanmean). Unit 1. Range [0, 1], lower is better.
    Source: NAS-Bench-360 (DeepSEA, Cosmic); Zhou & Troyanskaya 2015 for the mean over labels.
    """
    if pred.ndim == 2:
        return 1.0 - _macro(auroc, pred, target)
    keep = ~np.asarray(extra["ignore"], bool) if "ignore" in extra else np.ones(pred.shape, bool)
    return 1.0 - auroc(pred[keep], target[keep] > 0.5)


RANKING_METRICS = (
    error_of(one_minus_map, "1", "1 - mean_k AP_k; logits averaged over the chunks of a clip",
             "NAS-Bench-360, FSD50K", most=1.0),
    error_of(one_minus_auroc, "1", "1 - nanmean_k AUROC_k (dense: one AUROC over all pixels not ignored)",
             "NAS-Bench-360, DeepSEA and Cosmic", most=1.0),
    error_of(in_chunks(one_minus_auroc, 1008, shuffled=True), "1",
             "mean over chunks of 1008 samples in random order of (1 - nanmean_k AUROC_k)",
             "ORCA's code, DeepSEA, batch size 16", most=1.0, name="one_minus_auroc_chunks_1008"),
)  # fmt: skip
