"""Swin bodies through timm: image -> tokens (e0), tokens -> features (f), features -> source classes (h0)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from timm.layers import DropPath
from timm.models.swin_transformer import SwinTransformer, WindowAttention
from torch import nn

from bench.models.predictors import Classes
from bench.models.recompute import recomputed

SWIN_BASE = "swin_base_patch4_window7_224.ms_in22k"


class ImageEmbedder(nn.Module):
    """e0: pixels (B, 3, S, S), normalised as the backbone expects, -> tokens (B, N, D). Patches, linear, LayerNorm."""

    def __init__(self, patch_embed: nn.Module):
        super().__init__()
        self.proj: nn.Conv2d = patch_embed.proj  # type: ignore[assignment]
        self.norm: nn.LayerNorm = patch_embed.norm  # type: ignore[assignment]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.norm(self.proj(pixels).flatten(2).transpose(1, 2))


class ImageEncoder(nn.Module):
    """f: tokens (B, g·g, D) -> features (B, N', d), the Swin stages and the final LayerNorm.

    `recompute` drops the activations inside each block and computes them again in the backward pass.
    """

    def __init__(self, swin: SwinTransformer):
        super().__init__()
        self.layers, self.norm = swin.layers, swin.norm
        self.grid: tuple[int, int] = tuple(swin.patch_embed.grid_size)  # type: ignore[arg-type]
        self.recompute = False

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = tokens.unflatten(1, self.grid)
        for stage in self.layers:
            x = stage.downsample(x)  # type: ignore[operator, union-attr]
            for block in stage.blocks:  # type: ignore[union-attr]
                x = recomputed(block, x) if self.recompute and self.training else block(x)
        return self.norm(x).flatten(1, 2)

    def blocks(self) -> Iterator[nn.Module]:
        """The transformer blocks, first to last."""
        for stage in self.layers:
            yield from stage.blocks  # type: ignore[misc, union-attr]


def build_swin_micro() -> SwinTransformer:
    """The small Swin that this project pretrains on Fashion-MNIST: 32 px, 8×8 tokens of width 64, 0.93 M weights."""
    return SwinTransformer(
        img_size=32,
        patch_size=4,
        in_chans=3,
        num_classes=10,
        embed_dim=64,
        depths=(2, 4),
        num_heads=(4, 8),
        window_size=4,
        drop_path_rate=0.0,
    )


def _build_swin_base(weights: Path | None) -> SwinTransformer:
    """timm's Swin-B; its loader translates the names of older checkpoints in `weights`."""
    source: dict = {"pretrained_cfg_overlay": {"file": str(weights)}} if weights else {}
    return timm.create_model(SWIN_BASE, pretrained=weights is not None, drop_path_rate=0.0, **source)  # type: ignore


def build_swin(name: str, weights: Path | None) -> SwinTransformer:
    """The backbone `name` with its pretrained `weights` file, or with the library's own initialisation for None."""
    model = build_swin_micro() if name == "swin_micro" else _build_swin_base(weights)
    if name == "swin_micro" and weights is not None:
        model.load_state_dict(load_file(weights))
    for module in model.modules():
        if isinstance(module, WindowAttention):  # timm keeps scaled_dot_product_attention for Swin behind this flag
            module.fused_attn = True  # type: ignore[misc]
    return model


def split_swin(swin: SwinTransformer) -> tuple[ImageEmbedder, ImageEncoder, Classes]:
    """The three parts (e0, f, h0) of a Swin classifier; they share its parameters."""
    return ImageEmbedder(swin.patch_embed), ImageEncoder(swin), Classes(swin.head.fc)  # type: ignore[arg-type]


def set_drop_path(encoder: ImageEncoder, rate: float) -> None:
    """Stochastic depth of rate 0 at the first block rising linearly to `rate` at the last, as in Swin."""
    blocks = list(encoder.blocks())
    for i, block in enumerate(blocks):
        drop = rate * i / max(1, len(blocks) - 1)
        block.drop_path1 = DropPath(drop) if drop else nn.Identity()
        block.drop_path2 = DropPath(drop) if drop else nn.Identity()
