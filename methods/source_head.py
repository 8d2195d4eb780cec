"""A linear head for the classes of the source data, which no backbone brings for both modalities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from methods.contract import Context

if TYPE_CHECKING:
    from torch import nn


def new_source_head(context: Context) -> nn.Linear:
    """h_s: token means of f's features (B, d) -> logits (B, K) of the source's classes, as torch initialises it."""
    import numpy as np
    import torch
    from torch import nn

    with torch.no_grad():
        width = context.model.encoder(context.source.tokens(np.arange(1))).shape[-1]
    return nn.Linear(width, int(context.source.labels.max()) + 1)
