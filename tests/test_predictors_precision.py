"""What is scored is float32, whatever the encoder computes in."""

from __future__ import annotations

import pytest
import torch

from bench.backbones import BACKBONES
from bench.models.target import build_target
from bench.settings import ModelSettings
from methods.small_supervised import SmallSupervised
from tests.tiny_models import source


@pytest.mark.parametrize("shape", [(1, 40), (3, 20, 20)])
@pytest.mark.parametrize("head", ["linear", "pooled"])
def test_a_perfect_predictor_scores_zero_under_autocast(shape, head):
    """Dense outputs are float32: rounded to bfloat16, the target itself would score an nRMSE of .0013 and more."""
    spec = BACKBONES["swin_micro" if len(shape) == 3 else "minilm"]
    model = build_target(source(spec.name), "dense", shape, shape, ModelSettings(dense_head=head), 0).eval()
    x = torch.randn(2, *shape)
    features = model.encoder(model.embedder(x))
    target = model.predictor(features)
    with torch.autocast("cpu", torch.bfloat16):
        output, whole = model.predictor(features), model(x)
    assert output.dtype == whole.dtype == torch.float32
    assert float(((output - target).norm() / target.norm()).detach()) < 1e-6


@pytest.mark.parametrize("kind, out", [("classes", (3,)), ("dense", (2, 16))])
def test_a_models_own_output_is_float32_under_autocast(kind, out):
    model = SmallSupervised(width=8).build(kind, (1, 16), out)
    with torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(2, 1, 16)).dtype == torch.float32
