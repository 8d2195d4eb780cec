"""Ridge regression in closed form: one eigendecomposition, and from it the solution for every strength.

For centred inputs X (n, p) and targets T (n, k) it minimises ‖X W − T‖² + λ ‖W‖², the means standing in for an intercept that
is not penalised. With p ≤ n the Gram matrix XᵀX = V S Vᵀ is decomposed, and W = V (S + λ)⁻¹ Vᵀ XᵀT; with p > n it is
X Xᵀ = U S Uᵀ, and W = XᵀU (S + λ)⁻¹ UᵀT. Either way W = `basis` (S + λ)⁻¹ `moments`. All in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import nn

Blocks = Callable[[], Iterable[tuple[torch.Tensor, torch.Tensor]]]
"""Walks over the samples anew: inputs (B, p) and targets (B, k) in float64; NaN marks a target that is not to be learned."""


def memory(samples: int, inputs: int, outputs: int) -> int:
    """Bytes that `decompose` and its solutions take at most."""
    side = min(samples, inputs)
    held = side * inputs if inputs <= samples else 2 * side * inputs
    return 8 * (held + 3 * side * outputs + 3 * side * side)


@dataclass(frozen=True)
class Path:
    """The solutions of one regression for all strengths."""

    input_mean: torch.Tensor
    """(p,)"""
    target_mean: torch.Tensor
    """(k,)"""
    basis: torch.Tensor
    """(p, r), r = min(n, p)."""
    spectrum: torch.Tensor
    """(r,) eigenvalues, not negative."""
    moments: torch.Tensor
    """(r, k)"""

    def coefficients(self, strength: float) -> torch.Tensor:
        """(S + λ)⁻¹ `moments`, (r, k), with λ = `strength` times the mean eigenvalue: no matter in which unit inputs are."""
        damped = self.spectrum + strength * self.spectrum.mean().clamp_min(torch.finfo(torch.float64).tiny)
        return self.moments / damped[:, None]


def decompose(blocks: Blocks) -> Path:
    """The path of the regression on all samples of `blocks`, which is walked over three times."""
    first = next(iter(blocks()))
    sums, totals = torch.zeros_like(first[0][0]), torch.zeros_like(first[1][0])
    count, known = 0, torch.zeros_like(totals)
    for x, t in blocks():
        count += len(x)
        sums += x.sum(0)
        known += (~t.isnan()).sum(0)
        totals += t.nansum(0)
    input_mean, target_mean = sums / count, totals / known.clamp_min(1)

    def centred() -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
        # A target that is not to be learned counts as the mean.
        return ((x - input_mean, (t - target_mean).nan_to_num(0.0)) for x, t in blocks())

    if len(input_mean) <= count:
        gram, moments = sums.new_zeros(len(sums), len(sums)), sums.new_zeros(len(sums), len(totals))
        for x, t in centred():
            gram.addmm_(x.T, x)
            moments.addmm_(x.T, t)
        spectrum, basis = torch.linalg.eigh(gram)
        return Path(input_mean, target_mean, basis, spectrum.clamp_min(0), basis.T @ moments)
    inputs = torch.cat([x for x, _ in centred()])
    spectrum, vectors = torch.linalg.eigh(inputs @ inputs.T)
    targets = torch.cat([t for _, t in centred()])
    return Path(input_mean, target_mean, inputs.T @ vectors, spectrum.clamp_min(0), vectors.T @ targets)


class AffineMap(nn.Module):
    """x (B, C, *spatial) -> (B, *output_shape): a linear map of the flattened input and an offset, in float64."""

    def __init__(self, kind: str, output_shape: tuple[int, ...]):
        super().__init__()
        self.kind, self.output_shape = kind, output_shape
        self.factors: list[torch.Tensor] = []

    def set(self, path: Path, strength: float) -> None:
        """The solution for one strength, as one matrix where that is smaller than its two factors."""
        self.offset, self.mean = path.target_mean, path.input_mean
        right = path.coefficients(strength)
        one = path.basis.shape[0] * right.shape[1] <= path.basis.numel() + right.numel()
        self.factors = [path.basis @ right] if one else [path.basis, right]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            out = x.flatten(1).double() - self.mean
            for factor in self.factors:
                out = out @ factor
            return (out + self.offset).reshape(len(x), *self.output_shape)
