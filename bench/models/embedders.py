"""Embedders e: raw target input -> tokens in the source model's input-embedding space."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from bench.models.source import SourceModel


def patch_length(length: int, most_tokens: int) -> int:
    """Samples per token of a 1D input: the smallest divisor p of `length` with length / p <= `most_tokens`.

    Where that divisor exceeds twice the shortest patch possible, ceil(length / most_tokens), as for a prime, the
    shortest one is returned and the input has to be padded to a multiple of it: no sequence collapses to a few tokens.
    """
    if length < 1 or most_tokens < 1:
        raise ValueError(f"length {length}, most_tokens {most_tokens}: expected positive numbers")
    shortest = -(-length // most_tokens)
    return next((p for p in range(shortest, min(2 * shortest, length) + 1) if length % p == 0), shortest)


class Embedder1D(nn.Module):
    """x (B, C, L) -> tokens (B, N, D): patches of C·p values, linear, LayerNorm, + learned positions.

    L is padded with zeros at its end to N·p where p does not divide it (see `patch_length`).
    """

    def __init__(self, channels: int, length: int, width: int, most_tokens: int):
        super().__init__()
        self.patch = patch_length(length, most_tokens)
        self.tokens = -(-length // self.patch)
        self.padding = self.tokens * self.patch - length
        self.proj = nn.Linear(channels * self.patch, width)
        self.norm = nn.LayerNorm(width)
        self.positions = nn.Parameter(torch.zeros(self.tokens, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.pad(x, (0, self.padding)) if self.padding else x
        patches = x.unflatten(-1, (self.tokens, self.patch)).transpose(1, 2).flatten(2)
        return self.norm(self.proj(patches)) + self.positions


class Embedder2D(nn.Module):
    """x (B, C, H, W) -> tokens (B, N, D): resize to S×S (bilinear), patches of C·p·p, linear, LayerNorm."""

    def __init__(self, channels: int, width: int, image_size: int, patch: int, antialias: bool = True):
        super().__init__()
        self.image_size, self.antialias = image_size, antialias
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = (self.image_size, self.image_size)
        if x.shape[-2:] != size:
            x = F.interpolate(x, size, mode="bilinear", antialias=self.antialias)
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


@torch.no_grad()
def initialise(embedder: Embedder1D | Embedder2D, source: SourceModel, how: str, generator: torch.Generator) -> None:
    """Set the starting weights of an embedder in place; biases are 0 where nothing is said of them.

    `source`, 2D: the source's patch kernel, its channels tiled to C and scaled by 3/C (the activation scale is kept),
    with its bias and LayerNorm. `source`, 1D: the source's LayerNorm and positions, the linear map Xavier-uniform.
    `random`: weights and positions from a normal of 0.02 truncated at ±0.04, LayerNorm 1 and 0.
    `published` is what ORCA's code does before a stage 1: as `source`, but the kernel is not scaled and the linear map is
    Xavier-uniform with gain √2 over the fans of a convolution. `published_untrained` is what it does without one: LayerNorm
    1 and 0, in 2D a normal kernel of 0.02; 1D otherwise the same.
    """
    nn.init.zeros_(embedder.proj.bias)  # type: ignore[arg-type]
    if how == "random":
        nn.init.trunc_normal_(embedder.proj.weight, std=0.02, a=-0.04, b=0.04, generator=generator)
        if isinstance(embedder, Embedder1D):
            nn.init.trunc_normal_(embedder.positions, std=0.02, a=-0.04, b=0.04, generator=generator)
        return
    if how != "published_untrained":
        embedder.norm.load_state_dict(source.embedder.norm.state_dict())  # type: ignore[union-attr, operator, arg-type]
        embedder.norm.eps = source.embedder.norm.eps  # type: ignore[union-attr, assignment]
    if isinstance(embedder, Embedder1D):
        embedder.positions.copy_(source.embedder.positions[: embedder.tokens])  # type: ignore[index, arg-type]
        if how == "source":
            nn.init.xavier_uniform_(embedder.proj.weight, generator=generator)
        else:
            width, values = embedder.proj.weight.shape
            bound = math.sqrt(2) * math.sqrt(6 / (values + width * embedder.patch))
            nn.init.uniform_(embedder.proj.weight, -bound, bound, generator=generator)
    elif how == "published_untrained":
        nn.init.normal_(embedder.proj.weight, std=0.02, generator=generator)
    else:
        kernel: torch.Tensor = source.embedder.proj.weight  # type: ignore[union-attr, assignment]
        channels = embedder.proj.in_channels
        tiled = kernel[:, torch.arange(channels) % kernel.shape[1]]
        embedder.proj.weight.copy_(tiled * kernel.shape[1] / channels if how == "source" else tiled)
        embedder.proj.bias.copy_(source.embedder.proj.bias)  # type: ignore[union-attr, arg-type]
