"""ORCA's stage 1: what one update sees, its schedule, what moves, and what bad input ends in."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from methods import orca
from methods.contract import MethodError
from methods.orca import Orca
from methods.transport import kernels, otdd
from tests.fake_context import Stage1, fake_context
from tests.plain_otdd import plain_otdd

OBJECTIVES = ["otdd", "otdd-gaussian", "mmd", "l2"]


def gradient_of_one_update(context, method):
    """The embedder's gradient at the start of stage 1, by the method itself."""
    seen = []
    original = context.fit

    def fit(name, parameters, gradient, **kwargs):
        def spied(item):
            logged = gradient(item)
            seen.append([p.grad.clone() for p in context.model.embedder.parameters()])
            return logged

        original(name, parameters, spied, **(kwargs | {"epochs": 1}))

    context.fit = fit
    method.align(context)
    return torch.cat([g.flatten() for g in seen[0]])


def plain_gradient(context, transports):
    """The same from the uncached reference through autograd: Σ weight · OTDD over (indices, weight, labels)."""
    points, labels = context.source.features(len(context.source))
    total = 0.0
    for index, weight, target_labels in transports:
        features = context.model.embedder(context.x[index]).mean(1)
        total = total + weight * plain_otdd(points, labels, features, target_labels)
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, list(context.model.embedder.parameters()))])


def assert_same_gradient(found, expected):
    cosine = torch.nn.functional.cosine_similarity(found.double(), expected.double(), dim=0)
    assert float(cosine) >= 0.999999
    assert float(found.norm() / expected.norm()) == pytest.approx(1, abs=1e-4)


def test_an_update_per_class_equals_the_plain_computation_weighted_by_class_shares():
    context = fake_context(classes=3, samples=22)
    labels = context.labels()
    transports = [
        (
            torch.from_numpy(np.flatnonzero(labels == c)),
            float((labels == c).mean()),
            torch.zeros((labels == c).sum()).long(),
        )
        for c in range(3)
    ]
    expected = plain_gradient(context, transports)
    assert_same_gradient(gradient_of_one_update(context, Orca(max_samples=100)), expected)


def test_a_whole_update_equals_the_plain_computation_with_all_classes_at_once():
    context = fake_context(classes=3, samples=22)
    expected = plain_gradient(context, [(torch.arange(22), 1.0, context.y)])
    assert_same_gradient(gradient_of_one_update(context, Orca(per_class=False)), expected)


def test_an_update_in_chunks_equals_one_in_a_piece(monkeypatch):
    whole = gradient_of_one_update(fake_context(), Orca(per_class=False))
    monkeypatch.setattr(orca, "CHUNK", 5)
    chunked = gradient_of_one_update(fake_context(), Orca(per_class=False))
    torch.testing.assert_close(chunked, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("per_class", [True, False])
def test_every_objective_falls_and_moves_the_embedder_alone(objective, per_class):
    context = fake_context(lr=1e-3)
    before = copy.deepcopy(context.model)
    Orca(objective=objective, per_class=per_class, epochs=15, lr=0.05).align(context)
    logged = [row["loss"] for row in context.logs["orca"]]
    assert logged[-1] < logged[0]
    for part in ("encoder", "predictor"):
        ours, original = getattr(context.model, part), getattr(before, part)
        assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), original.parameters()))
    assert any(not torch.equal(a, b) for a, b in zip(context.model.embedder.parameters(), before.embedder.parameters()))


def test_one_update_per_epoch_at_ten_times_the_rate_times_a_fifth_past_epochs_20_40_and_60():
    context = fake_context(lr=1e-4, samples=6, stage1=Stage1(epochs=62))
    Orca(objective="l2").align(context)
    rates = context.rates["orca"]
    assert len(rates) == 62
    assert [rates[i] for i in (0, 20, 21, 40, 41, 60, 61)] == pytest.approx([1e-3, 1e-3, 2e-4, 2e-4, 4e-5, 4e-5, 8e-6])


@pytest.mark.parametrize(("lr", "own", "expected"), [(1e-3, None, 1e-2), (2e-3, None, 2e-3), (1e-4, 0.5, 0.5)])
def test_the_rate_is_scaled_for_small_rates_only_and_ones_own_comes_first(lr, own, expected):
    context = fake_context(lr=lr)
    Orca(objective="l2", epochs=1, lr=own).align(context)
    assert context.rates["orca"] == [pytest.approx(expected)]


def test_classes_come_in_a_new_random_order_with_at_most_the_limit_each_and_their_share_as_weight():
    labels = np.array([0] * 30 + [4] * 5 + [7] * 1)  # class 7 has one sample: as 1-3, 5 and 6 it is never drawn
    orders, firsts = [], []
    for epoch in range(8):
        draws = list(Orca()._draws(labels, 6, np.random.default_rng(epoch)))
        assert sorted(len(index) for index, _ in draws) == [5, 6]
        assert all(len(set(labels[index])) == 1 and len(set(index)) == len(index) for index, _ in draws)
        assert {int(labels[index[0]]): weight for index, weight in draws} == pytest.approx({0: 30 / 36, 4: 5 / 36})
        orders.append([int(labels[index[0]]) for index, _ in draws])
        firsts.append(sorted(next(index for index, _ in draws if labels[index[0]] == 0)))
    assert len({tuple(o) for o in orders}) > 1 and len({tuple(f) for f in firsts}) > 1


@pytest.mark.parametrize(
    ("batch", "most", "own", "drawn"),
    [(32, 128, None, 160), (4, 128, None, 132), (16, 64, None, 80), (1, 64, None, 65), (32, 128, 32, 64)],
)
def test_whole_batches_of_a_class_are_drawn_until_they_exceed_max_samples(batch, most, own, drawn):
    context = fake_context(classes=1, samples=200, batch_size=batch, stage1=Stage1(max_samples=most), lr=1e-4)
    sizes = []
    read = context.batch
    context.batch = lambda index: sizes.append(len(index)) or read(index)
    Orca(objective="l2", epochs=1, max_samples=own).align(context)
    assert sum(sizes) == drawn


def test_one_batch_of_all_classes_has_its_own_size():
    labels = np.zeros(50, dtype=np.int64)
    assert len(next(Orca(per_class=False, whole_samples=20)._draws(labels, 8, np.random.default_rng(0)))[0]) == 20


def test_mmd_draws_as_many_source_samples_as_there_are_with_replacement():
    context = fake_context(classes=1, samples=60, source_samples=40, batch_size=32)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "mmd", lambda x, y: seen.append(x) or x.mean())
        Orca(objective="mmd")._distance(context)(torch.zeros(60, 16), torch.zeros(60), np.random.default_rng(0))
    assert len(seen[0]) == 60 and len(seen[0].unique(dim=0)) < 40


def test_what_depends_only_on_the_source_is_computed_once_a_run(monkeypatch):
    calls = []
    real = otdd.fix_source
    monkeypatch.setattr(otdd, "fix_source", lambda *args: calls.append(1) or real(*args))
    context = fake_context()
    asked = []
    features = context.source.features
    context.source.features = lambda count: asked.append(count) or features(count)
    Orca(epochs=4, source_samples=30).align(context)
    assert calls == [1] and asked == [30]


def test_only_the_inputs_of_a_few_samples_are_read_at_a_time():
    context = fake_context(samples=60)
    sizes = []
    batch = context.batch
    context.batch = lambda index: sizes.append(len(index)) or batch(index)
    Orca(epochs=2).align(context)
    assert (
        max(sizes) <= context.stage1.max_samples + context.batch_size
    )  # never the data set, whose dense targets may not fit


def test_stage_one_is_the_same_at_every_start():
    first, second = fake_context(), fake_context()
    for context in (first, second):
        Orca(epochs=2).align(context)
    assert first.logs == second.logs


def test_a_target_class_of_one_sample_is_left_out_as_published():
    context = fake_context(classes=3, samples=4)  # classes 1 and 2 have one sample
    seen = []
    read = context.batch
    context.batch = lambda index: seen.append(sorted(index)) or read(index)
    Orca(epochs=2).align(context)
    assert seen == [[0, 3], [0, 3]]


def test_a_source_with_one_class_is_refused_before_any_step():
    context = fake_context(source_classes=1)
    with pytest.raises(MethodError, match="at least two classes"):
        Orca().align(context)
    assert not context.logs


@pytest.mark.parametrize("samples", [0, 3])
def test_a_training_split_without_two_samples_of_a_class_is_refused(samples):
    context = fake_context(samples=samples)
    with pytest.raises(MethodError, match="nothing to align"):
        Orca().align(context)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_embedder_that_has_diverged_ends_in_one_message(objective):
    context = fake_context()
    with torch.no_grad():
        context.model.embedder.project.weight.fill_(torch.nan)
    with pytest.raises(MethodError, match="lower"):
        Orca(objective=objective, epochs=1).align(context)


@pytest.mark.parametrize("options", [{"epochs": -1}, {"max_samples": 0}, {"source_samples": 1}, {"lr": 0.0}], ids=str)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(MethodError, match=next(iter(options))):
        Orca(**options).check()
