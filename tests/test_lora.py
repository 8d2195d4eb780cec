"""LoRA: it begins as the frozen body, moves adapters and both ends alone, and is one matrix once merged."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from bench.backbones import BACKBONES
from bench.models.source import load_source_model
from methods.contract import MethodError
from methods.lora import LAYERS, Lora
from tests.fake_context import fake_context

layers = pytest.importorskip("peft.tuners.tuners_utils")


def prepared(**options):
    context = fake_context()
    context.model.eval()
    Lora(**options).prepare(context)
    return context


def adapters(module: nn.Module):
    return [m for m in module.modules() if isinstance(m, layers.BaseTunerLayer)]


def test_it_begins_as_the_body_bit_for_bit():
    plain = fake_context()
    with torch.no_grad():
        assert torch.equal(prepared().model(plain.x), plain.model.eval()(plain.x))


def step(context) -> None:
    moved = list(Lora().trainable(context.model))
    optimizer = torch.optim.SGD(moved, lr=0.5)
    for _ in range(2):  # A moves once B is not zero
        context.loss(context.model(context.x), context.batch(range(context.train_size))).backward()
        optimizer.step()


def test_adapters_and_both_ends_move_and_nothing_else():
    context = prepared()
    before = {name: p.detach().clone() for name, p in context.model.named_parameters()}
    step(context)
    moved = {name for name, p in context.model.named_parameters() if not torch.equal(p, before[name])}
    inside = {name for name in moved if name.startswith("encoder.")}
    assert inside == {name for name in before if ".lora_" in name}
    assert {name.partition(".")[0] for name in moved} == {"embedder", "encoder", "predictor"}


def test_an_update_is_the_scaled_product_of_its_two_matrices():
    context = prepared(rank=2, alpha=6.0)
    step(context)
    layer = adapters(context.model.encoder)[0]
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    x = torch.randn(5, a.shape[1])
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer.base_layer(x) + 3 * x @ a.T @ b.T)
        apart = context.model(context.x)
        for adapter in adapters(context.model):
            adapter.merge()
        torch.testing.assert_close(context.model(context.x), apart)


@pytest.mark.parametrize(("name", "per_block"), [("swin_micro", 4), ("minilm", 6)])
def test_attention_and_mlp_of_either_body_have_adapters(name, per_block):
    context = fake_context()
    context.model.encoder = load_source_model(BACKBONES[name], random_weights=True).encoder
    Lora().prepare(context)
    assert len(adapters(context.model.encoder)) == per_block * len(list(context.model.encoder.blocks()))


def test_what_it_cannot_run_on_is_said(monkeypatch):
    context = fake_context()
    context.model.encoder = nn.Linear(16, 16)
    with pytest.raises(MethodError, match=f"Linear has no layer named {LAYERS[0]}"):
        Lora().prepare(context)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MethodError, match="lora needs peft"):
        Lora().prepare(fake_context())


@pytest.mark.parametrize("options", [{"rank": 0}, {"alpha": 0.0}], ids=str)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(MethodError, match=next(iter(options))):
        Lora(**options).check()
