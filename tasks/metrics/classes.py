"""Metrics of hard decisions: 0-1 error, F1, false negatives, balanced error."""

from __future__ import annotations

from functools import partial

import numpy as np

from tasks.metrics.core import Extra, error_of, in_chunks

NAN = float("nan")


def error(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """0-1 error in percent: 100 · mean[argmax_k pred ≠ target].

    Args:
        pred: (n, K) logits.
        target: (n,) int class labels.

    Unit %. Range [0, 100] %, lower is better. Source: NAS-Bench-360 (CIFAR-100, Spherical, NinaPro, Satellite).
    """
    return 100.0 * float(np.mean(pred.argmax(1) != target))


def confusion(decision: np.ndarray, target: np.ndarray, classes: int) -> np.ndarray:
    """(classes, classes) counts, rows the truth, columns the decision."""
    return np.bincount(target * classes + decision, minlength=classes**2).reshape(classes, classes)


def f1_per_class(counts: np.ndarray) -> np.ndarray:
    """F1 = 2·TP / (2·TP + FP + FN) of every class; NaN for a class in neither truth nor decisions."""
    hit = np.diag(counts).astype(np.float64)
    total = counts.sum(0) + counts.sum(1)
    return np.divide(2 * hit, total, out=np.full(len(hit), NAN), where=total > 0)


def f1_error_windows(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """1 − mean_k F1_k over all K classes, every window on its own (a class never seen and never decided counts 0).

    F1_k = 2·TP / (2·TP + FP + FN). pred (n, K) logits, target (n,) int. Unit 1. Range [0, 1], lower is better.
    Source: DASH/ORCA score windows.
    """
    return 1.0 - float(np.nan_to_num(f1_per_class(confusion(pred.argmax(1), target, pred.shape[1]))).mean())


def majority_votes(pred: np.ndarray, record: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Most frequent argmax among each record's windows, ties to the class met first; and each record's first row."""
    _, first, inverse = np.unique(record, return_index=True, return_inverse=True)
    classes, decision = pred.shape[1], pred.argmax(1)
    cell = inverse * classes + decision
    votes = np.bincount(cell, minlength=len(first) * classes).reshape(-1, classes)
    met = np.full(votes.size, len(pred))
    np.minimum.at(met, cell, np.arange(len(pred)))
    return (votes * (len(pred) + 1) - met.reshape(votes.shape)).argmax(1), first


def f1_error_records(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """1 − mean_k F1_k over all K classes after a majority vote over the windows of each record.

    A tie goes to the class that the record's windows, in order, were first decided for, as `Counter.most_common` has it.
    F1_k as in `f1_error_windows`. pred (n, K) logits; target (n,) int; extra `record` (n,) int, the record of each
    window. Unit 1. Range [0, 1], lower is better. Source: NAS-Bench-360 (ECG); CinC 2017 scores records too.
    """
    decision, first = majority_votes(pred, extra["record"])
    return 1.0 - float(np.nan_to_num(f1_per_class(confusion(decision, target[first], pred.shape[1]))).mean())


def _f1_error_present(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """1 − mean_k F1_k over the classes that occur in truth or decisions of this chunk.

    pred (n, K) logits, target (n,) int. Unit 1. Range [0, 1], lower is better. Source: ORCA's code.
    """
    return 1.0 - float(np.nanmean(f1_per_class(confusion(pred.argmax(1), target, pred.shape[1]))))


def _pixels(pred: np.ndarray, target: np.ndarray, extra: Extra) -> tuple[np.ndarray, np.ndarray]:
    """Scores and truth of the pixels that are not ignored, both 1-D."""
    if "ignore" not in extra:
        return pred.ravel(), target.ravel() > 0.5
    keep = ~np.asarray(extra["ignore"], bool)
    return pred[keep], target[keep] > 0.5


def fnr(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """False negative rate in percent, 100 · FN / (FN + TP), over pixels not ignored; decided by sigmoid > 0.5.

    pred (n, 1, H, W) logits; target the same shape in {0, 1}; extra `ignore` as in the reader. NaN when there is no
    positive pixel. Unit %. Range [0, 100] %, lower is better. Source: NAS-Bench-360's paper (Cosmic).
    """
    score, truth = _pixels(pred, target, extra)
    return 100.0 * float(np.mean(score[truth] <= 0)) if truth.any() else NAN


def fnr_raw_logits(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """100 · FN / (FN + TP) as NAS-Bench-360's code has it, two defects kept: logit > 0.5 decides, ignored pixels count.

    pred, target (n, 1, H, W); `ignore` is not read. NaN when there is no positive pixel. Unit %. Range [0, 100] %, lower
    is better. Source: NAS-Bench-360's code (Cosmic).
    """
    truth = target > 0.5
    return 100.0 * float(np.mean(pred[truth] <= 0.5)) if truth.any() else NAN


def balanced_error(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """1 − (TPR + TNR) / 2 of logit > 0, over pixels not ignored: the area under the ROC "curve" of a hard decision.

    pred (n, 1, H, W) logits, target the same shape. NaN without a positive or a negative pixel. Unit 1. Range [0, 1],
    lower is better, 0.5 for a constant. Source: what scikit-learn's roc_auc_score gives for 0/1 scores.
    """
    score, truth = _pixels(pred, target, extra)
    if truth.all() or not truth.any():
        return NAN
    return 1.0 - (float(np.mean(score[truth] > 0)) + float(np.mean(score[~truth] <= 0))) / 2


def balanced_error_paper(pred: np.ndarray, target: np.ndarray, extra: Extra) -> float:
    """What published code prints as "1 − AUROC" for Cosmic: `balanced_error` with two defects kept.

    Logits are cut at 0 before the ROC curve, and ignored pixels count as true negatives instead of being left out:
    1 − (TPR + TNR) / 2. pred (n, 1, H, W) logits, target the same shape. Unit 1. Range [0, 1], lower is better.
    Source: ORCA's code.
    """
    if "ignore" in extra:
        keep = ~np.asarray(extra["ignore"], bool)
        pred, target = np.where(keep, pred, 0.0), target * keep
    return balanced_error(pred, target, {})


_percent, _fraction = partial(error_of, unit="%", most=100.0), partial(error_of, unit="1", most=1.0)
CLASS_METRICS = (
    _percent(error, formula="100 * mean(argmax != y)", source="NAS-Bench-360"),
    *(
        _percent(
            in_chunks(error, size), name=f"error_chunks_{size}", source=f"ORCA's code, batch size {batch}",
            formula=f"mean over chunks of {size} samples of the 0-1 error",
        )
        for size, batch in ((1024, 32), (1008, 16))
    ),
    _fraction(f1_error_windows, formula="1 - macro F1 over windows", source="DASH, ORCA (ECG)"),
    _fraction(f1_error_records, formula="1 - macro F1 over records, majority vote of windows",
              source="NAS-Bench-360 (ECG)"),
    _fraction(in_chunks(_f1_error_present, 1000, shuffled=True), name="f1_error_windows_chunks_1000",
              formula="mean over chunks of 1000 windows in random order of (1 - mean F1 of the classes present)",
              source="ORCA's code, batch size 4"),
    _percent(fnr, formula="100 * FN / (FN + TP), logit > 0, ignored pixels left out",
             source="NAS-Bench-360 paper (Cosmic)"),
    _percent(fnr_raw_logits, formula="100 * FN / (FN + TP), logit > 0.5, ignored pixels counted",
             source="NAS-Bench-360's code (Cosmic)"),
    _fraction(balanced_error, formula="1 - (TPR + TNR) / 2, ignored pixels left out",
              source="roc_auc_score of a hard decision"),
    _fraction(balanced_error_paper, formula="1 - (TPR + TNR) / 2, ignored pixels counted as true negatives",
              source='ORCA\'s code (Cosmic "1-AUROC")'),
)  # fmt: skip
