"""The networks of `small_supervised`: a residual CNN and a Fourier neural operator, for one or two spatial axes."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import nn


class ResidualNet(nn.Module):
    """(B, C, *spatial) -> (B, K): three stages of two pre-activation residual blocks, widths w, 2w, 4w.

    Zagoruyko and Komodakis, Wide Residual Networks, 2016. GroupNorm stands where the paper has BatchNorm, so that the
    published batch sizes of 1 to 4 train and evaluation sees the same function as training.
    """

    def __init__(self, channels: int, classes: int, axes: int, width: int):
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d)[axes - 1]
        widths = (width, width, 2 * width, 4 * width)
        blocks: list[nn.Module] = [conv(channels, width, 3, padding=1, bias=False)]
        for stage, (narrow, wide) in enumerate(itertools.pairwise(widths)):
            blocks += [_Block(conv, narrow, wide, stride=1 + (stage > 0)), _Block(conv, wide, wide, stride=1)]
        self.body = nn.Sequential(*blocks, _norm(widths[-1]), nn.ReLU())
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _in_full(self.head, self.body(x).flatten(2).mean(2))


class _Block(nn.Module):
    def __init__(self, conv: type[nn.Module], narrow: int, wide: int, stride: int):
        super().__init__()
        self.first = nn.Sequential(_norm(narrow), nn.ReLU())
        self.residual = nn.Sequential(
            conv(narrow, wide, 3, stride=stride, padding=1, bias=False),
            _norm(wide),
            nn.ReLU(),
            conv(wide, wide, 3, padding=1, bias=False),
        )
        same = narrow == wide and stride == 1
        self.shortcut = nn.Identity() if same else conv(narrow, wide, 1, stride=stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        active = self.first(x)
        shortcut = x if isinstance(self.shortcut, nn.Identity) else self.shortcut(active)
        return shortcut + self.residual(active)


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(next(groups for groups in (8, 4, 2, 1) if channels % groups == 0), channels)


class FourierOperator(nn.Module):
    """(B, C, *spatial) -> (B, K, *spatial'): lift, Fourier layers, project; Li et al., ICLR 2021.

    The grid coordinates in [0, 1] are appended to the input, as in the paper. Where the output has another grid than
    the input, the features are interpolated (linear) to it before the projection.
    """

    def __init__(self, channels: int, output_shape: tuple[int, ...], width: int, modes: int, layers: int):
        super().__init__()
        self.grid = tuple(output_shape[1:])
        axes = len(self.grid)
        conv = (nn.Conv1d, nn.Conv2d)[axes - 1]
        self.lift = conv(channels + axes, width, 1)
        self.spectral = nn.ModuleList(SpectralConv(width, modes, axes) for _ in range(layers))
        self.pointwise = nn.ModuleList(conv(width, width, 1) for _ in range(layers))
        self.project = nn.Sequential(conv(width, 4 * width, 1), nn.GELU(), conv(4 * width, output_shape[0], 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lift(torch.cat([x, _coordinates(x)], dim=1))
        for i, (spectral, pointwise) in enumerate(zip(self.spectral, self.pointwise)):
            x = spectral(x) + pointwise(x)
            x = F.gelu(x) if i < len(self.spectral) - 1 else x
        if tuple(x.shape[2:]) != self.grid:
            # A row is an image of one line: torch has a deterministic backward pass on GPUs for `bilinear` alone.
            image, grid = x if len(self.grid) == 2 else x[:, :, None], (1, *self.grid)[-2:]
            x = F.interpolate(image, grid, mode="bilinear", align_corners=False).view(*x.shape[:2], *self.grid)
        return _in_full(self.project, x)


class SpectralConv(nn.Module):
    """Multiply the lowest `modes` Fourier coefficients of each axis by learned complex matrices, zero the others.

    Weights are stored as (real, imaginary) pairs, so that every optimiser and file format takes them.
    """

    def __init__(self, width: int, modes: int, axes: int):
        super().__init__()
        self.modes = modes
        corners = 1 if axes == 1 else 2
        self.weight = nn.Parameter(torch.rand(corners, width, width, *(modes,) * axes, 2) / width**2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spatial = tuple(range(2, x.ndim))
        # Half-precision FFTs exist for powers of two on GPUs only.
        coefficients = torch.fft.rfftn(x.float(), dim=spatial, norm="ortho")
        out = torch.zeros_like(coefficients)
        weight = torch.view_as_complex(self.weight.float().contiguous())
        last = min(self.modes, coefficients.shape[-1])
        if x.ndim == 3:
            out[..., :last] = torch.einsum("bix,iox->box", coefficients[..., :last], weight[0, ..., :last])
        else:
            # Negative frequencies of the first axis sit at its end; both halves must not overlap on small grids.
            low = min(self.modes, (x.shape[2] + 1) // 2)
            high = min(self.modes, x.shape[2] // 2)
            for corner, rows in enumerate((slice(0, low), slice(x.shape[2] - high, x.shape[2]))):
                kept = weight[corner, :, :, : (low, high)[corner], :last]
                out[:, :, rows, :last] = torch.einsum("bixy,ioxy->boxy", coefficients[:, :, rows, :last], kept)
        return torch.fft.irfftn(out, s=x.shape[2:], dim=spatial, norm="ortho").to(x.dtype)


def _in_full(last: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """`last` in the type of its weights, outside of autocast: what is scored must not be rounded to bfloat16."""
    with torch.autocast(x.device.type, enabled=False):
        return last(x.to(next(last.parameters()).dtype))


def _coordinates(x: torch.Tensor) -> torch.Tensor:
    axes = [torch.linspace(0, 1, n, device=x.device, dtype=x.dtype) for n in x.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    return grid.expand(len(x), *grid.shape)
