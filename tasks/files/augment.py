"""Image augmentation of a whole batch on its own device: random crop, flip and Cutout."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def _integers(low: int, high: int, count: int, generator: torch.Generator, like: Tensor) -> Tensor:
    """(count, 1, 1) integers in [low, high), drawn on the generator's device, moved to the batch's."""
    drawn = torch.randint(low, high, (count, 1, 1), generator=generator, device=generator.device)
    return drawn.to(like.device)


def crop_flip(x: Tensor, generator: torch.Generator, fill: Tensor, pad: int = 4) -> Tensor:
    """Each image (B, C, H, W) shifted by up to `pad` pixels in both directions and mirrored half of the time.

    `fill` (C, 1, 1), of the type and on the device of `x`, is the value of the pixels that come in: black, normalised.
    """
    batch, channels, height, width = x.shape
    padded = fill.expand(batch, channels, height + 2 * pad, width + 2 * pad).clone()
    padded[:, :, pad : pad + height, pad : pad + width] = x
    top, left = (_integers(0, 2 * pad + 1, batch, generator, x) for _ in range(2))
    mirrored = _integers(0, 2, batch, generator, x).bool()
    columns = torch.arange(width, device=x.device).view(1, 1, -1)
    columns = torch.where(mirrored, width - 1 - columns, columns) + left
    rows = torch.arange(height, device=x.device).view(1, -1, 1) + top
    sample = torch.arange(batch, device=x.device).view(-1, 1, 1)
    return padded.permute(0, 2, 3, 1)[sample, rows, columns].permute(0, 3, 1, 2).contiguous()


def cut_out(x: Tensor, generator: torch.Generator, size: int) -> Tensor:
    """A square of `size` pixels around a random centre set to 0 in each image, cut at the borders (DeVries 2017)."""
    batch, _, height, width = x.shape
    cy, cx = _integers(0, height, batch, generator, x), _integers(0, width, batch, generator, x)
    y = torch.arange(height, device=x.device).view(1, -1, 1)
    z = torch.arange(width, device=x.device).view(1, 1, -1)
    half = size // 2
    hole = (y >= cy - half) & (y < cy + half) & (z >= cx - half) & (z < cx + half)
    return x * (~hole)[:, None].to(x.dtype)


def image_augmentation(fill: np.ndarray, cutout: int) -> Callable[[Tensor, torch.Generator], Tensor]:
    """Crop and flip, then Cutout unless `cutout` is 0; `fill` (C, 1, 1) is the value of the pixels that come in."""
    black = functools.cache(torch.as_tensor(fill).to)  # copied once: from pageable memory the host waits

    def augment(x: Tensor, generator: torch.Generator) -> Tensor:
        x = crop_flip(x, generator, black(x.device, x.dtype))
        return cut_out(x, generator, cutout) if cutout else x

    return augment
