"""The target model in training: gradients of second order, recomputed activations, stochastic depth, dropout."""

import pytest
import torch
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from bench.errors import UsageError
from bench.models.target import set_recompute
from methods.meta_gradient import BiLevel, meta_gradient
from tests.tiny_models import SMALL, target

# Gradients


@pytest.mark.parametrize("name", SMALL)
def test_functional_call_with_the_models_own_weights_changes_nothing(name):
    model, x = target(name)
    assert torch.equal(functional_call(model, dict(model.named_parameters()), (x,)), model(x))


@pytest.mark.parametrize("name", SMALL)
def test_a_hessian_vector_product_agrees_with_finite_differences(name):
    model, x = target(name)
    model, x = model.double(), x.double()
    weights = {k: p.detach() for k, p in model.encoder.named_parameters()}
    rng = torch.Generator().manual_seed(0)
    v = {k: torch.randn(p.shape, generator=rng, dtype=p.dtype) for k, p in weights.items()}
    inputs = [model.embedder.proj.weight]

    def gradients(encoder_weights, over, **options):
        features = functional_call(model.encoder, encoder_weights, (model.embedder(x),))
        return torch.autograd.grad(model.predictor(features).square().mean(), over, **options)

    with sdpa_kernel(SDPBackend.MATH):
        live = {k: p.clone().requires_grad_() for k, p in weights.items()}
        inner = gradients(live, list(live.values()), create_graph=True)
        product = sum((g * v[k]).sum() for g, k in zip(inner, live))
        (exact,) = torch.autograd.grad(product, inputs)
        eps = 1e-6
        up, down = (gradients({k: p + s * eps * v[k] for k, p in weights.items()}, inputs)[0] for s in (1, -1))
    assert torch.linalg.norm((up - down) / (2 * eps) - exact) < 1e-5 * torch.linalg.norm(exact)


@pytest.mark.parametrize("name", SMALL)
def test_recomputing_activations_changes_no_output_and_no_gradient(name):
    model, x = target(name)
    results = []
    for on in (False, True):
        set_recompute(model, on)
        model.zero_grad()
        output = model(x)
        output.square().mean().backward()
        results.append([output.detach(), *(p.grad.clone() for p in model.parameters())])
    for plain, recomputed in zip(*results):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize("kind", ["exact", "finite_difference", "first_order"])
@pytest.mark.parametrize("name, options", [("swin_micro", {"drop_path": 0.5}), ("minilm", {})])
@pytest.mark.parametrize("frozen", [True, False])
def test_recomputing_activations_changes_no_meta_gradient(name, options, frozen, kind):
    """Though the weights of the simulated step, and the attention that has a second derivative, are gone by then."""
    found = []
    for on in (False, True):
        model, x = target(name, **options)
        model.train().encoder.requires_grad_(not frozen)
        set_recompute(model, on)
        torch.manual_seed(3)
        step = meta_gradient(kind, meta_step(model, x))
        assert kind == "first_order" or step.phi_outer[0].any()
        found.append([step.inner, step.outer["outer"], *step.phi_inner, *step.phi_outer, *step.psi_inner])
    for plain, again in zip(*found):
        torch.testing.assert_close(again, plain, rtol=0, atol=0)


def meta_step(model, x) -> BiLevel:
    def inner(encode):
        return model.predictor(encode(model.embedder(x))).square().mean()

    def outer(encode):
        return {"outer": encode(model.embedder(x).detach()).mean(1).var()}

    return BiLevel(model.encoder, inner, outer, [*model.embedder.parameters()], [*model.predictor.parameters()], 0.3)


def test_recomputing_calls_every_block_twice():
    model, x = target("swin_micro")
    set_recompute(model, True)
    calls = []
    for block in model.encoder.blocks():
        block.register_forward_pre_hook(lambda *_: calls.append(1))
    model(x).sum().backward()
    assert len(calls) == 2 * len(list(model.encoder.blocks()))


# Options and wrong use


def test_stochastic_depth_is_off_unless_asked_for():
    still, x = target("swin_micro")
    moving, _ = target("swin_micro", drop_path=0.5)
    assert torch.equal(still(x), still(x))
    assert not torch.equal(moving(x), moving(x))
    assert torch.equal(moving.eval()(x), still.eval()(x))


def test_dropout_is_off_in_training_mode_too():
    model, x = target("minilm")
    assert torch.equal(model.train()(x), model.train()(x))


def test_a_text_body_has_no_stochastic_depth():
    with pytest.raises(UsageError, match="drop_path"):
        target("minilm", drop_path=0.1)
