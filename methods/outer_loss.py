"""MoNA's outer loss: alignment and uniformity of labelled points on the unit sphere (Wang and Isola, ICML 2020).

Both terms are minimised with a plus: alignment draws points of one class together, uniformity spreads all points.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from methods.contract import MethodError


def pooled(features: torch.Tensor) -> torch.Tensor:
    """z (B, d): the mean over tokens of (B, N, d), on the unit sphere, in float32 at least."""
    return F.normalize(features.mean(1, dtype=torch.promote_types(features.dtype, torch.float32)), dim=1)


def align_and_uniform(z: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """L_align = E ‖z_i − z_j‖² over pairs of one class, L_uniform = log E exp(−2‖z_i − z_j‖²) over all pairs, i ≠ j.

    `z` is (B, d) of unit norm, `labels` (B,). Without a pair of one class L_align is 0 and has no gradient. Raises
    `MethodError` for fewer than two points, which make no pair at all.
    """
    count = len(z)
    if count < 2:
        raise MethodError(
            f"the outer loss needs at least two source samples in a batch, got {count}; raise source_batch"
        )
    # From differences: 2 − 2⟨z_i, z_j⟩ would have the rounding of bfloat16 and TF32 products, and cancel for near points.
    squared = (z[:, None] - z).square().sum(2)
    others = ~torch.eye(count, dtype=torch.bool, device=z.device)
    pairs = (labels[:, None] == labels) & others
    align = (squared * pairs).sum() / pairs.sum().clamp_min(1)
    # The diagonal leaves the sum through −∞ and not through indexing, which would wait for the device.
    exponent = (-2 * squared).masked_fill(~others, float("-inf"))
    uniform = exponent.flatten().logsumexp(0) - squared.new_full((), count * (count - 1)).log()
    return align, uniform
