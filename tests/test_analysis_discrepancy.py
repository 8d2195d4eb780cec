"""The discrepancy against brute force over every subset and pairing, and against total variation by its definition."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import discrepancy as module
from bench.analysis.discrepancy import discrepancy, group_classes, matched_only, renormalised_at, unnormalised
from bench.analysis.inputs import AnalysisError


def problem(seed, n=30, k=3, s=5, sharp=2.0):
    """Random source probabilities (n, s), and labels that hold every one of k classes."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, s)) * sharp
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = rng.permutation(np.arange(n) % k)
    return p, y


def total_variation(a, b):
    """sup over events of |A(event) - B(event)|, by trying every event: the definition."""
    outcomes = range(len(a))
    events = itertools.chain.from_iterable(itertools.combinations(outcomes, r) for r in range(len(a) + 1))
    return max(abs(sum(a[o] - b[o] for o in event)) for event in events)


def defined(p, y, pairing, variant):
    """One variant from the definition, sample by sample."""
    values = []
    for row, label in zip(p, y):
        inside, truth = row[list(pairing)], np.eye(len(pairing))[label]
        if variant == "unnormalised":
            values.append(total_variation([*inside, 1 - inside.sum()], [*truth, 0.0]))
        elif variant == "renormalised":
            values.append(total_variation(inside / inside.sum(), truth))
        else:
            values.append(np.abs(inside - truth).sum() / 2)
    return np.mean(values)


VARIANTS = {"unnormalised": unnormalised, "renormalised": renormalised_at, "matched_only": matched_only}


@settings(max_examples=25)
@given(st.integers(0, 9999), st.integers(2, 4), st.integers(0, 2), st.sampled_from([0.1, 1.0, 6.0]))
def test_every_variant_equals_brute_force(seed, k, more, sharp):
    p, y = problem(seed, n=20, k=k, s=k + more, sharp=sharp)
    found = discrepancy(np.log(p), y)
    for variant, formula in VARIANTS.items():
        every = itertools.permutations(range(k + more), k)  # all subsets and all pairings
        best = min(formula(p, y, np.array(pairing)) for pairing in every)
        assert getattr(found, variant) == pytest.approx(best, abs=1e-12), variant
        assert 0 <= getattr(found, variant) <= 1
    assert found.renormalised_exact
    for name in ("pairing", "renormalised_pairing", "matched_only_pairing"):
        assert len(set(getattr(found, name))) == k


@pytest.mark.parametrize("variant", VARIANTS)
def test_formulas_are_the_definition(variant):
    p, y = problem(4, n=12, k=3, s=5)
    for pairing in [(0, 1, 2), (4, 2, 0), (3, 1, 4)]:
        assert VARIANTS[variant](p, y, np.array(pairing)) == pytest.approx(defined(p, y, pairing, variant), abs=1e-12)


@settings(max_examples=15)
@given(st.integers(0, 9999))
def test_exchange_search_never_ends_worse_than_it_starts_nor_better_than_all_subsets(seed):
    p, y = problem(seed, n=40, k=3, s=7, sharp=3)
    exact = discrepancy(np.log(p), y)
    with pytest.MonkeyPatch.context() as patch:
        local = exchange_only(p, y, patch)
    assert exact.renormalised_exact and not local.renormalised_exact
    assert local.renormalised <= renormalised_at(p, y, local.pairing) + 1e-12
    assert local.renormalised >= exact.renormalised - 1e-12
    assert local.unnormalised == exact.unnormalised


def exchange_only(p, y, monkeypatch):
    """The discrepancy with the full search of subsets switched off."""
    monkeypatch.setattr(module, "MOST_SUBSETS", 0)
    return discrepancy(np.log(p), y)


def test_an_exchange_leaves_a_start_that_conditioning_makes_bad(monkeypatch):
    """Label 1 goes to class 1 by mass, which draws label 0 off class 0; the others have less mass but are pure."""
    y = np.array([0, 1] * 20)
    p = np.where(y[:, None] == 0, [0.3, 0.7, *[1e-9] * 5], [1e-6, 0.6, *[0.08] * 5])
    p /= p.sum(axis=1, keepdims=True)
    found = exchange_only(p, y, monkeypatch)
    assert found.pairing.tolist() == [0, 1] and renormalised_at(p, y, found.pairing) > 0.3
    assert found.renormalised < 0.001 and (found.renormalised_pairing != found.pairing).sum() == 1


def test_a_local_optimum_is_called_one(monkeypatch):
    """Two classes with hardly any mass tell the labels apart, and no single exchange gets there."""
    y = np.array([0, 1] * 20)
    p = np.where(y[:, None] == 0, [1e-3, 1e-9, 0.6, 0.4], [1e-9, 1e-3, 0.4, 0.6])
    p /= p.sum(axis=1, keepdims=True)
    assert discrepancy(np.log(p), y).renormalised < 1e-5
    stuck = exchange_only(p, y, monkeypatch)
    assert stuck.renormalised == pytest.approx(0.4, abs=1e-3) and not stuck.renormalised_exact


def test_a_classifier_that_knows_the_target_under_other_names_has_no_discrepancy():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 200)
    names = np.array([5, 2, 7, 0])
    p = np.full((200, 8), 1e-9)
    p[np.arange(200), names[y]] = 1
    found = discrepancy(np.log(p / p.sum(axis=1, keepdims=True)), y * 10)
    assert found.unnormalised == pytest.approx(0, abs=1e-6) and found.renormalised == pytest.approx(0, abs=1e-6)
    assert found.pairing.tolist() == names.tolist() and found.target_classes.tolist() == [0, 10, 20, 30]
    assert found.chance > 0.6


@settings(max_examples=15)
@given(st.integers(0, 9999))
def test_renaming_classes_and_reordering_samples_change_nothing(seed):
    p, y = problem(seed)
    rng = np.random.default_rng(seed)
    first, order, names = discrepancy(np.log(p), y), rng.permutation(len(y)), rng.permutation(p.shape[1])
    again = discrepancy(np.log(p[order][:, names]), 7 - 2 * y[order])
    for variant in VARIANTS:
        assert getattr(again, variant) == pytest.approx(getattr(first, variant), abs=1e-12)


@settings(max_examples=15)
@given(st.integers(0, 9999))
def test_conditioning_on_the_pairing_can_only_lower_the_distance(seed):
    p, y = problem(seed, k=3, s=6)
    found = discrepancy(np.log(p), y)
    assert found.renormalised <= found.unnormalised + 1e-12


def test_a_subset_without_any_mass_is_uniform_not_nan():
    p = np.zeros((6, 4))
    p[:, 3] = 1
    with np.errstate(divide="ignore"):
        found = discrepancy(np.log(p), np.array([0, 1, 2] * 2))
    assert np.isfinite([found.unnormalised, found.renormalised, found.matched_only]).all()
    assert found.renormalised == pytest.approx(2 / 3)


def test_chance_is_where_labels_without_relation_land():
    p, y = problem(1, n=400, k=4, s=6)
    found = discrepancy(np.log(p), y)
    assert found.unnormalised == pytest.approx(found.chance, abs=0.05)


def test_groups_hold_whole_classes_that_lie_together():
    rng = np.random.default_rng(0)
    y = np.arange(120) % 12
    x = np.repeat(np.eye(3) * 20, 4, axis=0)[y] + rng.normal(size=(120, 3))
    grouped, groups = group_classes(x, y, 3)
    assert [len(set(groups[i : i + 4])) for i in (0, 4, 8)] == [1, 1, 1] and len(set(groups)) == 3
    assert np.array_equal(grouped, groups[y])
    p, _ = problem(0, n=120, s=3)
    assert discrepancy(np.log(p), grouped).renormalised_exact


def test_bad_input_says_what_and_why():
    p, y = problem(0, n=30, k=5, s=5)
    logs = np.log(p)
    with pytest.raises(AnalysisError, match="5 target classes but 4 source classes"):
        discrepancy(np.log(p[:, :4] / p[:, :4].sum(axis=1, keepdims=True)), y)
    with pytest.raises(AnalysisError, match="1 class"):
        discrepancy(logs, np.zeros(30, int))
    with pytest.raises(AnalysisError, match="30 of 30 rows hold NaN"):
        discrepancy(logs * np.nan, y)
    with pytest.raises(AnalysisError, match="do not sum to one"):
        discrepancy(p, y)
    with pytest.raises(AnalysisError, match="expected 30 whole numbers"):
        discrepancy(logs, y[:9])
    with pytest.raises(AnalysisError, match="expected 2 to 5"):
        group_classes(p, y, 9)
    with pytest.raises(AnalysisError, match="do not differ enough"):
        group_classes(np.ones((30, 2)), y, 3)
