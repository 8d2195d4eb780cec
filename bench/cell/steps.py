"""How an epoch is cut into optimiser steps, and how the micro-batches of a step become one gradient."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from bench.errors import UsageError
from bench.settings import TrainerSettings

Gradient = Callable[[Any], Mapping[str, torch.Tensor]]
Group = list[tuple[Any, float]]
"""The micro-batches of one optimiser step, each with the weight of its gradient in the step."""


@dataclass(frozen=True)
class Steps:
    """The optimiser steps of an epoch.

    By default a step is the mean over its samples, and the last one of an epoch may have fewer. `published` is what
    ORCA's code does: losses are summed over micro-batches, the gradient so far is clipped after each, the schedule
    advances with each, and the micro-batches left over at the end of an epoch are thrown away.
    """

    samples: int
    """Training samples."""
    batch: int
    """Samples per micro-batch."""
    each: int
    """Micro-batches per step."""
    published: bool = False

    @classmethod
    def of(cls, settings: TrainerSettings, samples: int) -> Steps:
        """As the settings have it; UsageError where the published way would never step."""
        published = settings.accumulate == "published_sum"
        steps = cls(samples, settings.batch_size, settings.accumulation, published)
        if published and not steps.per_epoch:
            raise UsageError(
                f"{samples} training samples make {steps.micros} micro-batches of {steps.batch}, and published code "
                f"steps after {steps.each}: it would never step. Lower trainer.accumulation, or set "
                "trainer.accumulate=mean"
            )
        return steps

    @property
    def micros(self) -> int:
        """Micro-batches that an epoch's samples make."""
        return math.ceil(self.samples / self.batch)

    @property
    def per_epoch(self) -> int:
        """Optimiser steps of an epoch."""
        return self.micros // self.each if self.published else math.ceil(self.micros / self.each)

    def elapsed(self, done: int) -> float:
        """The part of an epoch after which its next step stands in the schedule, `done` steps being over.

        Published code advances the schedule with every micro-batch, so that a step has the rate of its last one.
        """
        return ((done + 1) * self.each - 1) / self.micros if self.published else done / self.per_epoch

    def cut(self, indices: np.ndarray) -> list[list[np.ndarray]]:
        """The micro-batches of every step of an epoch, for its shuffled sample numbers."""
        micros = [indices[i : i + self.batch] for i in range(0, len(indices), self.batch)]
        return [micros[i : i + self.each] for i in range(0, self.per_epoch * self.each, self.each)]

    def weights(self, micros: list[np.ndarray]) -> list[float]:
        """What the mean gradient of each of a step's micro-batches counts."""
        return [1.0 if self.published else len(m) / sum(map(len, micros)) for m in micros]


def accumulate(
    group: Group, moving: list[nn.Parameter], gradient: Gradient, clip_between: float | None = None
) -> dict[str, torch.Tensor]:
    """Leave the gradient of one optimiser step in `.grad`: the weighted sum over its micro-batches.

    `clip_between` cuts the norm of what is summed so far after each of them. Returns the logged scalars in float64,
    averaged by the weights.
    """
    logged: dict[str, torch.Tensor] = {}
    total: dict[int, torch.Tensor] = {}
    weights = sum(weight for _, weight in group)
    for batch, weight in group:
        for parameter in moving:
            parameter.grad = None
        for key, value in gradient(batch).items():
            scaled = value.detach().double() * (weight / weights)
            logged[key] = logged[key] + scaled if key in logged else scaled
        if len(group) == 1:
            return logged
        _add(total, {k: p.grad for k, p in enumerate(moving) if p.grad is not None}, weight)
        for k, parameter in enumerate(moving):
            parameter.grad = total.get(k)
        if clip_between is not None:
            nn.utils.clip_grad_norm_(moving, clip_between)
    return logged


@torch.no_grad()
def _add(total: dict[int, torch.Tensor], part: dict[int, torch.Tensor], weight: float) -> None:
    """Add `part` times `weight` to `total`, which need not have all of it yet, in two kernels on a GPU and not two a tensor."""
    weighted = dict(zip(part, torch._foreach_mul([*part.values()], weight))) if part else {}
    old = [k for k in weighted if k in total]
    if old:
        torch._foreach_add_([total[k] for k in old], [weighted[k] for k in old])
    total.update((k, weighted[k]) for k in weighted if k not in total)
