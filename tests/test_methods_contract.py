"""What stage 2 of each arm moves, the small supervised networks, and that method files stay light."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from methods.contract import Method, MethodError
from methods.embedder_warmup import EmbedderWarmup
from methods.fno import Fno
from methods.frozen import Frozen
from methods.linear import Linear
from methods.lp_ft import LpFt
from methods.mmd_joint import MmdJoint
from methods.mona import Mona
from methods.orca import Orca
from methods.pare import Pare
from methods.recraft import Recraft
from methods.ridge import Ridge
from methods.scratch import Scratch
from methods.small_networks import SpectralConv
from methods.small_supervised import SmallSupervised
from methods.vanilla import Vanilla
from tests.fake_context import TinyModel, fake_context

METHODS = [
    Vanilla,
    Scratch,
    Frozen,
    Linear,
    EmbedderWarmup,
    LpFt,
    MmdJoint,
    Orca,
    Recraft,
    Pare,
    Mona,
    SmallSupervised,
    Fno,
    Ridge,
]


def names(model: TinyModel, method: Method) -> set[str]:
    """The names of the parameters that stage 2 moves."""
    chosen = {id(p) for p in method.trainable(model)}
    return {name for name, p in model.named_parameters() if id(p) in chosen}


def test_every_arm_but_frozen_and_linear_moves_everything():
    model = TinyModel()
    everything = {name for name, _ in model.named_parameters()}
    for kind in (Vanilla, Scratch, EmbedderWarmup, LpFt, MmdJoint, Orca, Recraft, Pare, Mona):
        assert names(model, kind()) == everything


def test_frozen_moves_the_layer_norms_of_the_encoder_and_both_ends():
    moved = names(TinyModel(), Frozen())
    inside = {name for name in moved if name.startswith("encoder.")}
    assert inside == {f"encoder.{n}.{p}" for p in ("weight", "bias") for n in (
        "norm", "blocks.0.norm1", "blocks.0.norm2", "blocks.1.norm1", "blocks.1.norm2"
    )}  # fmt: skip
    assert {name for name in moved if not name.startswith("encoder.")} == {
        name for name, _ in TinyModel().named_parameters() if not name.startswith("encoder.")
    }


def test_frozen_refuses_an_encoder_without_norms():
    model = TinyModel()
    model.encoder = nn.Linear(16, 16)
    with pytest.raises(MethodError, match="use linear instead"):
        list(Frozen().trainable(model))


def test_linear_moves_nothing_of_the_encoder():
    moved = names(TinyModel(), Linear())
    assert moved and not any(name.startswith("encoder.") for name in moved)


def test_only_scratch_the_small_network_and_ridge_use_no_pretrained_weights():
    assert [kind.name for kind in METHODS if not kind.pretrained] == ["scratch", "small_supervised", "fno", "ridge"]
    assert [kind.name for kind in METHODS if kind.needs_source] == ["mmd_joint", "orca", "recraft", "pare", "mona"]


@pytest.mark.parametrize("kind", [Vanilla, Scratch, Frozen, Linear, Pare, SmallSupervised], ids=lambda k: k.name)
def test_arms_without_a_stage_one_take_no_step(kind):
    context = fake_context()
    kind().align(context)
    assert not context.logs


def test_embedder_warm_up_lowers_the_loss_at_its_own_rate_and_length():
    context = fake_context()
    EmbedderWarmup(epochs=4, lr=0.05, train_predictor=True).align(context)
    losses = [row["loss"] for row in context.logs["warmup"]]
    assert len(losses) == 4 * 3 and losses[-1] < losses[0]
    assert set(context.rates["warmup"]) == {0.05}


@pytest.mark.parametrize("options", [{"epochs": -1}, {"lr": 0.0}], ids=str)
def test_warm_up_options_that_make_no_sense_are_refused(options):
    with pytest.raises(MethodError, match=next(iter(options))):
        EmbedderWarmup(**options).check()


CASES = [
    ("classes", (3, 32, 32), (7,)),
    ("classes", (1, 16, 52), (18,)),
    ("classes", (1, 46), (24,)),
    ("multilabel", (4, 100), (36,)),
    ("dense", (1, 64), (1, 64)),
    ("dense", (3, 64), (3, 32)),
    ("dense", (3, 21, 21), (1, 21, 21)),
    ("dense", (1, 6, 8), (2, 6, 8)),
]


@pytest.mark.parametrize(("kind", "given", "wanted"), CASES, ids=str)
def test_the_small_network_has_the_right_shape_and_learns_two_samples(kind, given, wanted):
    torch.manual_seed(0)
    model = SmallSupervised(width=8, modes=4, layers=2).build(kind, given, wanted)
    x = torch.randn(2, *given)
    y = {"classes": torch.tensor([0, 1]), "multilabel": torch.eye(2, wanted[0]), "dense": torch.randn(2, *wanted)}[kind]
    loss_of = {"classes": F.cross_entropy, "multilabel": F.binary_cross_entropy_with_logits, "dense": F.mse_loss}[kind]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        output = model(x)
        assert output.shape == (2, *wanted)
        loss = loss_of(output, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize(
    "case", [("classes", (3, 4, 4, 4), (2,)), ("dense", (1, 8), (2,)), ("other", (1, 8), (2,))], ids=str
)
def test_the_small_network_refuses_shapes_that_it_has_no_design_for(case):
    with pytest.raises(MethodError, match="expected classes or"):
        SmallSupervised().build(*case)


def test_a_spectral_layer_is_a_circular_convolution():
    """In one dimension: multiplying Fourier coefficients equals convolving with the weights' inverse transform."""
    torch.manual_seed(0)
    layer = SpectralConv(width=1, modes=3, axes=1)
    x = torch.randn(1, 1, 12)
    weights = torch.view_as_complex(layer.weight.detach().contiguous())[0, 0, 0]
    coefficients = np.zeros(7, dtype=complex)
    coefficients[:3] = weights.numpy()
    filter_ = np.fft.irfft(coefficients, 12)
    signal = x[0, 0].numpy()
    expected = [sum(filter_[(i - j) % 12] * signal[j] for j in range(12)) for i in range(12)]
    np.testing.assert_allclose(layer(x)[0, 0].detach().numpy(), expected, atol=1e-5)


def test_a_spectral_layer_in_two_dimensions_keeps_low_frequencies_and_drops_high_ones():
    torch.manual_seed(0)
    layer = SpectralConv(width=1, modes=3, axes=2)
    grid = torch.arange(16) * 2 * torch.pi / 16
    for wave, kept in ((torch.cos(2 * grid), True), (torch.cos(6 * grid), False)):
        for x in (wave[:, None].expand(16, 16), wave[None, :].expand(16, 16)):
            assert bool(layer(x[None, None]).abs().max() > 1e-3) is kept


def test_importing_the_methods_does_not_load_torch():
    modules = ", ".join(f"methods.{kind.__module__.split('.')[-1]}" for kind in METHODS)
    code = f"import sys, {modules}; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
