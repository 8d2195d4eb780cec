"""The meta-gradient beyond its equality with unrolling (test_mona.py): dropout, steps, frozen bodies, what `.grad` gets."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.settings import resolve
from methods import meta_gradient as meta
from methods.embedder_warmup import EmbedderWarmup
from methods.meta_gradient import BiLevel, meta_gradient
from methods.mona import Mona, PairSampler
from methods.outer_loss import align_and_uniform, pooled
from tests.fake_context import TinyModel, fake_context


def problem(dtype=torch.float64, dropout=0.0) -> BiLevel:
    """A meta step on a transformer with LayerNorms, a bias table per head, positions, and a pooler nobody calls."""
    context = fake_context()
    torch.manual_seed(1)
    model = TinyModel(dropout=dropout).to(dtype)
    x, y = context.x[:8].to(dtype), context.y[:8]
    tokens, labels = context.source.tokens_of[:12].to(dtype), torch.from_numpy(context.source.labels[:12])

    def inner(encode):
        return F.cross_entropy(model.predictor(encode(model.embedder(x))), y)

    def outer(encode):
        align, uniform = align_and_uniform(pooled(encode(tokens)), labels)
        return {"outer": align + uniform}

    return BiLevel(model.encoder, inner, outer, [*model.embedder.parameters()], [*model.predictor.parameters()], 0.3)


def slopes_of(p: BiLevel) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """θ, and ∇_θ L_inner with its graph."""
    weights = {name: w.detach().requires_grad_() for name, w in p.encoder.named_parameters()}
    loss = p.inner(lambda tokens: functional_call(p.encoder, weights, (tokens,)))
    slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True, materialize_grads=True)
    return weights, dict(zip(weights, slopes))


def flat(tensors) -> torch.Tensor:
    return torch.cat([t.detach().flatten() for t in tensors])


def relative(found, expected) -> float:
    return float((flat(found) - flat(expected)).norm() / flat(expected).norm())


def test_the_inner_gradients_are_those_of_the_task_loss():
    p = problem()
    found = meta_gradient("exact", p)
    loss = p.inner(p.encoder)
    assert relative(found.phi_inner, torch.autograd.grad(loss, p.phi, retain_graph=True)) <= 1e-10
    assert relative(found.psi_inner, torch.autograd.grad(loss, p.psi)) <= 1e-10


def test_every_kind_of_parameter_of_the_encoder_takes_part():
    """Each group of weights, were it alone to move, would give φ a gradient: the table, LayerNorms, positions, maps."""
    p = problem()
    with sdpa_kernel(SDPBackend.MATH):
        _, slopes = slopes_of(p)
        for part in ("table", "norm1", "positions", "qkv", "mlp"):
            chosen = [slope for name, slope in slopes.items() if part in name]
            mixed = torch.autograd.grad(sum(s.square().sum() for s in chosen), p.phi, retain_graph=True)
            assert float(flat(mixed).norm()) > 0, part


def test_the_meta_part_of_finite_difference_agrees_with_exact_in_float32():
    p = problem(torch.float32)
    exact, difference = meta_gradient("exact", p), meta_gradient("finite_difference", p)
    assert relative(difference.phi_outer, exact.phi_outer) <= 1e-3
    assert relative(difference.phi_inner, exact.phi_inner) <= 1e-5


def test_the_step_of_finite_difference_suits_mixed_precision():
    """A step that suits float32 drowns in the rounding of bfloat16: the meta part would be off by a half."""
    p = problem(torch.float32)
    exact = meta_gradient("exact", p)
    with torch.autocast("cpu", torch.bfloat16):
        difference = meta_gradient("finite_difference", p)
    assert relative(difference.phi_outer, exact.phi_outer) <= 0.15


def test_the_precision_is_that_of_the_products(monkeypatch):
    assert meta.precision(torch.float32, "cuda") == torch.finfo(torch.float32).eps
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert meta.precision(torch.float32, "cuda") == 2**-10
    assert meta.precision(torch.float64, "cuda") == torch.finfo(torch.float64).eps
    assert meta.precision(torch.float32, "cpu") == torch.finfo(torch.float32).eps


def test_finite_difference_is_of_second_order_in_its_step(monkeypatch):
    p = problem()
    exact = meta_gradient("exact", p).phi_outer
    errors = []
    for step in (1e3, 1e2):
        monkeypatch.setattr(meta, "STEP", step)
        errors.append(relative(meta_gradient("finite_difference", p).phi_outer, exact))
    assert errors[1] < errors[0] / 50


def test_finite_difference_repeats_the_dropout_of_the_first_pass():
    p = problem(dropout=0.3)
    p.encoder.train()
    torch.manual_seed(5)
    exact = meta_gradient("exact", p)
    torch.manual_seed(5)
    difference = meta_gradient("finite_difference", p)
    assert relative(difference.phi_outer, exact.phi_outer) <= 1e-3


def test_a_frozen_encoder_still_gives_the_gradient():
    """In stage 1 the trainer has switched off the gradients of the encoder."""
    p = problem()
    expected = meta_gradient("exact", p).phi_outer
    p.encoder.requires_grad_(False)
    assert relative(meta_gradient("exact", p).phi_outer, expected) <= 1e-14


def test_the_embedder_follows_the_weighted_sum_and_the_predictor_the_inner_loss():
    context = fake_context(batch_size=24)
    seen, original = {}, context.fit

    def fit(name, parameters, gradient, **kwargs):
        def spied(item):
            seen["item"], seen["logged"] = item, gradient(item)
            seen["phi"] = [p.grad.clone() for p in context.model.embedder.parameters()]
            seen["psi"] = [p.grad.clone() for p in context.model.predictor.parameters()]
            seen["model"] = copy.deepcopy(context.model)
            return seen["logged"]

        original(name, parameters, spied, **kwargs)

    context.fit = fit
    Mona(lambda_=0.25, inner_lr=0.5, warmup_epochs=0, epochs=1, align_weight=2.0, uniform_weight=0.5).align(context)

    (target, source), model = seen["item"], seen["model"].requires_grad_(True)
    batch, tokens = context.batch(target), context.source.tokens(source)
    phi = list(model.embedder.parameters())

    def inner(encode):
        return F.cross_entropy(model.predictor(encode(model.embedder(batch.x))), batch.y)

    with sdpa_kernel(SDPBackend.MATH):
        weights, slopes = slopes_of(BiLevel(model.encoder, inner, inner, phi, [], 0.5))
        moved = {name: w - 0.5 * slopes[name] for name, w in weights.items()}
        z = pooled(functional_call(model.encoder, moved, (tokens,)))
        align, uniform = align_and_uniform(z, torch.from_numpy(context.source.labels[source]))
        through = torch.autograd.grad(2 * align + 0.5 * uniform, phi)
    straight = torch.autograd.grad(inner(model.encoder), [*phi, *model.predictor.parameters()])
    assert relative(seen["phi"], [a + 0.25 * b for a, b in zip(straight, through)]) <= 1e-5
    assert relative(seen["psi"], straight[len(phi) :]) <= 1e-5
    share = float(0.25 * flat(through).norm() / flat(straight[: len(phi)]).norm())
    assert float(seen["logged"]["outer_share"]) == pytest.approx(share, rel=1e-4)


@pytest.mark.parametrize(
    ("weights", "lower"),
    [({"uniform_weight": 0.0}, "align"), ({"align_weight": 0.0}, "uniform")],
    ids=["align", "uniform"],
)
def test_meta_steps_on_one_term_lower_it_after_the_simulated_step(weights, lower):
    """λ so large that L_inner hardly counts: the sign must survive the whole meta-gradient."""
    context = fake_context(lr=2e-3, batch_size=24)
    Mona(lambda_=100.0, inner_lr=1.0, warmup_epochs=0, epochs=30, source_batch=40, **weights).align(context)
    logged = [row[lower] for row in context.logs["mona"]]
    assert logged[-1] < logged[0]


def test_warm_up_comes_first_and_moves_only_the_embedder():
    context = fake_context()
    Mona(warmup_epochs=3, epochs=1).align(context)
    assert list(context.logs) == ["mona-warmup", "mona"]
    assert context.logs["mona-warmup"][-1]["loss"] < context.logs["mona-warmup"][0]["loss"]
    context, before = fake_context(), fake_context().model
    EmbedderWarmup(epochs=2).align(context)
    for part in ("encoder", "predictor"):
        pairs = zip(getattr(context.model, part).parameters(), getattr(before, part).parameters())
        assert all(torch.equal(a, b) for a, b in pairs)


def test_stage_one_is_the_same_at_every_start_and_epochs_default_to_ten_at_most():
    first, second = (fake_context(samples=8, batch_size=8) for _ in range(2))
    for context in (first, second):
        context.stage1 = type(context.stage1)(epochs=60)
        Mona().align(context)
    assert first.logs == second.logs
    assert len(first.logs["mona"]) == 10


def test_a_small_source_batch_takes_some_of_many_classes():
    index = PairSampler.of(np.repeat(np.arange(10), 5), 6).draw(np.random.default_rng(0))
    assert sorted(np.unique(index // 5, return_counts=True)[1]) == [2, 2, 2]


def test_the_presets_are_documented_and_valid():
    for name in Mona.presets:
        assert f"Preset `{name}`" in (Mona.__doc__ or "")
        resolve(Mona, {"method.preset": name}).method.check()
    assert resolve(Mona, {"method.preset": "default"}) == resolve(Mona)
    paper = resolve(Mona, {"method.preset": "paper"})
    assert not paper.method.train_predictor and paper.model.dense_head == "pooled"
