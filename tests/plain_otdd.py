"""OTDD as the public code computes it, nothing cached: geomloss for every label pair and for the whole, by autograd.

The reference of equivalence tests and of the benchmark. Labels are a column beside the features, those of the target
numbered after the source's, and geomloss anneals from the diameter of both together, as it does in the public code.
"""

from __future__ import annotations

import math

import torch
from geomloss import SamplesLoss

BLUR = math.sqrt(0.1)


def squared(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(..., N, M) of ‖x_i − y_j‖²."""
    cross = x @ y.transpose(-1, -2)
    return (x * x).sum(-1).unsqueeze(-1) - 2 * cross + (y * y).sum(-1).unsqueeze(-2)


def label_distances(
    x: torch.Tensor, labels_x: torch.Tensor, y: torch.Tensor, labels_y: torch.Tensor, inner: str = "sinkhorn"
) -> torch.Tensor:
    """(K_x, K_y) of W² between classes, zero between a class and itself.

    `sinkhorn`: the debiased divergence under the cost ‖x − y‖², a number; `gaussian`: Bures, with its gradient.
    """
    divergence = SamplesLoss("sinkhorn", p=2, cost=squared, debias=True, blur=BLUR, backend="tensorized")
    out = torch.zeros(int(labels_x.max()) + 1, int(labels_y.max()) + 1, dtype=x.dtype)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            if x is not y or j < i:
                a, b = x[labels_x == i], y[labels_y == j]
                out[i, j] = bures(a, b) if inner == "gaussian" else divergence(a.detach(), b.detach()).item()
    return out + out.T if x is y else out


def bures(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """W² of two Gaussians from torch.cov (divided by n − 1) and matrix roots; needs more samples than dimensions."""
    a, b = torch.cov(x.T), torch.cov(y.T)
    middle = root(a)
    cross = root(middle @ b @ middle)
    return (x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace() - 2 * cross.trace()


def root(matrix: torch.Tensor) -> torch.Tensor:
    """The symmetric square root, by eigenvalues."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ torch.diag(values.sqrt()) @ vectors.T


def plain_otdd(
    source: torch.Tensor,
    source_labels: torch.Tensor,
    target: torch.Tensor,
    target_labels: torch.Tensor,
    inner: str = "sinkhorn",
) -> torch.Tensor:
    """The distance, a scalar; labels are 0 … K − 1. The gradient in `target` is geomloss' own."""
    k = int(source_labels.max()) + 1
    between = torch.zeros(2 * [k + int(target_labels.max()) + 1], dtype=source.dtype)
    between[:k, :k] = label_distances(source, source_labels, source, source_labels, inner)
    between[k:, k:] = label_distances(target, target_labels, target, target_labels, inner)
    across = label_distances(source, source_labels, target, target_labels, inner)
    between[:k, k:], between[k:, :k] = across, across.T

    def cost(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        rows, columns = x[0, :, -1].long(), y[0, :, -1].long()
        return squared(x[..., :-1], y[..., :-1]) / 2 + between[rows][:, columns] / 2

    outer = SamplesLoss("sinkhorn", p=2, cost=cost, debias=True, blur=BLUR, scaling=0.5, backend="tensorized")
    labelled_source = torch.cat([source, source_labels[:, None].to(source.dtype)], 1)
    labelled_target = torch.cat([target, (target_labels + k)[:, None].to(source.dtype)], 1)
    return outer(labelled_source, labelled_target)


def labelled_clouds(
    n: int, m: int, dim: int, source_classes: int = 10, target_classes: int = 1, spread: float = 0.5, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gaussian classes: source points (n, dim) and labels, target points (m, dim) and labels; every class has points."""
    g = torch.Generator().manual_seed(seed)
    source_labels, target_labels = torch.arange(n) % source_classes, torch.arange(m) % target_classes
    centres = 0.5 * torch.randn(source_classes, dim, generator=g)
    source = centres[source_labels] + spread * torch.randn(n, dim, generator=g)
    shift = 0.4 * torch.randn(target_classes, dim, generator=g) + 0.3
    target = shift[target_labels] + 1.4 * spread * torch.randn(m, dim, generator=g)
    return source, source_labels, target, target_labels
