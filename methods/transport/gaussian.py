"""Wasserstein distance between point clouds taken as Gaussians: the Bures closed form, from samples."""

from __future__ import annotations

import torch

from methods.transport.sinkhorn import product


def wasserstein2(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """W² of the Gaussians with the moments (divided by n) of the clouds (n, D) and (m, D): a scalar.

    ‖μ_x − μ_y‖² + tr Σ_x + tr Σ_y − 2 tr (Σ_x^½ Σ_y Σ_x^½)^½ (Dowson and Landau, 1982). The last trace is the sum of
    the singular values of X Yᵀ for centred clouds scaled by 1/√n: no matrix root is taken, so a singular
    covariance (fewer samples than dimensions, or one sample) is no special case.
    """
    x, y = x.double(), y.double()
    mean_x, mean_y = x.mean(0), y.mean(0)
    x, y = (x - mean_x) / len(x) ** 0.5, (y - mean_y) / len(y) ** 0.5
    cross = _root_trace(x, y)
    distance = (mean_x - mean_y).square().sum() + x.square().sum() + y.square().sum() - 2 * cross
    return distance.clamp_min(0)


def _root_trace(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    # Any factor F with FᵀF = XᵀX gives the same singular values of F Yᵀ; the triangular one is at most D × D.
    x, y = (torch.linalg.qr(z, mode="r").R if len(z) > z.shape[1] else z for z in (x, y))
    return torch.linalg.svdvals(product(x, y.T)).sum()
