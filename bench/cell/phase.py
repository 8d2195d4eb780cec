"""A phase of training: what moves, by which gradients, how fast; and how long: by epochs, or within a budget of both stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from bench.cell.steps import Gradient
from bench.settings import TrainerSettings
from methods.contract import MethodError

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
    enough: Callable[[], bool] | None = None
    """Asked before every epoch whether the phase is to end though its length is not over; a resume asks again."""


@dataclass(frozen=True)
class Span:
    """The length of a phase, and where in it a run is.

    Under a budget the learning-rate schedule is stretched or squeezed to what the budget leaves, so that an arm with a
    long stage 1 still ends its decay where a plain one does.
    """

    epochs: int
    """Nominal length, on which the schedule is defined."""
    steps: int | None = None
    """Optimiser steps of this phase, if the budget is in steps."""
    seconds: float | None = None
    """Seconds of this phase, if the budget is in seconds."""

    def position(self, epoch: float, steps: int, seconds: float) -> float:
        """Where the schedule is, in epochs: `epoch` itself, or the part of the budget that is used times `epochs`."""
        if self.steps is not None:
            return self.epochs * steps / self.steps
        if self.seconds is not None:
            return self.epochs * min(1.0, seconds / self.seconds)
        return epoch

    def over(self, epoch: int, steps: int, seconds: float) -> bool:
        """Whether the phase has ended, after whole `epoch`s, `steps` and `seconds` of its own."""
        if self.steps is not None:
            return steps >= self.steps
        if self.seconds is not None:
            return seconds >= self.seconds
        return epoch >= self.epochs

    def within(self, budget_steps: int | None, budget_seconds: float | None, steps: int, seconds: float) -> Span:
        """The same in what a budget leaves after `steps` and `seconds` of stage 1; MethodError if that is nothing."""
        cure = "raise --budget or shorten stage 1"
        if budget_steps is not None:
            if steps >= budget_steps:
                raise MethodError(f"stage 1 took {steps} steps, the whole budget of {budget_steps}: {cure}")
            return Span(self.epochs, steps=budget_steps - steps)
        if budget_seconds is not None:
            if seconds >= budget_seconds:
                took = f"{seconds:.1f} s, the whole budget of {budget_seconds:.1f} s"
                raise MethodError(f"stage 1 took {took}: {cure}")
            return Span(self.epochs, seconds=budget_seconds - seconds)
        return self


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
