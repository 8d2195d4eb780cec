"""The two simpler alignment objectives of ORCA's ablation: maximum mean discrepancy and mean pairwise distance."""

from __future__ import annotations

import torch

KERNELS = 5
DIFFERENCES = "donot_use_mm_for_euclid_dist"
"""Distances from differences: through a matrix product they lose their digits to an offset, and to TF32."""


def mmd(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Squared maximum mean discrepancy between (n, D) and (m, D): a scalar, differentiable in both.

    Biased estimate with the sum of five Gaussian kernels exp(−‖·‖²/σ²_k), σ²_k = 2^k σ², k = −2 … 2, where σ² is the
    mean squared distance over all pairs of different points (Gretton et al., 2012; Long et al., 2015). σ² carries no
    gradient.
    """
    both = torch.cat([x, y])
    squared = torch.cdist(both, both, compute_mode=DIFFERENCES).square()
    count = len(both)
    bandwidth = squared.detach().sum() / (count * count - count)
    scales = [bandwidth * 2.0**k for k in range(-(KERNELS // 2), KERNELS // 2 + 1)]
    kernel = torch.stack([(-squared / scale).exp() for scale in scales]).sum(0)
    n = len(x)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def mean_distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Mean Euclidean distance over all pairs of (n, D) and (m, D): a scalar, differentiable in both."""
    return torch.cdist(x, y, compute_mode=DIFFERENCES).mean()
