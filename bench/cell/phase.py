"""A phase of training: what moves, by which gradients, how long and how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from bench.cell.steps import Gradient
from bench.settings import TrainerSettings

ADAM_EPSILON = 1e-8
"""torch's default, which no recipe changes."""
FUSED = ("cuda", "cpu")
"""Devices whose optimisers run as one kernel for all parameters: on a CPU three to four times as fast, and equal to rounding."""


@dataclass(frozen=True)
class Phase:
    """One call of the training loop; `methods.contract.Context.fit` says what its fields mean to a method."""

    name: str
    stage: Literal["stage1", "stage2"]
    parameters: Iterable[nn.Parameter]
    """What it moves; everything else stays frozen."""
    gradient: Gradient
    epochs: int
    rate: Callable[[float], float]
    """The learning rate at a fractional epoch."""
    epoch_batches: Callable[[int], Iterator[Any]] | None = None
    coupled: bool = False
    """Samples of a batch meet in the loss: it may not be cut where memory runs out."""
    after_epoch: Callable[[int, dict[str, Any]], None] | None = None
    """Called with the number of whole epochs and the epoch's row of the curves, to which it may add."""


def optimizer_for(settings: TrainerSettings, parameters: list[nn.Parameter], lr: float) -> torch.optim.Optimizer:
    """The settings' optimiser; fused where the device has a fused kernel."""
    common: dict[str, Any] = {"lr": lr, "weight_decay": settings.weight_decay}
    if parameters[0].device.type in FUSED:
        common["fused"] = True
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, betas=(settings.beta1, settings.beta2), **common)


def first_step(settings: TrainerSettings, slopes: Iterable[torch.Tensor]) -> torch.Tensor:
    """‖Δθ‖ of the first step that `optimizer_for` takes along gradients at the full rate, weight decay aside.

    Adam's moments are then g and g² themselves: lr · ‖g / (|g| + ε)‖, nearly lr·√n over n weights. SGD: lr · ‖g‖.
    """
    if settings.optimizer != "sgd":
        slopes = (g / (g.abs() + ADAM_EPSILON) for g in slopes)
    return settings.lr * torch.stack([g.norm() for g in slopes]).norm()


def warmup_decay(epoch: float, warmup: float, decay: float | None) -> float:
    """Factor of the learning rate at a fractional epoch: linear from 0 to 1 over `warmup`, then linearly to 0 at `decay`."""
    if epoch < warmup:
        return epoch / warmup
    if decay is None:
        return 1.0
    return max(0.0, (decay - epoch) / max(decay - warmup, 1e-12))
