"""RECRAFT: its penalty beside finite differences, its divergence beside geomloss, its entropy by hand, its phases."""

from __future__ import annotations

import copy
import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from methods import recraft
from methods.contract import MethodError
from methods.recraft import Recraft, entropy_of_mean, penalised_loss
from methods.transport import otdd
from tests.fake_context import Stage1, fake_context
from tests.plain_otdd import labelled_clouds, plain_otdd


def aligned(**options):
    method, context = Recraft(**options), fake_context(stage1=Stage1(epochs=2))
    method.prepare(context)
    before = copy.deepcopy(context.model)
    method.align(context)
    moved = {
        n.split(".")[0] for (n, p), q in zip(context.model.named_parameters(), before.parameters()) if not p.equal(q)
    }
    return context, moved


# -- the head --------------------------------------------------------------------------------------------------------


def penalty_by_hand(head, encoder, tokens, labels, tau):
    """Sample by sample, from first derivatives alone."""
    total = 0.0
    for z, y in zip(tokens, labels):
        z = z[None].detach().requires_grad_()
        (slope,) = torch.autograd.grad(F.cross_entropy(head(encoder(z).mean(1)), y[None]), z)
        total += max(0.0, float(slope.norm()) - tau) ** 2
    return total / len(tokens)


@pytest.fixture
def head_and_batch():
    context = fake_context()
    Recraft().prepare(context)
    model = context.model.double()
    index = np.arange(6)
    tokens = context.source.embedder.double()(context.source.tokens_of[index].double()).detach()
    model.source_head.weight.data *= 6  # so that some gradients are longer than τ and some are not
    return model.source_head, model.encoder, tokens, torch.from_numpy(context.source.labels[index])


TAU = 1.6


def found_penalty(head, encoder, tokens, labels):
    return penalised_loss(lambda z: head(encoder(z).mean(1)), tokens, labels, TAU)


def test_the_penalty_is_that_of_each_sample_alone(head_and_batch):
    head, encoder, tokens, labels = head_and_batch
    norms = [penalty_by_hand(head, encoder, tokens[i : i + 1], labels[i : i + 1], TAU) for i in range(6)]
    assert 0 < sum(n > 0 for n in norms) < 6
    loss, penalty = found_penalty(head, encoder, tokens, labels)
    assert float(penalty.detach()) == pytest.approx(sum(norms) / 6, rel=1e-9)
    torch.testing.assert_close(loss, F.cross_entropy(head(encoder(tokens).mean(1)), labels))


def test_the_gradient_of_the_penalty_equals_finite_differences(head_and_batch):
    head, encoder, tokens, labels = head_and_batch
    _, penalty = found_penalty(head, encoder, tokens, labels)
    found = torch.autograd.grad(penalty, head.weight)[0]
    for i, j in ((0, 3), (1, 0), (2, 7), (3, 15)):
        values = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                head.weight[i, j] += step
            values.append(penalty_by_hand(head, encoder, tokens, labels, TAU))
            with torch.no_grad():
                head.weight[i, j] -= step
        assert float(found[i, j]) == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5, abs=1e-9)


def test_the_head_learns_first_without_the_penalty_and_then_with_it_at_a_cosine():
    context, _ = aligned(head_epochs=2, penalty_epochs=2, head_lr=0.1, tau=0.0)
    rows = context.logs["recraft-head"]
    steps = math.ceil(len(context.source) / context.batch_size)
    assert [row["penalty"] > 0 for row in rows] == [False] * 2 * steps + [True] * 2 * steps
    rates = context.rates["recraft-head"][::steps]
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * e / 4)) for e in range(4)])


def test_the_penalty_makes_the_gradient_shorter():
    def after(rho):
        context, _ = aligned(head_epochs=0, penalty_epochs=6, head_lr=0.1, tau=0.0, rho=rho)
        return context.logs["recraft-head"][-1]["penalty"]

    assert after(10.0) < 0.5 * after(0.0)


@pytest.mark.parametrize(("sequence", "expected"), [(True, (30, 0)), (False, (10, 10))])
def test_published_epochs_and_shorter_ones_where_stage_one_is(sequence, expected):
    assert Recraft()._epochs(Stage1(epochs=60), sequence) == (*expected, 4)
    assert Recraft(head_epochs=1, penalty_epochs=2, label_epochs=9)._epochs(Stage1(epochs=60), sequence) == (1, 2, 9)
    assert max(Recraft()._epochs(Stage1(epochs=2), sequence)) == 2


# -- the features ----------------------------------------------------------------------------------------------------


def test_the_divergence_is_otdd_with_one_label_on_both_sides():
    """By geomloss: that one label shifts the cost by half its distance, a number without a gradient."""
    source, _, target, _ = labelled_clouds(150, 30, 8)
    zeros = [torch.zeros(n, dtype=torch.long) for n in (150, 30)]
    reference = target.double().requires_grad_()
    expected = plain_otdd(source.double(), zeros[0], reference, zeros[1])
    expected.backward()
    found = target.clone().requires_grad_()
    value = otdd.distance(otdd.fix_source(source, zeros[0], "none"), found, zeros[1])
    value.backward()
    shift = float(otdd.label_distances(otdd.fix_source(source, torch.arange(150) % 2), target, zeros[1]).mean())
    assert float(F.cosine_similarity(found.grad.flatten().double(), reference.grad.flatten(), dim=0)) > 0.9999999
    assert float(value.detach()) < float(expected.detach()) < float(value.detach()) + shift


def test_the_divergence_of_clouds_that_differ_by_a_shift_is_half_its_square():
    source = labelled_clouds(200, 1, 8)[0]
    zeros = torch.zeros(200, dtype=torch.long)
    value = otdd.distance(otdd.fix_source(source, zeros, "none"), source + 0.5, zeros)
    assert float(value) == pytest.approx(0.5 * 8 * 0.25, rel=1e-3)


def test_features_come_nearer():
    context, _ = aligned(head_epochs=0, penalty_epochs=0, label_epochs=0, epochs=15, lr=0.05)
    losses = [row["loss"] for row in context.logs["recraft-features"]]
    assert len(losses) == 15 and losses[-1] < 0.7 * losses[0]


# -- the labels ------------------------------------------------------------------------------------------------------


def test_the_entropy_of_a_mean_by_hand():
    """Of (1, 0) and (½, ½) the mean is (¾, ¼); a certain prediction has none, and its gradient is finite."""
    logits = torch.tensor([[200.0, 0.0], [0.0, 0.0]], requires_grad=True)
    entropy = entropy_of_mean(logits)
    assert float(entropy.detach()) == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25), rel=1e-6)
    certain = entropy_of_mean(2 * logits[:1])
    certain.backward()
    assert float(certain.detach()) == pytest.approx(0, abs=1e-6) and bool(torch.isfinite(logits.grad).all())


def test_a_chunk_is_of_one_class_and_a_short_rest_is_left_out_unless_it_is_all_of_its_class():
    labels = np.array([0] * 21 + [1] * 13 + [2] * 2)
    for epoch in range(3):
        chunks = list(Recraft(label_samples=8)._chunks(labels, np.random.default_rng(epoch)))
        assert Counter((int(labels[i[0]]), len(i)) for i, _ in chunks) == {
            (0, 8): 2,
            (0, 5): 1,
            (1, 8): 1,
            (1, 5): 1,
            (2, 2): 1,
        }
        assert all(len(set(labels[i])) == 1 and weight == len(i) / 36 for i, weight in chunks)
        assert len(np.unique(np.concatenate([i for i, _ in chunks]))) == 36
    short = list(Recraft(label_samples=8)._chunks(np.zeros(11, int), np.random.default_rng(0)))
    assert [len(i) for i, _ in short] == [8]  # 3 are less than half


def test_target_classes_come_to_name_source_classes():
    context, _ = aligned(epochs=0, label_epochs=8, label_lr=0.5, label_samples=8, head_epochs=4, head_lr=0.5)
    entropies = [row["entropy"] for row in context.logs["recraft-labels"]]
    assert np.mean(entropies[-6:]) < 0.8 * np.mean(entropies[:6])


# -- the whole -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "moved"),
    [
        ({"head_epochs": 1, "penalty_epochs": 1, "epochs": 0, "label_epochs": 0}, {"source_head"}),
        ({"head_epochs": 0, "penalty_epochs": 0, "epochs": 1, "label_epochs": 0}, {"embedder"}),
        ({"head_epochs": 0, "penalty_epochs": 0, "epochs": 0, "label_epochs": 1}, {"embedder"}),
        ({"head_epochs": 0, "penalty_epochs": 0, "epochs": 0, "label_epochs": 0}, set()),
    ],
    ids=["head", "features", "labels", "none"],
)
def test_each_phase_moves_its_part(options, moved):
    context, found = aligned(**options)
    assert found == moved and list(context.logs) == ["recraft-head", "recraft-features", "recraft-labels"]


def test_features_of_the_frozen_body_are_computed_once(monkeypatch):
    asked = []
    context = fake_context()
    encoded = context.source.encoded
    context.source.encoded = lambda encoder, index: asked.append(len(index)) or encoded(encoder, index)
    method = Recraft(head_epochs=3, epochs=0, label_epochs=0, source_samples=30)
    method.prepare(context)
    method.align(context)
    assert asked == [30]


@pytest.mark.parametrize(("samples", "own", "expected"), [(900, None, 5000), (24, None, 240), (24, 77, 77)])
def test_as_many_source_samples_as_published_but_not_a_hundred_times_the_training_samples(samples, own, expected):
    assert Recraft(source_samples=own)._source_size(samples) == expected


def test_a_head_as_long_as_published_is_what_a_small_training_split_pays_for():
    stage1 = Stage1(epochs=60)
    worked = [Recraft().stage1_cost(stage1, 4, samples)[0] for samples in (900, 90_000)]
    assert worked[0] > 100 and worked[1] < 12


@pytest.mark.parametrize(
    "options",
    [{"head_epochs": -1}, {"tau": -0.1}, {"rho": -1.0}, {"source_samples": 1}, {"label_samples": 0}, {"head_lr": 0.0}],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(MethodError, match=next(iter(options))):
        recraft.Recraft(**options).check()
