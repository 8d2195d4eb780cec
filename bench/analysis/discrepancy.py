"""The modality semantic knowledge discrepancy D(M^s, M^t) (MoNA, Definition 1).

D is the least distance between P(Y^s_{pi,B} | x) and P(Y^t | x): on one side what a source classifier says of embedded
target inputs, read through a choice B of as many source classes as the target has and a pairing pi of the two; on the
other side the target labels, one-hot. The distance is the total variation, averaged over samples. With q_i the
probability given to the source class paired with the label of sample i, and m_i the probability of B as a whole:

- `unnormalised`: 1 - mean q_i. Probability outside B counts as one further outcome, so both sides are distributions.
  A sum over pairs, so the best B and pi are a rectangular linear assignment: exact.
- `matched_only`: (1 + mean m_i) / 2 - mean q_i, half the L1 distance over B alone, probability outside B ignored. A
  linear assignment too, exact; but it can stay near 1/2 by choosing classes that the classifier never names.
- `renormalised`: 1 - mean q_i / m_i, the distribution conditioned on B. For a given B the best pi is again a linear
  assignment; B is searched in full where there are few subsets, else by exchanging one class at a time from the
  unnormalised solution, which ends in a local optimum.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from bench.analysis.inputs import AnalysisError, check_features, check_labels

MOST_SUBSETS = 2000
"""Up to so many subsets B the renormalised variant is searched in full."""
LEAST_LOG = -690.0
"""Log-probabilities below are raised to this (1e-300), so that a subset without any mass has a uniform conditional."""
SHUFFLES = 20


@dataclass(frozen=True)
class Discrepancy:
    """D in its variants, each in [0, 1], with the source class paired with each target class."""

    unnormalised: float
    pairing: np.ndarray
    """(K,) source class index of each target class, for `unnormalised`."""
    matched_only: float
    matched_only_pairing: np.ndarray
    renormalised: float
    renormalised_pairing: np.ndarray
    renormalised_exact: bool
    """Whether every subset was searched; False: a local optimum, no worse than `pairing` renormalised."""
    chance: float
    """Mean `unnormalised` with the target labels shuffled: what this classifier scores with no relation at all."""
    target_classes: np.ndarray
    """(K,) the labels, in the order of the pairings."""


def discrepancy(log_probabilities: np.ndarray, labels: np.ndarray, seed: int = 0) -> Discrepancy:
    """D from the source classifier's (n, S) log-probabilities on embedded target inputs and their (n,) labels.

    `seed` draws the shuffles of `chance` alone. Raises AnalysisError where the definition has no meaning: fewer source
    classes than target classes (see `group_classes`), fewer samples than classes, a single class, NaN.
    """
    logs = np.asarray(log_probabilities, dtype=np.float64)
    p = np.exp(np.maximum(check_features(np.where(logs == -np.inf, LEAST_LOG, logs), "log-probabilities"), LEAST_LOG))
    if np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise AnalysisError("rows of the source classifier's probabilities do not sum to one: pass log-probabilities")
    y = check_labels(labels, len(p), "target labels")
    classes, y = np.unique(y, return_inverse=True)
    if len(classes) > p.shape[1]:
        raise AnalysisError(
            f"{len(classes)} target classes but {p.shape[1]} source classes: D needs as many of the latter; "
            "group the target classes first (`group_classes`) or use source data with more classes"
        )
    if len(p) < len(classes):
        raise AnalysisError(f"{len(p)} samples for {len(classes)} target classes: D needs at least one per class")
    scores = paired_scores(p, y, len(classes))
    pairing = _assign(scores)
    matched = _assign(scores - p.mean(axis=0) / 2)
    renormalised, exact = _search(p, y, pairing)
    rng = np.random.default_rng(seed)
    shuffled = [paired_scores(p, rng.permutation(y), len(classes)) for _ in range(SHUFFLES)]
    return Discrepancy(
        unnormalised=unnormalised(p, y, pairing),
        pairing=pairing,
        matched_only=matched_only(p, y, matched),
        matched_only_pairing=matched,
        renormalised=renormalised_at(p, y, renormalised),
        renormalised_pairing=renormalised,
        renormalised_exact=exact,
        chance=float(np.mean([1 - s[np.arange(len(classes)), _assign(s)].sum() for s in shuffled])),
        target_classes=classes,
    )


def paired_scores(p: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """(k, S): mean over all samples of the probability of source class s where the label is k, else 0."""
    return np.stack([p[y == label].sum(axis=0) for label in range(k)]) / len(p)


def unnormalised(p: np.ndarray, y: np.ndarray, pairing: np.ndarray) -> float:
    """1 - mean q_i at a pairing; p (n, S), y (n,) in 0..K-1, pairing (K,)."""
    return float(1 - p[np.arange(len(p)), pairing[y]].mean())


def matched_only(p: np.ndarray, y: np.ndarray, pairing: np.ndarray) -> float:
    """Half the mean L1 distance between p over the paired classes and the one-hot labels."""
    return float((1 + p[:, pairing].sum(axis=1).mean()) / 2 - p[np.arange(len(p)), pairing[y]].mean())


def renormalised_at(p: np.ndarray, y: np.ndarray, pairing: np.ndarray) -> float:
    """1 - mean q_i / m_i at a pairing."""
    return float(1 - (p[np.arange(len(p)), pairing[y]] / p[:, pairing].sum(axis=1)).mean())


def group_classes(features: np.ndarray, labels: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Target classes merged into `count` groups, for a source with fewer classes than the target.

    k-means on the class means of (n, d) features. Returns the new labels (n,) and the group of each class, in the order
    of np.unique(labels). Every group has at least one class.
    """
    from sklearn.cluster import KMeans

    x = check_features(features).astype(np.float64)
    classes, y = np.unique(check_labels(labels, len(x)), return_inverse=True)
    if not 2 <= count <= len(classes):
        raise AnalysisError(
            f"{len(classes)} classes cannot be merged into {count} groups: expected 2 to {len(classes)}"
        )
    means = np.stack([x[y == label].mean(axis=0) for label in range(len(classes))])
    if len(np.unique(means, axis=0)) < count:
        raise AnalysisError(f"the class means of the features do not differ enough for {count} groups")
    groups = KMeans(count, n_init=10, random_state=seed).fit_predict(means).astype(np.int64)
    return groups[y], groups


def _assign(scores: np.ndarray) -> np.ndarray:
    """The pairing (K,) of rows with distinct columns that maximises the sum of `scores` (K, S), K <= S."""
    return linear_sum_assignment(scores, maximize=True)[1]


def _best_within(p: np.ndarray, y: np.ndarray, subset: np.ndarray, k: int) -> np.ndarray:
    """The best pairing for the renormalised variant among permutations of `subset` (K,): exact."""
    inside = p[:, subset]
    return subset[_assign(paired_scores(inside / inside.sum(axis=1, keepdims=True), y, k))]


def _search(p: np.ndarray, y: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, bool]:
    """The best pairing found for the renormalised variant, and whether all subsets were searched."""
    k, s = len(start), p.shape[1]
    if math.comb(s, k) <= MOST_SUBSETS:
        subsets = (np.array(subset) for subset in itertools.combinations(range(s), k))
        candidates = [_best_within(p, y, subset, k) for subset in subsets]
        return min(candidates, key=lambda pairing: renormalised_at(p, y, pairing)), True
    best = _best_within(p, y, start, k)
    value = renormalised_at(p, y, best)
    improved = True
    while improved:
        improved = False
        for place in range(k):
            for other in np.setdiff1d(np.arange(s), best):
                changed = best.copy()
                changed[place] = other
                changed = _best_within(p, y, changed, k)
                candidate = renormalised_at(p, y, changed)
                if candidate < value - 1e-12:
                    best, value, improved = changed, candidate, True
                    break
    return best, False
