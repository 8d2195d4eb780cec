"""Predictors h: features of the encoder -> output in label space, in float32 whatever the encoder computes in.

What bfloat16 rounds an output to is as large as the errors that are scored.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn


def pooling_matrix(size_in: int, size_out: int) -> torch.Tensor:
    """(size_out, size_in) matrix of adaptive average pooling along one axis.

    Row i averages inputs floor(i·in/out) to ceil((i+1)·in/out) - 1, as torch's AdaptiveAvgPool does. A matrix product
    is deterministic and twice differentiable on every device; torch's kernel is not deterministic on GPUs.
    """
    matrix = torch.zeros(size_out, size_in)
    for i in range(size_out):
        start, end = i * size_in // size_out, -(-(i + 1) * size_in // size_out)
        matrix[i, start:end] = 1 / (end - start)
    return matrix


class Predictor(nn.Module):
    """A map of features that leaves autocast: it computes in the type of its weights."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The output of features (B, N', d)."""
        kept = next(itertools.chain(self.parameters(), self.buffers()))
        with torch.autocast(features.device.type, enabled=False):
            return self.map(features.to(kept.dtype))

    def map(self, features: torch.Tensor) -> torch.Tensor:
        """The same, of features in that type."""
        raise NotImplementedError


class Classes(Predictor):
    """Features (B, N', d) -> logits (B, K), for classes and for multiple labels: mean over tokens, linear."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.linear = linear

    def map(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features.mean(1))


class Dense1D(Predictor):
    """Features (B, N, d) -> (B, K, L): each token gives K·p values, laid end to end and cut to L.

    `linear` learns the map d -> K·p. `pooled` is the published one: adaptive averages of the d units, no weights.
    """

    def __init__(self, width: int, tokens: int, patch: int, output_shape: tuple[int, int], head: str):
        super().__init__()
        self.channels, self.length = output_shape
        self.patch = patch if tokens * patch >= self.length else -(-self.length // tokens)
        values = self.channels * self.patch
        self.linear = nn.Linear(width, values) if head == "linear" else None
        self.pool: torch.Tensor | None
        self.register_buffer("pool", pooling_matrix(width, values) if head == "pooled" else None, persistent=False)

    def map(self, features: torch.Tensor) -> torch.Tensor:
        if self.linear is not None:
            values = self.linear(features)
        else:
            assert self.pool is not None
            values = features @ self.pool.T
        signal = values.unflatten(-1, (self.channels, self.patch)).permute(0, 2, 1, 3).flatten(2)
        return signal[..., : self.length]


class Dense2D(Predictor):
    """Features (B, g·g, d) -> (B, K, H, W): linear map per token, pixel shuffle, average pooling to H×W.

    `linear`: K planes, at least as fine as the target, so that nothing is pooled up. `pooled` is the published one: 3
    planes of the backbone's image size, averaged over channels to K (of rank 3 when K > 3) and pooled to H×W.
    """

    def __init__(self, width: int, grid: int, stride: int, output_shape: tuple[int, int, int], head: str):
        super().__init__()
        channels, height, breadth = output_shape
        self.grid = grid
        self.planes = 3 if head == "pooled" else channels
        self.scale = stride if head == "pooled" else max(stride, -(-max(height, breadth) // grid))
        self.linear = nn.Linear(width, self.planes * self.scale**2)
        self.shuffle = nn.PixelShuffle(self.scale)
        side = grid * self.scale
        self.over_channels: torch.Tensor | None
        self.over_rows: torch.Tensor | None
        self.over_columns: torch.Tensor | None
        self.register_buffer("over_channels", _pool(self.planes, channels), persistent=False)
        self.register_buffer("over_rows", _pool(side, height), persistent=False)
        self.register_buffer("over_columns", _pool(side, breadth), persistent=False)

    def map(self, features: torch.Tensor) -> torch.Tensor:
        image = self.shuffle(self.linear(features).transpose(1, 2).unflatten(-1, (self.grid, self.grid)))
        if self.over_channels is not None:
            image = torch.einsum("kc,bchw->bkhw", self.over_channels, image)
        if self.over_columns is not None:
            image = image @ self.over_columns.T
        if self.over_rows is not None:
            image = self.over_rows @ image
        return image


def _pool(size_in: int, size_out: int) -> torch.Tensor | None:
    """The pooling matrix, or None where it is the identity."""
    return None if size_in == size_out else pooling_matrix(size_in, size_out)


@torch.no_grad()
def initialise(predictor: nn.Module, generator: torch.Generator) -> None:
    """Random start in place: weights of every linear map from a normal of 0.02 truncated at ±0.04, biases 0."""
    for module in predictor.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02, a=-0.04, b=0.04, generator=generator)
            nn.init.zeros_(module.bias)
