"""Where memory runs out: the same work in smaller pieces, or the reason why there are none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from bench.cell.steps import Gradient, Group, accumulate
from methods.contract import TorchBatch

T = TypeVar("T")
Share = Callable[[TorchBatch, TorchBatch], float]


class OutOfMemory(RuntimeError):
    """Memory ran out in work that cannot be cut into pieces: why, and what to do."""


@dataclass
class Memory:
    """How a cell goes on where memory runs out: with half as many samples at once, for the rest of its life."""

    retry: bool
    """False: not at all."""
    retries: dict[str, int] = field(default_factory=dict)
    """What became smaller, and how many samples it takes at once now: the record's `retries`."""
    share: Share | None = None
    """The weight of a piece's loss in that of its batch; the default is that of a mean over samples."""

    def run(self, name: str, samples: int, work: Callable[[int], T]) -> T:
        """`work(size)` with all `samples` at once, or as few as it takes."""
        while True:
            size = min(self.retries.get(name, samples), samples)
            try:
                return work(size)
            except Exception as error:
                if not self.retry or size < 2 or not ran_out(error):
                    raise
            # Past the except clause, so that no traceback holds what has to be freed.
            self.retries[name] = math.ceil(size / 2)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def sparing(
        self, gradient: Gradient, moving: list[nn.Parameter], model: nn.Module, coupled: bool = False
    ) -> Gradient:
        """`gradient` of the same batch, in pieces once memory has run out: the same step but for rounding and dropout.

        Raises `OutOfMemory` where samples are coupled: a method's own batches, a loss that is `coupled`, and batch
        normalisation.
        """
        normed = any(isinstance(module, _BatchNorm) for module in model.modules())
        why = "batch normalisation" if normed else "the method's loss" if coupled else "the method's own batch"

        def in_pieces(batch: TorchBatch, size: int) -> dict[str, torch.Tensor]:
            group = pieces(batch, size, self.share or by_samples)
            logged = accumulate(group, moving, gradient)
            return {key: value * sum(weight for _, weight in group) for key, value in logged.items()}

        def spare(batch: Any) -> Any:
            if isinstance(batch, TorchBatch) and not (normed or coupled):
                return self.run("micro_batch", len(batch.x), lambda size: in_pieces(batch, size))
            try:
                return gradient(batch)
            except Exception as error:
                if not self.retry or not ran_out(error):
                    raise
                raise OutOfMemory(
                    f"out of memory, and {why} couples its samples: in pieces it would be another experiment. Ask for "
                    f"one with a smaller trainer.batch_size, or use a larger device ({error})"
                ) from error

        return spare


def pieces(batch: TorchBatch, size: int, share: Share) -> Group:
    """`batch` in pieces of `size` samples, each with the weight of its loss in that of the batch."""
    starts = range(0, len(batch.x), size)
    if len(starts) == 1:
        return [(batch, 1.0)]
    cut = [slice(start, start + size) for start in starts]
    parts = [TorchBatch(batch.x[c], batch.y[c], {k: v[c] for k, v in batch.extra.items()}) for c in cut]
    return [(part, share(part, batch)) for part in parts]


def by_samples(part: TorchBatch, whole: TorchBatch) -> float:
    """The weight of a part in a mean over samples."""
    return len(part.x) / len(whole.x)


def ran_out(error: BaseException) -> bool:
    """Whether an exception says that host or device have no memory left."""
    text = str(error).lower()
    exhausted = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return exhausted or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)
    )
