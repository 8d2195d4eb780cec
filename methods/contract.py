"""What a method is: a frozen dataclass of hyperparameters with a few hooks, and the `Context` that it is given.

A method file defines one subclass of `Method`, found by its `name`. It imports no torch at module level and never
touches paths, devices, seeds, logging or the test set: those live behind the context. A method knows no task by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn


class MethodError(Exception):
    """A method that cannot run on what it was given: what was given, what is needed, what to do."""


class TargetModel(Protocol):
    """g = h ∘ f ∘ e, as methods see it."""

    embedder: nn.Module
    """e: raw input (B, C, *spatial) -> tokens (B, N, D)."""
    encoder: nn.Module
    """f: tokens (B, N, D) -> features (B, N', d). Starts from the pretrained weights."""
    predictor: nn.Module
    """h: features (B, N', d) -> output in label space."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor: ...


class Source(Protocol):
    """Labelled data of the backbone's own modality, behind the frozen source embedder e0 and source head h0."""

    labels: np.ndarray
    """(n,) int64."""
    classes: tuple[str, ...]

    def __len__(self) -> int: ...

    def tokens(self, index: np.ndarray) -> torch.Tensor:
        """e0(x) of the samples at `index`: (B, N, D) on the context's device, without gradient."""
        ...

    def features(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Token means of e0(x) for the first `count` samples of a seeded shuffle, with labels: (n, D) float32 and (n,).

        Cached on disk per (backbone, source data, count)."""
        ...

    def encoded(self, encoder: nn.Module, index: np.ndarray) -> torch.Tensor:
        """(n, d) float32 on the CPU: token means of `encoder`(e0(x)) at `index`, in evaluation mode, without gradient."""
        ...


@dataclass
class TorchBatch:
    """A batch on the device: `x` (B, C, *spatial), `y` labels or dense targets, `extra` side tensors."""

    x: torch.Tensor
    y: torch.Tensor
    extra: Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Position:
    """Where a phase of training is, over all attempts: a resumed run sees what an uninterrupted one sees."""

    epoch: int
    """Whole epochs that are over."""
    epochs: int
    """Planned epochs."""
    done: float
    """The part of the phase that is over, 0 to 1, step by step; under a budget, the part of the budget."""


class Context(Protocol):
    """Everything that one cell lends its method."""

    model: TargetModel
    source: Source
    stage1: Any
    """The task's published stage-1 settings (`bench.settings.Stage1Settings`): epochs, lr_scale, max_samples."""
    lr: float
    """The learning rate of stage 2."""
    batch_size: int
    device: torch.device
    train_size: int
    val_size: int
    """0 where there is no validation split (`paper`)."""

    @property
    def position(self) -> Position:
        """Where the phase under way is: for weights of a loss that change as training goes on."""
        ...

    def labels(self) -> np.ndarray:
        """(n,) class labels of the training split; k-means clusters (k = 10) of the targets where there are none."""
        ...

    def batch(self, index: np.ndarray) -> TorchBatch:
        """Training samples at `index`, on the device, augmented as in training."""
        ...

    def plain(self, split: Literal["train", "val"], index: np.ndarray) -> TorchBatch:
        """Samples at `index` of the training or the validation split, on the device, not augmented.

        Validation is there to choose by, as epochs of stage 2 are chosen, and never to fit on."""
        ...

    def upload(self, array: np.ndarray) -> torch.Tensor:
        """Labels or sample numbers of a step on the device: the one way up for which the host does not wait."""
        ...

    def loss(self, output: torch.Tensor, batch: TorchBatch) -> torch.Tensor:
        """The task's loss: a scalar, the mean over the batch."""
        ...

    def step_length(self, slopes: Iterable[torch.Tensor]) -> torch.Tensor:
        """The length of the first step that stage 2's optimiser would take along these gradients at its full rate."""
        ...

    def raw(self, target: torch.Tensor) -> torch.Tensor:
        """A dense target in the units of the model's own output, of which `loss` and scores make physical ones."""
        ...

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The model's output for a batch, in the cell's precision; within `fit`, compiled where its steps repay that.

        What is compiled has no second derivative: for one, call the parts of `model` under `autocast`."""
        ...

    def autocast(self) -> AbstractContextManager[Any]:
        """The cell's precision, for every pass through the model that a method makes; losses stay outside."""
        ...

    def rng(self, name: str) -> np.random.Generator:
        """A generator of its own for `name`, derived from the cell's seed: the same at every (re)start."""
        ...

    def fit(
        self,
        name: str,
        parameters: Iterable[nn.Parameter],
        gradient: Callable[[TorchBatch], Mapping[str, torch.Tensor]],
        *,
        epochs: int,
        lr: float | Callable[[int], float],
        epoch_batches: Callable[[int], Iterator[Any]] | None = None,
    ) -> None:
        """The trainer's loop over `parameters`, logged, checkpointed and resumable; everything else stays frozen.

        `gradient(batch)` leaves gradients in `.grad` of the parameters (usually by `loss.backward()`) and returns
        scalars to log, `loss` among them. `epoch_batches(epoch)` replaces the task's shuffled batches: each item it
        yields is handed to `gradient`, and one optimiser step follows each. `lr` may be a function of the epoch.
        A later call resumes where a killed one stopped; calls must come in the same order with the same names.
        """
        ...

    def solve(self, name: str, work: Callable[[], Mapping[str, float]]) -> None:
        """A stage 1 without steps: `work()` sets the model and returns scalars to log. After a kill it is done again."""
        ...


@dataclass(frozen=True)
class Method:
    """A way to transfer. Fields of a subclass are its hyperparameters, each `option(default, "one-line meaning")`."""

    name: ClassVar[str]
    title: ClassVar[str]
    citation: ClassVar[str]
    pretrained: ClassVar[bool] = True
    """False: the encoder starts from random weights."""
    needs_source: ClassVar[bool] = False
    couples: ClassVar[tuple[Literal["stage1", "stage2"], ...]] = ()
    """Stages in whose loss the samples of a batch meet, so that it may not be cut where memory runs out."""
    kinds: ClassVar[tuple[str, ...]] = ("classes", "multilabel", "dense")
    """Kinds of tasks that it is for. Others make no cell of it."""
    step_cost: ClassVar[float] = 1.0
    """What a step of stage 2 costs beside one on the task's loss alone. For time limits."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Named sets of hyperparameters, chosen with `--set method.preset=NAME`. A dotted name (`model.dense_head`) is a
    setting outside of the method."""

    def build(self, kind: str, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> nn.Module | None:
        """A model of the method's own, from raw input to output; None (the default): h ∘ f ∘ e of the backbone."""
        return None

    def prepare(self, context: Context) -> None:
        """Change the model before anything is trained: put adapters into its body, or give it modules of the method's own.

        A module set as an attribute of `context.model` is part of it: on its device, counted, checkpointed and resumed,
        and moved by stage 2 unless `trainable` leaves it out. Torch's own generator is seeded for this hook, so that
        weights drawn here are the same at every (re)start. Nothing can be trained yet. The default does nothing.
        """

    def align(self, context: Context) -> None:
        """Stage 1. The default does nothing."""

    def stage1_cost(self, stage1: Any, batch_size: int, samples: int) -> tuple[float, float]:
        """What `align` costs in epochs of stage 2: in their arithmetic, and in their kernel launches. For time limits.

        `samples` is the size of the training split, for what does not grow with it.

        By default the task's epochs of stage 1 in both, and nothing where `align` does nothing.
        """
        epochs = 0.0 if type(self).align is Method.align else float(stage1.epochs)
        return epochs, epochs

    def trainable(self, model: TargetModel) -> Iterable[nn.Parameter]:
        """The parameters that stage 2 moves; by default all of them. None: there is no stage 2."""
        return model.parameters()  # type: ignore[attr-defined]

    def loss(self, context: Context, output: torch.Tensor, batch: TorchBatch) -> torch.Tensor:
        """Stage 2's loss of one batch, a mean over its samples; by default the task's."""
        return context.loss(output, batch)

    def check(self) -> None:
        """Raise `MethodError` for hyperparameters that make no sense. The default accepts all."""


def option(default: Any, meaning: str) -> Any:
    """A hyperparameter of a method: its default and what it means in one line (shown by `describe`)."""
    from dataclasses import field

    return field(default=default, metadata={"help": meaning, "role": "identity"})
