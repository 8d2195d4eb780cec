"""OTDD as the public code computes it, nothing cached: geomloss for every label pair and for the whole, by autograd.

The reference of equivalence tests and of the benchmark. It differs from the public code in one thing: the annealing
starts at the diameter of the features, where the public code's also counts the column of label numbers.
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


def label_distances(x: torch.Tensor, labels_x: torch.Tensor, y: torch.Tensor, labels_y: torch.Tensor) -> torch.Tensor:
    """(K_x, K_y) of the debiased Sinkhorn divergence between classes, cost ‖x − y‖²; zero between a class and itself."""
    divergence = SamplesLoss("sinkhorn", p=2, cost=squared, debias=True, blur=BLUR, backend="tensorized")
    out = torch.zeros(int(labels_x.max()) + 1, int(labels_y.max()) + 1, dtype=x.dtype)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            if x is not y or j < i:
                out[i, j] = divergence(x[labels_x == i], y[labels_y == j]).item()
    return out + out.T if x is y else out


def plain_otdd(
    source: torch.Tensor, source_labels: torch.Tensor, target: torch.Tensor, target_labels: torch.Tensor
) -> torch.Tensor:
    """The distance, a scalar; labels are 0 … K − 1. The gradient in `target` is geomloss' own."""
    fixed = target.detach()
    k = int(source_labels.max()) + 1
    between = torch.zeros(2 * [k + int(target_labels.max()) + 1], dtype=source.dtype)
    between[:k, :k] = label_distances(source, source_labels, source, source_labels)
    between[k:, k:] = label_distances(fixed, target_labels, fixed, target_labels)
    between[:k, k:] = label_distances(source, source_labels, fixed, target_labels)
    between[k:, :k] = between[:k, k:].T

    def cost(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        rows, columns = x[0, :, -1].long(), y[0, :, -1].long()
        return squared(x[..., :-1], y[..., :-1]) / 2 + between[rows][:, columns] / 2

    both = torch.cat([source, fixed])
    width = float((both.amax(0) - both.amin(0)).norm())
    outer = SamplesLoss(
        "sinkhorn", p=2, cost=cost, debias=True, blur=BLUR, scaling=0.5, diameter=width, backend="tensorized"
    )
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
