"""What a cell lends its method: the implementation of `methods.contract.Context`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from bench.cell.batches import Loader, rng, torch_seed
from bench.cell.memory import Memory
from bench.cell.trainer import Trainer
from bench.settings import Settings
from methods.contract import MethodError, Source, TorchBatch
from tasks.contract import Data, Split

CLUSTERS = 10
"""Pseudo-classes of a dense, multi-label or regression target (k-means on the flattened targets), as ORCA has it."""
WHOLE_TARGETS = 256 << 20
"""Targets up to so many bytes are clustered at once; larger ones in batches, so that they are never in memory whole."""


class CellContext:
    """One cell's model, data, loss and loop, as its method sees them."""

    def __init__(
        self, model: nn.Module, data: Data, train: Loader, source: Source | None, settings: Settings, seed: int,
        loss: Callable[[torch.Tensor, torch.Tensor, Mapping[str, torch.Tensor]], torch.Tensor],
        trainer: Trainer, device: torch.device, precision: str,
    ):  # fmt: skip
        self.model: Any = model
        self.device = device
        self.stage1 = settings.stage1
        self.lr = settings.trainer.lr
        self.batch_size = settings.trainer.batch_size
        self.train_size, self.val_size = len(train), 0 if data.val is None else len(data.val)
        self._data, self._train, self._source, self._seed = data, train, source, seed
        self._loss, self._trainer, self._precision = loss, trainer, precision
        self.memory = trainer.memory if trainer is not None else Memory(retry=False)
        self._decode: tuple[torch.Tensor, torch.Tensor] | None = None
        if data.decode is not None:
            shift, scale = (torch.as_tensor(np.asarray(a), dtype=torch.float32, device=device) for a in data.decode)
            self._decode = (shift, scale)
        self._labels: np.ndarray | None = None
        self._val: Loader | None = None

    @property
    def source(self) -> Source:
        """The labelled source data; MethodError if the cell was built without any."""
        if self._source is None:
            raise MethodError("this method reads source data: set `needs_source = True` in its class")
        return self._source

    def labels(self) -> np.ndarray:
        """(n,) class labels of the training split, or k-means clusters of its targets."""
        if self._labels is None:
            split = self._data.train
            self._labels = split.labels if split.labels is not None else cluster_targets(split, self._seed)
        return self._labels

    def batch(self, index: np.ndarray) -> TorchBatch:
        """Training samples at `index`, augmented by a seed that depends on the indices alone."""
        seed = torch_seed(self._seed, "batch", *map(int, index[:4]), len(index))
        return self._train.get(np.asarray(index), seed)

    def plain(self, split: Literal["train", "val"], index: np.ndarray) -> TorchBatch:
        """Samples at `index` of training or validation, not augmented."""
        if split == "val" and self._val is None:
            if self._data.val is None:
                raise MethodError("there is no validation split under this protocol: val_size is 0")
            self._val = Loader(self._data.val, self.device)
        loader = self._train if split == "train" else self._val
        assert loader is not None
        return loader.get(np.asarray(index), None)

    def raw(self, target: torch.Tensor) -> torch.Tensor:
        """A target in the units of the model's raw output: the inverse of `physical`."""
        return target if self._decode is None else (target - self._decode[0]) / self._decode[1]

    def physical(self, output: torch.Tensor) -> torch.Tensor:
        """The model's raw output in the units of the target."""
        return output if self._decode is None else output * self._decode[1] + self._decode[0]

    def loss(self, output: torch.Tensor, batch: TorchBatch) -> torch.Tensor:
        """The task's loss of a raw output, in float32 whatever the precision of the model."""
        return self._loss(self.physical(output.float()), batch.y, batch.extra)

    def rng(self, name: str) -> np.random.Generator:
        """A generator of its own for `name`."""
        return rng(self._seed, "method", name)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """The cell's precision for a forward pass."""
        if self._precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def fit(
        self, name: str, parameters: Iterable[nn.Parameter], gradient: Callable[[Any], Mapping[str, torch.Tensor]], *,
        epochs: int, lr: float, lr_at: Callable[[int], float] | None = None,
        epoch_batches: Callable[[int], Iterator[Any]] | None = None, coupled: bool = False,
    ) -> None:  # fmt: skip
        """Stage 1's loop; see `methods.contract.Context.fit`."""

        def factor(epoch: float) -> float:
            return 1.0 if lr_at is None else lr_at(int(epoch))

        self._trainer.fit(
            name,
            parameters,
            gradient,
            stage="stage1",
            epochs=epochs,
            lr=lr,
            lr_at=factor,
            epoch_batches=epoch_batches,
            coupled=coupled,
        )

    def solve(self, name: str, work: Callable[[], Mapping[str, float]]) -> None:
        """A stage 1 without steps; see `methods.contract.Context.solve`."""
        self._trainer.solve(name, work)


def cluster_targets(split: Split, seed: int) -> np.ndarray:
    """(n,) k-means clusters of the flattened targets of a split, deterministic in `seed`.

    Targets above `WHOLE_TARGETS` bytes are read in batches by mini-batch k-means.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    def targets(index: np.ndarray) -> np.ndarray:
        y = split.batch(index, None).y
        return np.ascontiguousarray(y.reshape(len(y), -1), dtype=np.float32)

    n = len(split)
    k = min(CLUSTERS, n)
    size = targets(np.arange(1)).nbytes * n
    if size <= WHOLE_TARGETS and n <= 10_000:
        return KMeans(k, n_init=4, random_state=seed).fit_predict(targets(np.arange(n))).astype(np.int64)
    rows = max(k, min(1024, WHOLE_TARGETS // max(1, size // n)))
    chunks = [np.arange(i, min(i + rows, n)) for i in range(0, n, rows)]
    if len(chunks) > 1 and len(chunks[-1]) < k:
        chunks[-2:] = [np.concatenate(chunks[-2:])]
    model = MiniBatchKMeans(k, n_init=4, random_state=seed)
    for chunk in chunks:
        model.partial_fit(targets(chunk))
    return np.concatenate([model.predict(targets(c)) for c in chunks]).astype(np.int64)
