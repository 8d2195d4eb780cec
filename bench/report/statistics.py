"""Statistics over seeds and over tasks, honest about how few there are. Pure functions of numbers; sources named.

A matrix of scores has one row per task and one column per method; NaN is a cell without a score. `higher` says for each
task whether more is better; every function takes it, so that accuracies and errors can stand in one comparison.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Summary:
    """A sample over seeds: `std` and the interval are None where n < 2."""

    n: int
    mean: float
    std: float | None
    """Sample standard deviation (n - 1 in the denominator)."""
    low: float | None
    high: float | None
    """Student's t interval of the mean."""


def summarise(values: Sequence[float], level: float = 0.95) -> Summary:
    """Mean, standard deviation and t interval; ValueError for an empty sample.

    Source: Student (1908); mean ± t_{n-1, (1+level)/2} · s / √n.
    """
    x = np.asarray(values, dtype=float)
    if x.size == 0:
        raise ValueError("no values to summarise")
    mean = float(x.mean())
    if x.size == 1:
        return Summary(1, mean, None, None, None)
    std = float(x.std(ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, x.size - 1)) * std / math.sqrt(x.size)
    return Summary(int(x.size), mean, std, mean - half, mean + half)


def oriented(scores: np.ndarray, higher: Sequence[bool]) -> np.ndarray:
    """Scores (tasks, methods) with the sign turned where higher is better, so that lower is better everywhere."""
    return np.asarray(scores, dtype=float) * np.where(np.asarray(higher, dtype=bool), -1.0, 1.0)[:, None]


def ranks(scores: np.ndarray, higher: Sequence[bool]) -> np.ndarray:
    """Rank of each method on each task, 1 is best, ties share their mean rank; a NaN (failed) ranks behind all scores.

    Source: Friedman (1937); Demšar, JMLR 7 (2006), section 3.2.2.
    """
    low = oriented(scores, higher)
    worst_last = np.where(np.isnan(low), np.inf, low)
    return stats.rankdata(worst_last, axis=1)


def win_rate(scores: np.ndarray, higher: Sequence[bool]) -> np.ndarray:
    """For each method the share of (task, other method) pairs that it wins; a tie counts half, a NaN loses to a score.

    Each task weighs the same. NaN for a single method.
    """
    low = oriented(scores, higher)
    low = np.where(np.isnan(low), np.inf, low)
    tasks, methods = low.shape
    if methods < 2 or tasks == 0:
        return np.full(methods, np.nan)
    mine, theirs = low[:, :, None], low[:, None, :]
    points = (mine < theirs) + 0.5 * (mine == theirs)
    return (points.sum(axis=2) - 0.5).mean(axis=0) / (methods - 1)


def relative_difference(a: np.ndarray, b: np.ndarray, higher: Sequence[bool]) -> np.ndarray:
    """(a - b) / (|a| + |b|) per task, signed so that negative means `a` is better; 0 where both are 0.

    Free of units, so that tasks with different metrics can be ranked by it. For positive scores it is tanh(½ ln(a/b)),
    hence orders differences as the logarithm of the ratio does.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    size = np.abs(a) + np.abs(b)
    difference = np.divide(a - b, size, out=np.zeros_like(size), where=size > 0)
    return difference * np.where(np.asarray(higher, dtype=bool), -1.0, 1.0)


def signed_rank_p(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test by the exact null distribution, ties in |difference| included.

    Differences must not be zero. Each of the 2^n signs is equally likely; the distribution of the rank sum is built up
    one rank at a time (ranks doubled, so that midranks are whole numbers). Source: Wilcoxon (1945); Streitberg &
    Röhmel, Statistical Software Newsletter 12 (1986).
    """
    doubled = np.rint(2 * stats.rankdata(np.abs(differences))).astype(int)
    total, observed = int(doubled.sum()), int(doubled[differences > 0].sum())
    chance = np.zeros(total + 1)
    chance[0] = 1.0
    for rank in doubled:
        chance[rank:] = (chance[rank:] + chance[:-rank]) / 2
        chance[:rank] /= 2
    tail = min(observed, total - observed)
    return min(1.0, 2 * float(chance[: tail + 1].sum()))


def smallest_p(n: int) -> float:
    """The smallest two-sided p that the exact signed-rank test of n untied, non-zero differences can reach: 2^(1-n)."""
    return min(1.0, 2.0 ** (1 - n))


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: p_(i) times (m - i + 1), made monotone and cut at 1. Source: Holm (1979)."""
    order = np.argsort(p, kind="stable")
    out = np.empty(len(p))
    out[order] = np.minimum(1, np.maximum.accumulate(np.arange(len(p), 0, -1) * np.asarray(p, dtype=float)[order]))
    return out.tolist()


@dataclass(frozen=True)
class Pair:
    """Two methods compared over the tasks that both have a score on."""

    a: str
    b: str
    n: int
    wins: int
    ties: int
    losses: int
    """Tasks on which `a` is better, equal, worse."""
    p: float | None
    """Two-sided Wilcoxon signed-rank p; None where there is no task or no difference."""
    p_holm: float | None
    smallest: float
    """`smallest_p(n)`: whether p could have been small at all."""


def paired(names: Sequence[str], scores: np.ndarray, higher: Sequence[bool]) -> list[Pair]:
    """Every pair of methods, by Wilcoxon's signed-rank test over tasks, p adjusted by Holm over all pairs.

    Zero differences are dropped; the distribution is exact. Source: Demšar, JMLR 7 (2006), section 3.1.3.
    """
    flags = np.asarray(higher, dtype=bool)
    pairs = list(itertools.combinations(range(len(names)), 2))
    differences = []
    for i, j in pairs:
        both = ~np.isnan(scores[:, [i, j]]).any(axis=1)
        differences.append(relative_difference(scores[both, i], scores[both, j], flags[both]))
    p = [signed_rank_p(d[d != 0]) if d.any() else None for d in differences]
    adjusted = iter(holm([value for value in p if value is not None]))
    return [
        Pair(
            names[i],
            names[j],
            n=len(d),
            wins=int((d < 0).sum()),
            ties=int((d == 0).sum()),
            losses=int((d > 0).sum()),
            p=value,
            p_holm=None if value is None else next(adjusted),
            smallest=smallest_p(len(d)),
        )
        for (i, j), d, value in zip(pairs, differences, p, strict=True)
    ]


@dataclass(frozen=True)
class Friedman:
    """Friedman's test over complete tasks, and Nemenyi's critical difference of average ranks."""

    n: int
    average_ranks: tuple[float, ...]
    p: float
    critical_difference: float


MIN_TASKS_FOR_NEMENYI = 5
"""Below this the chi-square approximation is not worth drawing; Demšar (2006) asks for 10 tasks and 5 methods."""


def friedman(scores: np.ndarray, higher: Sequence[bool], alpha: float = 0.05) -> Friedman | None:
    """Friedman's chi-square and CD = q_α √(k(k+1)/6N); None for fewer than 3 methods or too few complete tasks.

    Source: Friedman (1937); Nemenyi (1963); Demšar, JMLR 7 (2006), section 3.2.2 (q_α is the studentised range for
    infinite degrees of freedom divided by √2).
    """
    complete = ~np.isnan(scores).any(axis=1)
    chosen, k = scores[complete], scores.shape[1]
    n = len(chosen)
    if k < 3 or n < MIN_TASKS_FOR_NEMENYI:
        return None
    low = oriented(chosen, np.asarray(higher)[complete])
    if np.ptp(low, axis=1).max() == 0:
        return None
    rank = stats.rankdata(low, axis=1).mean(axis=0)
    q = float(stats.studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2)
    p = float(stats.friedmanchisquare(*low.T).pvalue)
    return Friedman(n, tuple(map(float, rank)), p, q * math.sqrt(k * (k + 1) / (6 * n)))


def performance_ratios(scores: np.ndarray, higher: Sequence[bool]) -> np.ndarray:
    """How many times worse than the best method of its task each score is, >= 1; inf for a NaN. Scores must be >= 0.

    Source: Dolan & Moré, Mathematical Programming 91 (2002); for a metric where higher is better the ratio is turned.
    """
    x = np.asarray(scores, dtype=float)
    if (x < 0).any():
        raise ValueError("performance ratios need scores that are not negative")
    more = np.asarray(higher, dtype=bool)[:, None]
    best = np.where(more, np.fmax.reduce(x, axis=1, keepdims=True), np.fmin.reduce(x, axis=1, keepdims=True))
    above, below = np.where(more, best, x), np.where(more, x, best)
    ratio = np.divide(above, below, out=np.full_like(x, np.inf), where=~np.isnan(x) & (below > 0))
    return np.where(x == best, 1.0, ratio)


def performance_profile(ratios: np.ndarray, tau: np.ndarray) -> np.ndarray:
    """Share of tasks on which each method is within a factor tau of the best: (len(tau), methods)."""
    return (ratios[None, :, :] <= np.asarray(tau)[:, None, None]).mean(axis=1)
