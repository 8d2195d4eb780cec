"""MoNA: its meta-gradient against unrolling and finite differences, the signs of its losses, what stays frozen."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from methods.contract import MethodError
from methods.meta_gradient import BiLevel, meta_gradient
from methods.mona import Mona, PairSampler
from methods.outer_loss import align_and_uniform, pooled
from tests.fake_context import TinyModel, fake_context

ALPHA = 0.3


def problem(dtype):
    """A small transformer with LayerNorm, attention bias table and positions, target and source batches."""
    torch.manual_seed(3)
    model = TinyModel(3).to(dtype)
    x, y = torch.randn(5, 2, 32, dtype=dtype), torch.arange(5) % 3
    tokens, labels = torch.randn(8, 8, 16, dtype=dtype), torch.arange(8) % 3

    def inner(encode):
        return F.cross_entropy(model.predictor(encode(model.embedder(x))), y)

    def outer(encode):
        align, uniform = align_and_uniform(pooled(encode(tokens)), labels)
        return {"outer": align + uniform, "align": align, "uniform": uniform}

    phi, psi = list(model.embedder.parameters()), list(model.predictor.parameters())
    return model, inner, outer, BiLevel(model.encoder, inner, outer, phi, psi, ALPHA)


def unrolled(model, inner, outer, phi):
    """∇_φ of L_outer through a fully differentiable step, and L_outer itself."""
    with sdpa_kernel(SDPBackend.MATH):
        weights = {k: p.detach().requires_grad_() for k, p in model.encoder.named_parameters()}
        loss = inner(lambda t: functional_call(model.encoder, weights, (t,)))
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True, allow_unused=True)
        stepped = {k: w if g is None else w - ALPHA * g for (k, w), g in zip(weights.items(), slopes, strict=True)}
        value = outer(lambda t: functional_call(model.encoder, stepped, (t,)))["outer"]
        return torch.autograd.grad(value, phi, allow_unused=True, materialize_grads=True), value.detach()


def flat(tensors):
    return torch.cat([t.detach().flatten().double() for t in tensors])


def relative(a, b):
    return float((flat(a) - flat(b)).norm() / flat(b).norm())


def test_exact_equals_the_unrolled_step_to_1e_10_in_float64():
    model, inner, outer, bilevel = problem(torch.float64)
    expected, value = unrolled(model, inner, outer, bilevel.phi)
    found = meta_gradient("exact", bilevel)
    assert flat(expected).norm() > 1e-6  # the outer loss really depends on the embedder
    assert relative(found.phi_outer, expected) < 1e-10
    assert abs(float(found.outer["outer"] - value)) < 1e-12


def test_exact_equals_central_differences_of_the_whole_objective():
    """And of L_outer alone, which is the smaller part of the whole."""
    _model, _inner, _outer, bilevel = problem(torch.float64)
    found = meta_gradient("exact", bilevel)
    total = [a + b for a, b in zip(found.phi_inner, found.phi_outer, strict=True)]
    generator = torch.Generator().manual_seed(0)

    def values(by, direction):
        """(L_inner + L_outer, L_outer) with the embedder moved `by` times `direction`."""
        with torch.no_grad():
            for p, d in zip(bilevel.phi, direction, strict=True):
                p += by * d
        there = meta_gradient("first_order", bilevel)
        with torch.no_grad():
            for p, d in zip(bilevel.phi, direction, strict=True):
                p -= by * d
        return torch.stack([there.inner + there.outer["outer"], there.outer["outer"]])

    for _ in range(3):
        direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in bilevel.phi]
        slopes = torch.stack([flat(total) @ flat(direction), flat(found.phi_outer) @ flat(direction)])
        central = (values(1e-5, direction) - values(-1e-5, direction)) / 2e-5
        torch.testing.assert_close(central, slopes, rtol=1e-5, atol=0)


def test_finite_difference_agrees_with_exact_to_1e_3_in_float32():
    _, _, _, bilevel = problem(torch.float32)
    exact, approximate = meta_gradient("exact", bilevel), meta_gradient("finite_difference", bilevel)
    whole = [a + b for a, b in zip(exact.phi_inner, exact.phi_outer, strict=True)]
    assert relative([a + b for a, b in zip(approximate.phi_inner, approximate.phi_outer, strict=True)], whole) < 1e-3
    assert relative(approximate.phi_outer, exact.phi_outer) < 1e-3


def test_first_order_has_no_outer_gradient_and_the_same_inner_one():
    _, _, _, bilevel = problem(torch.float64)
    exact, first = meta_gradient("exact", bilevel), meta_gradient("first_order", bilevel)
    assert float(flat(first.phi_outer).norm()) == 0
    assert relative(first.phi_inner, exact.phi_inner) < 1e-10
    assert abs(float(first.outer["outer"] - exact.outer["outer"])) < 1e-10


@pytest.mark.parametrize("kind", ["exact", "finite_difference", "first_order"])
def test_the_encoder_is_read_and_never_written(kind):
    model, _, _, bilevel = problem(torch.float32)
    before = copy.deepcopy(model.encoder.state_dict())
    meta_gradient(kind, bilevel)
    assert all(torch.equal(v, before[k]) for k, v in model.encoder.state_dict().items())
    assert all(p.grad is None for p in model.encoder.parameters())


def test_a_step_on_align_brings_two_points_of_a_class_closer():
    z = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), dim=1).requires_grad_()
    align, _ = align_and_uniform(z, torch.tensor([0, 0]))
    (slope,) = torch.autograd.grad(align, z)
    stepped = F.normalize(z.detach() - 0.1 * slope, dim=1)
    assert (stepped[0] - stepped[1]).norm() < (z[0] - z[1]).detach().norm()


def test_a_step_on_uniform_spreads_two_points():
    z = F.normalize(torch.tensor([[1.0, 0.1], [1.0, -0.1]]), dim=1).requires_grad_()
    _, uniform = align_and_uniform(z, torch.tensor([0, 1]))
    (slope,) = torch.autograd.grad(uniform, z)
    stepped = F.normalize(z.detach() - 0.1 * slope, dim=1)
    assert (stepped[0] - stepped[1]).norm() > (z[0] - z[1]).detach().norm()


def test_both_terms_equal_a_loop_over_all_pairs():
    torch.manual_seed(0)
    z, labels = F.normalize(torch.randn(7, 4, dtype=torch.float64), dim=1), [0, 0, 1, 1, 1, 2, 0]
    squared = {(i, j): float((z[i] - z[j]).pow(2).sum()) for i in range(7) for j in range(7) if i != j}
    same = [d for (i, j), d in squared.items() if labels[i] == labels[j]]
    align, uniform = align_and_uniform(z, torch.tensor(labels))
    assert float(align) == pytest.approx(np.mean(same))
    assert float(uniform) == pytest.approx(np.log(np.mean([np.exp(-2 * d) for d in squared.values()])))


def test_a_batch_without_a_pair_has_no_align_gradient_and_one_sample_is_an_error():
    z = F.normalize(torch.randn(3, 4), dim=1).requires_grad_()
    align, uniform = align_and_uniform(z, torch.tensor([0, 1, 2]))
    assert float(align.detach()) == 0 and bool(torch.isfinite(uniform))
    with pytest.raises(MethodError, match="at least two source samples"):
        align_and_uniform(z[:1], torch.tensor([0]))


def test_source_batches_have_two_of_every_class_and_nobody_twice():
    sampler = PairSampler.of(np.array([0] * 9 + [1] * 5 + [2] * 2 + [3]), 8)
    rng = np.random.default_rng(0)
    for _ in range(20):
        index = sampler.draw(rng)
        labels = np.array([0] * 9 + [1] * 5 + [2] * 2 + [3])[index]
        assert len(set(index)) == len(index) <= 8
        assert all(np.sum(labels == c) >= 2 for c in set(labels)) and 3 not in labels


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [0, 0, 1]])
def test_a_source_without_two_classes_of_two_samples_is_refused(labels):
    with pytest.raises(MethodError, match="at least two classes of two samples"):
        PairSampler.of(np.array(labels), 8)


def test_stage_1_moves_the_embedder_and_leaves_everything_frozen_bit_for_bit():
    context = fake_context()
    before = copy.deepcopy(context.model.state_dict())
    source_before = copy.deepcopy([context.source.embedder.state_dict(), context.source.head.state_dict()])
    Mona(epochs=2, warmup_epochs=1).align(context)
    after = context.model.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before if k.startswith("encoder."))
    assert any(not torch.equal(after[k], before[k]) for k in before if k.startswith("embedder."))
    assert any(not torch.equal(after[k], before[k]) for k in before if k.startswith("predictor."))
    for part, old in zip((context.source.embedder, context.source.head), source_before, strict=True):
        assert all(torch.equal(v, old[k]) for k, v in part.state_dict().items())


def test_without_train_predictor_the_predictor_stays_as_initialised():
    context = fake_context()
    before = copy.deepcopy(context.model.predictor.state_dict())
    Mona(epochs=1, train_predictor=False).align(context)
    assert all(torch.equal(v, before[k]) for k, v in context.model.predictor.state_dict().items())


def test_lambda_zero_follows_the_inner_loss_alone():
    exact, first = fake_context(), fake_context()
    Mona(lambda_=0.0, epochs=2).align(exact)
    Mona(lambda_=0.0, epochs=2, meta_gradient="first_order").align(first)
    for a, b in zip(exact.model.parameters(), first.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_the_outer_loss_falls_when_it_alone_is_followed():
    context = fake_context(lr=0.05)
    Mona(lambda_=100.0, epochs=8, warmup_epochs=0, inner_lr=0.5).align(context)
    losses = [row["outer"] for row in context.logs["mona"]]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])


@pytest.mark.parametrize("bad", [{"lambda_": -1}, {"inner_lr": -0.1}, {"source_batch": 3}, {"epochs": -1}])
def test_settings_that_make_no_sense_are_named(bad):
    with pytest.raises(MethodError, match=next(iter(bad))):
        Mona(**bad).check()
