"""Wasserstein distance between point clouds taken as Gaussians: the Bures closed form, from samples."""

from __future__ import annotations

import torch


def wasserstein2(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """W² of the Gaussians with the moments of the clouds (n, D) and (m, D): a scalar, differentiable in both.

    ‖μ_x − μ_y‖² + tr Σ_x + tr Σ_y − 2 tr (Σ_x^½ Σ_y Σ_x^½)^½ (Dowson and Landau, 1982), with covariances divided by
    n − 1 as in the public OTDD code; that of one sample is zero. The last trace is the sum of the singular values of
    X Yᵀ for centred clouds scaled by 1/√(n − 1): no matrix root is taken, so a singular covariance (fewer samples than
    dimensions) is no special case, in the gradient neither.
    """
    x, y = x.double(), y.double()
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = (x - mean_x) / max(len(x) - 1, 1) ** 0.5, (y - mean_y) / max(len(y) - 1, 1) ** 0.5
    cross = _root_trace(x, y)
    distance = (mean_x - mean_y).square().sum() + x.square().sum() + y.square().sum() - 2 * cross
    return distance.clamp_min(0)


def _root_trace(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # Any factor F with FᵀF = XᵀX gives the same singular values of F Yᵀ; the triangular one is at most D × D. It has
    # no derivative where a covariance is singular, so a cloud that is differentiated keeps its samples.
    x, y = (torch.linalg.qr(z, mode="r").R if len(z) > z.shape[1] and not z.requires_grad else z for z in (x, y))
    return torch.linalg.svdvals(x @ y.T).sum()
