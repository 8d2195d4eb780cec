"""Activation checkpointing of a body's blocks: what a block computed inside is dropped, and computed again backwards."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

ATTENTION = {
    SDPBackend.MATH: torch.backends.cuda.math_sdp_enabled,
    SDPBackend.FLASH_ATTENTION: torch.backends.cuda.flash_sdp_enabled,
    SDPBackend.EFFICIENT_ATTENTION: torch.backends.cuda.mem_efficient_sdp_enabled,
    SDPBackend.CUDNN_ATTENTION: torch.backends.cuda.cudnn_sdp_enabled,
}
"""Whether each attention backend may be chosen now; the switches hold on a CPU too."""


def recomputed(block: nn.Module, x: torch.Tensor) -> Any:
    """`block(x)` keeping x alone, with the weights and the attention backends of this call at the second pass too.

    Both have changed by then in a meta step: `functional_call` has put the module's own weights back, frozen and
    without the simulated step, and the math backend that a second derivative needs is left.
    """
    if torch.compiler.is_compiling():  # the compiler recomputes within its graph, from that graph's own weights
        return checkpoint(block, x, use_reentrant=False)
    weights = dict[str, torch.Tensor](block.named_parameters())
    attention = [backend for backend, allowed in ATTENTION.items() if allowed()]

    def call(x: torch.Tensor) -> Any:
        with sdpa_kernel(attention):
            return functional_call(block, weights, (x,))

    return checkpoint(call, x, use_reentrant=False)
