"""Ridge regression on the raw input, in closed form: a linear map that no method should lose to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from methods.contract import Context, Method, MethodError, TargetModel, TorchBatch, option

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from methods.closed_form import AffineMap, Path

BLOCK = 4 << 20
"""Numbers of inputs or targets that are read at once."""
FEWEST = 32
"""Training samples, or all there are: with fewer in memory the fit would tell of the memory and not of the task."""


@dataclass(frozen=True)
class Ridge(Method):
    """min_W Σ ‖W x + b − t‖² + λ ‖W‖² over the whole input x at once; no backbone, no gradient steps, no stage 2.

    t is the target in the units of the model's output. Classes are one-vs-rest, and they, labels and masks of 0 and 1
    become −1 and 1, so that a positive output says yes. What `ignore` marks counts as the mean. λ is a strength times the
    mean eigenvalue of the inputs' covariance, and of `strengths` that with the least error on validation is taken: the task's
    loss for fields, the squared error for the others. `paper` has no validation split: there a fifth of the training
    samples chooses, and the map is then fitted to all. The decomposed matrix has `largest` rows at most, in samples or
    in inputs, whichever are fewer; where both are more, and where `memory` is less, a random part of the samples is
    used. How many, and the strength, are in the record's curves of stage 1.

    No paper is followed: the grid, both limits and the choice are this project's.
    """

    name = "ridge"
    title = "Ridge regression on the raw input"
    citation = "Hoerl and Kennard, Ridge Regression: Biased Estimation for Nonorthogonal Problems, Technometrics 1970"
    pretrained = False

    strengths: tuple[float, ...] = option(
        (1e-10, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0), "λ over the mean eigenvalue: what is tried"
    )
    largest: int = option(4096, "rows of the decomposed matrix at most")
    memory: float = option(2.0, "GiB that the fit may take")

    def build(self, kind: str, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> nn.Module:
        """The map, not fitted yet. Raises `MethodError` where too few samples fit into `memory`."""
        from methods.closed_form import AffineMap

        self._most(math.prod(input_shape), math.prod(output_shape), FEWEST)
        return AffineMap(kind, output_shape)

    def align(self, context: Context) -> None:
        """Fit by the training split, choose the strength by validation."""
        context.solve("ridge", lambda: self._fit(context))

    def stage1_cost(self, stage1: Any, batch_size: int, samples: int) -> tuple[float, float]:
        """Seconds, where an epoch of stage 2 takes minutes."""
        return 0.0, 0.0

    def trainable(self, model: TargetModel) -> Iterable[nn.Parameter]:
        """Nothing: there is no stage 2."""
        return ()

    def check(self) -> None:
        """Refuse strengths that are not positive, and limits that nothing fits in."""
        if not self.strengths or min(self.strengths) <= 0:
            raise MethodError(f"ridge: strengths={self.strengths}, expected one or more positive numbers")
        if self.largest < 1 or self.memory <= 0:
            raise MethodError(f"ridge: largest={self.largest}, memory={self.memory}, expected positive numbers")

    def _fit(self, context: Context) -> Mapping[str, float]:
        import numpy as np

        from methods.closed_form import decompose

        model: AffineMap = context.model  # type: ignore[assignment]  # what `build` returned
        first = context.plain("train", np.arange(1))
        sizes = math.prod(first.x.shape[1:]), math.prod(model.output_shape)
        rows = np.sort(context.rng("ridge").permutation(context.train_size)[: self._most(*sizes, context.train_size)])
        reader = Reader.of(context, model, rows, max(1, BLOCK // max(sizes)))
        if context.val_size:
            path = decompose(lambda: reader.blocks(rows))
            strength, error = self._choose(reader, path, "val", np.arange(context.val_size))
        else:
            held = context.rng("ridge-held").permutation(len(rows)) < len(rows) // 5
            part = decompose(lambda: reader.blocks(rows[~held]))
            strength, error = self._choose(reader, part, "train", rows[held])
            path = decompose(lambda: reader.blocks(rows))
        model.set(path, strength)
        return {"loss": error, "strength": strength, "samples": len(rows)}

    def _choose(
        self, reader: Reader, path: Path, split: Literal["train", "val"], rows: np.ndarray
    ) -> tuple[float, float]:
        """(strength, error) of the least error on `rows` of a split, the larger strength of equal ones."""
        errors = {}
        for strength in sorted(self.strengths, reverse=True):
            reader.model.set(path, strength)
            total = sum(reader.error(batch) * len(batch.x) for batch in reader.walk(split, rows))
            errors[strength] = total / len(rows)
        best = min(errors, key=lambda strength: errors[strength])
        return best, errors[best]

    def _most(self, inputs: int, outputs: int, samples: int) -> int:
        """How many of `samples` are used."""
        from methods.closed_form import memory

        wanted = used = samples if inputs <= self.largest else min(samples, self.largest)
        limit = self.memory * 2**30
        while used > 1 and memory(used, inputs, outputs) > limit:
            used = used * 9 // 10
        if used < min(wanted, FEWEST):
            raise MethodError(
                f"ridge: {inputs} inputs and {outputs} outputs, of which {self.memory:g} GiB hold {used} samples; expected "
                f"{FEWEST} at least. Raise method.memory, or leave this task out"
            )
        return used


@dataclass(frozen=True)
class Reader:
    """The samples as the regression has them."""

    context: Context
    model: AffineMap
    size: int
    """Samples per block."""
    binary: bool
    """Labels or a mask: all targets are 0 or 1."""

    @classmethod
    def of(cls, context: Context, model: AffineMap, rows: np.ndarray, size: int) -> Reader:
        """A reader of blocks of `size`, which looks at the first ones to tell a mask from a field."""
        reader = cls(context, model, size, False)
        first = next(reader.walk("train", rows))
        dense = model.kind == "dense"
        binary = not dense or bool(((first.y == 0) | (first.y == 1)).all())
        return cls(context, model, size, binary)

    def walk(self, split: Literal["train", "val"], rows: np.ndarray) -> Iterator[TorchBatch]:
        """The samples at `rows`, block by block."""
        for start in range(0, len(rows), self.size):
            yield self.context.plain(split, rows[start : start + self.size])

    def blocks(self, rows: np.ndarray) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Training inputs (B, p) and targets (B, k), NaN where they are to be ignored."""
        for batch in self.walk("train", rows):
            yield batch.x.flatten(1).double(), self._target(batch).flatten(1)

    def error(self, batch: TorchBatch) -> float:
        """The error of the map as it is set, a mean over the batch."""
        import torch

        with torch.no_grad():
            output = self.model(batch.x)
            if self.model.kind == "dense" and not self.binary:
                return float(self.context.loss(output, batch))
            return float((output - self._target(batch)).square().nanmean())

    def _target(self, batch: TorchBatch) -> torch.Tensor:
        import torch
        from torch.nn.functional import one_hot

        if self.model.kind == "classes":
            return 2.0 * one_hot(batch.y, self.model.output_shape[0]).double() - 1.0
        target = 2.0 * batch.y.double() - 1.0 if self.binary else self.context.raw(batch.y.double())
        if "ignore" in batch.extra:
            return target.masked_fill(batch.extra["ignore"].bool(), torch.nan)
        return target
