"""Statistics of the report against other libraries, closed forms and brute force."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.report import statistics as s

LOWER3, MIXED3 = [False] * 3, [False, True, False]


def test_t_interval_equals_scipy():
    values = [0.3, 0.5, 0.45, 0.38]
    got = s.summarise(values)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (got.n, got.mean, got.std) == (4, pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    assert (got.low, got.high) == (pytest.approx(low), pytest.approx(high))


def test_one_value_has_neither_spread_nor_interval():
    assert s.summarise([0.5]) == s.Summary(1, 0.5, None, None, None)


def test_no_value_is_an_error():
    with pytest.raises(ValueError, match="no values"):
        s.summarise([])


def test_ranks_share_ties_follow_the_direction_and_put_failures_last():
    scores = np.array([[1.0, 2.0, 2.0, np.nan], [1.0, 2.0, 3.0, np.nan]])
    assert s.ranks(scores, [False, True]).tolist() == [[1, 2.5, 2.5, 4], [3, 2, 1, 4]]


def test_win_rate_counts_ties_half_and_failures_as_losses():
    scores = np.array([[1.0, 2.0, 2.0], [1.0, 1.0, np.nan]])
    # method 0: beats both; ties one, beats the failed one
    assert s.win_rate(scores, [False, False]).tolist() == [0.875, 0.5, 0.125]
    assert s.win_rate(scores[:1], [True]).tolist() == [0.0, 0.75, 0.75]
    assert np.isnan(s.win_rate(scores[:, :1], [False, False])).all()


@given(st.lists(st.lists(st.integers(0, 4), min_size=3, max_size=3), min_size=1, max_size=6))
def test_win_rates_and_ranks_are_two_views_of_the_same(rows):
    scores = np.array(rows, dtype=float)
    higher = [i % 2 == 0 for i in range(len(rows))]
    k = scores.shape[1]
    rank = s.ranks(scores, higher).mean(axis=0)
    assert s.win_rate(scores, higher) == pytest.approx((k - rank) / (k - 1))


def test_relative_difference_is_free_of_units_and_signed():
    a, b = np.array([1.0, 30.0, 0.0]), np.array([3.0, 10.0, 0.0])
    assert s.relative_difference(a, b, MIXED3).tolist() == [-0.5, -0.5, 0.0]
    assert s.relative_difference(1000 * a, 1000 * b, MIXED3).tolist() == [-0.5, -0.5, 0.0]


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_relative_difference_orders_as_the_log_ratio(a, b):
    assert s.relative_difference([a], [b], [False])[0] == pytest.approx(math.tanh(0.5 * math.log(a / b)), abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8])
def test_smallest_p_is_what_winning_everywhere_gives(n):
    assert s.smallest_p(n) == pytest.approx(stats.wilcoxon(np.arange(1, n + 1), method="exact").pvalue)


def test_wilcoxon_by_brute_force():
    a = np.array([[1.0, 1.2], [2.0, 2.1], [3.0, 2.6], [4.0, 5.0], [1.0, 1.6]])
    pair = s.paired(["a", "b"], a, [False] * 5)[0]
    d = (a[:, 0] - a[:, 1]) / (a[:, 0] + a[:, 1])
    rank = stats.rankdata(np.abs(d))
    observed = min(rank[d > 0].sum(), rank[d < 0].sum())
    sums = [sum(r for r, sign in zip(rank, signs) if sign) for signs in itertools.product([0, 1], repeat=5)]
    brute = sum(min(t, rank.sum() - t) <= observed for t in sums) / len(sums)
    assert pair.p == pytest.approx(brute)
    assert (pair.n, pair.wins, pair.ties, pair.losses, pair.smallest) == (5, 4, 0, 1, 0.0625)


@given(st.lists(st.integers(-6, 6).filter(bool), min_size=1, max_size=8))
def test_signed_rank_p_with_ties_by_enumeration(values):
    d = np.array(values, dtype=float)
    rank = stats.rankdata(np.abs(d))
    sums = np.array([np.dot(rank, signs) for signs in itertools.product([0, 1], repeat=len(d))])
    tail = min(rank[d > 0].sum(), rank[d < 0].sum())
    assert s.signed_rank_p(d) == pytest.approx(min(1.0, 2 * (sums <= tail).mean()))


def test_signed_rank_p_without_ties_equals_scipy():
    d = np.random.default_rng(3).normal(0.4, 1, 18)
    assert s.signed_rank_p(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-9)


def test_pairs_use_only_tasks_that_both_have():
    scores = np.array([[1.0, 2.0, np.nan], [1.0, 2.0, 3.0], [2.0, 2.0, 1.0]])
    ab, ac, bc = s.paired(["a", "b", "c"], scores, LOWER3)
    assert (ab.n, ab.wins, ab.ties, ab.losses) == (3, 2, 1, 0)
    assert (ac.n, ac.wins, ac.losses) == (2, 1, 1) and bc.n == 2
    assert ab.p_holm == pytest.approx(min(1, 3 * min(ab.p, ac.p, bc.p)))


def test_no_difference_has_no_p():
    pair = s.paired(["a", "b"], np.ones((4, 2)), [False] * 4)[0]
    assert pair.p is None and pair.p_holm is None and pair.ties == 4


def test_holm_by_its_definition():
    p = [0.01, 0.04, 0.03, 0.005]
    assert s.holm(p) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert s.holm([]) == [] and s.holm([0.7, 0.9]) == [1.0, 1.0]


def test_critical_difference_has_the_published_constants():
    # Demšar (2006), table 5(a): q_0.05 = 2.343 for 3, 2.569 for 4, 2.850 for 6 methods.
    rng = np.random.default_rng(0)
    for k, q in ((3, 2.343), (4, 2.569), (6, 2.850)):
        found = s.friedman(rng.random((12, k)), [False] * 12)
        assert found.critical_difference == pytest.approx(q * math.sqrt(k * (k + 1) / (6 * 12)), rel=1e-3)


def test_friedman_equals_scipy_and_follows_directions():
    scores = np.random.default_rng(1).random((7, 4))
    higher = [False, True] * 3 + [False]
    turned = np.where(np.array(higher)[:, None], -scores, scores)
    found = s.friedman(scores, higher)
    assert found.p == pytest.approx(stats.friedmanchisquare(*turned.T).pvalue)
    assert found.average_ranks == pytest.approx(stats.rankdata(turned, axis=1).mean(axis=0))


def test_friedman_says_none_where_n_is_too_small():
    assert s.friedman(np.random.default_rng(0).random((4, 3)), [False] * 4) is None
    assert s.friedman(np.random.default_rng(0).random((9, 2)), [False] * 9) is None
    holes = np.random.default_rng(0).random((6, 3))
    holes[:2, 0] = np.nan
    assert s.friedman(holes, [False] * 6) is None
    assert s.friedman(np.ones((6, 3)), [False] * 6) is None


def test_performance_ratios_turn_with_the_direction():
    scores = np.array([[2.0, 1.0, np.nan], [50.0, 100.0, 25.0], [0.0, 1.0, 0.0]])
    expected = [[2.0, 1.0, np.inf], [2.0, 1.0, 4.0], [1.0, np.inf, 1.0]]
    assert s.performance_ratios(scores, [False, True, False]).tolist() == expected
    with pytest.raises(ValueError, match="not negative"):
        s.performance_ratios(np.array([[-1.0, 1.0]]), [False])


def test_performance_profile_counts_tasks_within_a_factor():
    ratios = np.array([[1.0, 2.0], [3.0, 1.0], [1.0, np.inf], [1.0, 1.5]])
    got = s.performance_profile(ratios, np.array([1.0, 1.5, 2.0, 10.0]))
    assert got.tolist() == [[0.75, 0.25], [0.75, 0.5], [0.75, 0.75], [1.0, 0.75]]
