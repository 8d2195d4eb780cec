"""The target model g = h ∘ f ∘ e (MoNA, section 3): a new embedder and predictor around a copy of the encoder."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from bench.backbones import Backbone
from bench.errors import UsageError
from bench.models import embedders, predictors
from bench.models.source import SourceModel
from bench.settings import ModelSettings


class TargetModel(nn.Module):
    """g = h ∘ f ∘ e: raw input (B, C, *spatial) -> output in label space."""

    def __init__(self, embedder: nn.Module, encoder: nn.Module, predictor: nn.Module):
        super().__init__()
        self.embedder, self.encoder, self.predictor = embedder, encoder, predictor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.predictor(self.encoder(self.embedder(x)))


def build_target(
    source: SourceModel,
    kind: str,
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    settings: ModelSettings,
    seed: int,
) -> TargetModel:
    """The target model for inputs (C, L) or (C, H, W) and outputs (K,), (K, L) or (K, H, W), all weights trainable.

    `kind` is `classes`, `multilabel` or `dense`. The source model stays untouched, and so does the global random state;
    the same seed gives the same weights. Raises UsageError where the shapes, the kind and the backbone do not fit.
    """
    spec = source.spec
    _refuse_misfit(spec, kind, input_shape, output_shape)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # constructors draw weights that are overwritten below
        embedder = _embedder(spec, input_shape, settings)
        predictor = _predictor(spec, kind, embedder, output_shape, settings)
    embedders.initialise(embedder, source, settings.embedder_init, generator)
    predictors.initialise(predictor, generator)
    encoder = copy.deepcopy(source.encoder).requires_grad_(True)
    if settings.drop_path:
        if spec.modality != "vision":
            raise UsageError(
                f"model.drop_path={settings.drop_path}: {spec.name} is a text backbone, which has none; use 0"
            )
        from bench.models.vision import ImageEncoder, set_drop_path

        assert isinstance(encoder, ImageEncoder)
        set_drop_path(encoder, settings.drop_path)
    return TargetModel(embedder, encoder, predictor).train()


def _refuse_misfit(spec: Backbone, kind: str, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> None:
    dims, needed = len(input_shape) - 1, {"text": 1, "vision": 2}[spec.modality]
    if dims != needed:
        raise UsageError(
            f"input shape {input_shape} has {dims} spatial axes, but {spec.name} is a {spec.modality} backbone and "
            f"takes {needed}; use a {'text' if dims == 1 else 'vision'} backbone"
        )
    expected = needed + 1 if kind == "dense" else 1
    if kind not in ("classes", "multilabel", "dense") or len(output_shape) != expected:
        raise UsageError(
            f"kind {kind!r} with output shape {output_shape}: expected classes or multilabel with (K,), "
            f"or dense with {'(K, L)' if needed == 1 else '(K, H, W)'}"
        )


def _embedder(
    spec: Backbone, input_shape: tuple[int, ...], settings: ModelSettings
) -> embedders.Embedder1D | embedders.Embedder2D:
    if spec.modality == "text":
        most = min(settings.target_seq_len, spec.max_positions or settings.target_seq_len)
        return embedders.Embedder1D(input_shape[0], input_shape[1], spec.width, most)
    assert spec.image_size and spec.patch
    return embedders.Embedder2D(input_shape[0], spec.width, spec.image_size, spec.patch, settings.antialias)


def _predictor(
    spec: Backbone, kind: str, embedder: nn.Module, output_shape: tuple[int, ...], settings: ModelSettings
) -> nn.Module:
    if kind != "dense":
        return predictors.Classes(nn.Linear(spec.out_width, output_shape[0]))
    head = settings.dense_head
    if isinstance(embedder, embedders.Embedder1D):
        channels, length = output_shape
        return predictors.Dense1D(spec.out_width, embedder.tokens, embedder.patch, (channels, length), head)
    assert spec.image_size and spec.stride
    channels, height, breadth = output_shape
    grid = spec.image_size // spec.stride
    return predictors.Dense2D(spec.out_width, grid, spec.stride, (channels, height, breadth), head)


@torch.no_grad()
def randomise(encoder: nn.Module, seed: int) -> None:
    """Re-initialise f in place as its library does, for training from scratch; the same seed gives the same weights.

    timm (Swin) and transformers (BERT, RoBERTa) agree: linear weights from a normal of 0.02, biases 0, LayerNorms 1 and
    0; Swin's relative position biases from the same normal.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        table = getattr(module, "relative_position_bias_table", None)
        if isinstance(table, nn.Parameter):
            nn.init.normal_(table, std=0.02, generator=generator)


def set_recompute(model: TargetModel, on: bool) -> None:
    """Switch activation checkpointing of the encoder: less memory in training, one more forward pass per step."""
    model.encoder.recompute = on  # type: ignore[assignment]


def compiled(model: nn.Module, device: torch.device) -> Any:
    """`model` through torch.compile, sharing its weights; on a GPU replayed as CUDA graphs.

    One program per input shape, which are two: the full batch and the last of an epoch. A step of a small batch is
    bound by kernel launches, and a graph is one launch.
    """
    torch.compiler.reset()  # programs of earlier cells count towards a limit past which torch falls back to eager
    return torch.compile(model, dynamic=False, mode="reduce-overhead" if device.type == "cuda" else "default")
