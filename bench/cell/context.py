"""What a cell lends its method: the implementation of `methods.contract.Context`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from bench import machine
from bench.analysis.target import CLUSTERS, cluster_targets
from bench.cell.batches import Loader, rng, torch_seed
from bench.cell.build import Built
from bench.cell.phase import Phase, first_step
from bench.cell.run import Run
from bench.cell.trainer import Trainer
from bench.models.target import compiled
from bench.reckoned import REPAYING_STEPS
from bench.settings import TrainerSettings
from methods.contract import MethodError, Position, Source, TorchBatch
from tasks.contract import Data
from tasks.losses import LOSSES


def compiles(settings: TrainerSettings, device: torch.device, steps: int) -> bool:
    """Whether a phase of so many steps runs compiled."""
    if settings.compile != "auto":
        return settings.compile == "on"
    return device.type == "cuda" and steps >= REPAYING_STEPS


class CellContext:
    """One cell's model, data, loss and loop, as its method sees them."""

    def __init__(self, run: Run, data: Data, built: Built):
        self.run, self.data, self.built = run, data, built
        self.model: Any = built.model
        self._forward = self.model
        self.device = run.device
        self.stage1 = run.config.stage1
        self.lr = run.config.trainer.lr
        self.batch_size = run.config.trainer.batch_size
        self.train = Loader(data.train, run.device)
        self.train_size, self.val_size = len(self.train), 0 if data.val is None else len(data.val)
        self._seed, self._loss = run.cell.seed, LOSSES[run.loss]
        self._trainer: Trainer | None = None
        self._decode: tuple[torch.Tensor, torch.Tensor] | None = None
        if data.decode is not None:
            shift, scale = (torch.as_tensor(np.asarray(a), dtype=torch.float32, device=run.device) for a in data.decode)
            self._decode = (shift, scale)
        self._labels: np.ndarray | None = None
        self._val: Loader | None = None

    def begin(self, trainer: Trainer) -> None:
        """Training may begin, or go on."""
        self._trainer = trainer

    @property
    def trainer(self) -> Trainer:
        """What trains the model; MethodError before `begin`."""
        if self._trainer is None:
            raise MethodError("nothing is trained before the model is whole: call `context.fit` in `align`")
        return self._trainer

    @property
    def position(self) -> Position:
        """Where the phase under way is."""
        return self.trainer.position

    @property
    def source(self) -> Source:
        """The labelled source data; MethodError if the cell was built without any."""
        if self.built.source is None:
            raise MethodError("this method reads source data: set `needs_source = True` in its class")
        return self.built.source

    def labels(self) -> np.ndarray:
        """(n,) class labels of the training split, or k-means clusters of its targets."""
        if self._labels is None:
            split = self.data.train
            found = split.labels
            self._labels = (
                cluster_targets(split, np.arange(len(split)), CLUSTERS, self._seed) if found is None else found
            )
        return self._labels

    def batch(self, index: np.ndarray) -> TorchBatch:
        """Training samples at `index`, augmented by a seed that depends on the indices alone."""
        seed = torch_seed(self._seed, "batch", *map(int, index[:4]), len(index))
        return self.train.get(np.asarray(index), seed)

    def plain(self, split: Literal["train", "val"], index: np.ndarray) -> TorchBatch:
        """Samples at `index` of training or validation, not augmented."""
        if split == "val" and self._val is None:
            if self.data.val is None:
                raise MethodError("there is no validation split under this protocol: val_size is 0")
            self._val = Loader(self.data.val, self.device)
        loader = self.train if split == "train" else self._val
        assert loader is not None
        return loader.get(np.asarray(index), None)

    def upload(self, array: np.ndarray) -> torch.Tensor:
        """A small array on the device, without a wait."""
        return machine.upload(array, self.device)

    def raw(self, target: torch.Tensor) -> torch.Tensor:
        """A target in the units of the model's raw output: the inverse of `physical`."""
        return target if self._decode is None else (target - self._decode[0]) / self._decode[1]

    def physical(self, output: torch.Tensor) -> torch.Tensor:
        """The model's raw output in the units of the target."""
        return output if self._decode is None else output * self._decode[1] + self._decode[0]

    def loss(self, output: torch.Tensor, batch: TorchBatch) -> torch.Tensor:
        """The task's loss of a raw output, in float32 whatever the precision of the model."""
        return self._loss(self.physical(output.float()), batch.y, batch.extra)

    def step_length(self, slopes: Iterable[torch.Tensor]) -> torch.Tensor:
        """The length of stage 2's first step along these gradients."""
        return first_step(self.run.config.trainer, slopes)

    def rng(self, name: str) -> np.random.Generator:
        """A generator of its own for `name`."""
        return rng(self._seed, "method", name)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The cell's precision for a forward pass."""
        if self.trainer.state.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The model's output for a batch, in the cell's precision."""
        with self.autocast():
            return self._forward(x)

    def compile_for(self, steps: int) -> None:
        """From now on, `forward` is compiled if so many planned steps repay it, and else the model itself.

        By what is planned and not by what is left, so that a resume decides the same.
        """
        fast = compiles(self.run.config.trainer, self.device, steps)
        self._forward = compiled(self.model, self.device) if fast else self.model

    def fit(
        self, name: str, parameters: Iterable[nn.Parameter], gradient: Callable[[Any], Mapping[str, torch.Tensor]], *,
        epochs: int, lr: float | Callable[[int], float], epoch_batches: Callable[[int], Iterator[Any]] | None = None,
    ) -> None:  # fmt: skip
        """Stage 1's loop; see `methods.contract.Context.fit`."""

        def rate(epoch: float) -> float:
            return lr(int(epoch)) if callable(lr) else lr

        self.compile_for(epochs * self.trainer.steps.per_epoch if epoch_batches is None else 0)
        coupled = "stage1" in self.run.config.method.couples
        self.trainer.fit(Phase(name, "stage1", parameters, gradient, epochs, rate, epoch_batches, coupled))

    def solve(self, name: str, work: Callable[[], Mapping[str, float]]) -> None:
        """A stage 1 without steps; see `methods.contract.Context.solve`."""
        self.trainer.solve(name, work)
