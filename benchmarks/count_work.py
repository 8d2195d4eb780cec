"""Counts what the published cells compute, into bench/counted.csv: python benchmarks/count_work.py (about ten minutes)

Each method runs on the real models of every task in bf16, on tensors without memory (torch's FakeTensorMode), so that a
CPU counts Swin-B at full batches in seconds. Counted are operations of matrix products and convolutions, by torch's own
formulas, and kernels: every operation that reaches a device but views and allocations. A fused kernel that a GPU has and
a CPU has not is counted in its parts; the optimiser, which is fused, and copies from the host are left out.

Of a phase of stage 1 one step is counted for all; where it reads source features or asks how far training is, three: the
first, which may make what the others keep, the second, and one of the last epoch. A transport between point clouds has a loop whose length depends on its data: one is counted on random points,
and stands for all. Data are zeros; where code asks the device for a number, it reads one.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import math
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench import plan, reckoned, registry
from bench.backbones import BACKBONES
from bench.models.source import SourceModel, load_source_model
from bench.models.target import build_target
from bench.plan import Cell
from bench.settings import Settings
from bench.sources.topics import WINDOW
from methods.contract import MethodError, Position, TorchBatch
from methods.transport import otdd
from tasks.contract import Task
from tasks.losses import LOSSES

CPU = torch.device("cpu")
SOURCE_SAMPLES, SOURCE_CLASSES = 5000, 10
ENCODED = 250
"""Source samples that go through a body at a time."""
FREE = {"prim::device", "aten::_unsafe_view", "aten::lift_fresh", "aten::is_same_size"}
"""Operations that launch nothing, beside views and allocations."""


@dataclass(frozen=True)
class Work:
    """What was counted: operations of matrix products, kernels, and transports between point clouds."""

    flop: float = 0.0
    launches: float = 0.0
    transports: float = 0.0
    """Not yet among both."""

    def __add__(self, other: Work) -> Work:
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other))))

    def __mul__(self, times: float) -> Work:
        return Work(*(a * times for a in astuple(self)))


class Counter(TorchDispatchMode):
    """Adds up what runs inside of it; reads of fake tensors by the host give one."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.name().split(".")[0]
        if name == "aten::_local_scalar_dense":
            return True if args[0].dtype == torch.bool else 1
        out = func(*args, **kwargs)
        if not (func.is_view or name in FREE or "empty" in name):
            flops = flop_registry.get(func._overloadpacket)
            self.work += Work(float(flops(*args, **kwargs, out_val=out)) if flops else 0.0, 1.0)
        return out


def count(run: Callable[[], Any]) -> Work:
    """The work of a call in bf16."""
    with Counter() as counter, torch.autocast("cpu", torch.bfloat16):
        run()
    return counter.work


class CountingSource:
    """Source data of the usual size, without values."""

    def __init__(self, body: SourceModel, add: Callable[[Work], None]):
        spec, self.add = body.spec, add
        tokens = (spec.image_size // spec.patch) ** 2 if spec.image_size and spec.patch else WINDOW
        self.shape = (tokens, spec.width)
        self.labels = np.arange(SOURCE_SAMPLES) % SOURCE_CLASSES
        self.classes = tuple(map(str, range(SOURCE_CLASSES)))

    def __len__(self) -> int:
        return SOURCE_SAMPLES

    def tokens(self, index: np.ndarray) -> torch.Tensor:
        """(B, N, D). The frozen embedder, a lookup or one convolution, is not counted."""
        return torch.zeros(len(index), *self.shape)

    def features(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, D) and (n,): kept on disk between cells, so not counted."""
        return torch.zeros(count, self.shape[1]), torch.zeros(count, dtype=torch.long)

    def encoded(self, encoder: nn.Module, index: np.ndarray) -> torch.Tensor:
        """(n, d), one batch counted for all."""
        found: list[torch.Tensor] = []
        with torch.no_grad():
            one = count(lambda: found.append(encoder(self.tokens(index[:ENCODED])).mean(1)))
        self.add(one * max(len(index) / ENCODED - 1, 0))
        return found[0][:1].expand(len(index), -1)


class CountingContext:
    """What a cell lends its method, without values; `fit` counts instead of training."""

    device = CPU
    val_size = 1

    def __init__(self, task: Task, config: Settings, model: nn.Module, body: SourceModel):
        self.task, self.model, self.config = task, model, config
        self.stage1, self.lr, self.batch_size = config.stage1, config.trainer.lr, config.trainer.batch_size
        self.train_size = task.splits["train"]
        self._position, self._asked = Position(0, config.trainer.epochs, 0.0), False
        self.stage1_work, self._within = Work(), Work()
        self.source = CountingSource(body, self.add)

    def add(self, work: Work) -> None:
        """Work that the step under way has beside what runs."""
        self._within += work

    @property
    def position(self) -> Position:
        """Where the step under way is."""
        self._asked = True
        return self._position

    def labels(self) -> np.ndarray:
        """(n,) labels, all classes alike in number; ten clusters where the task has no classes."""
        return np.arange(self.train_size) % (self.task.output_shape[0] if self.task.kind == "classes" else 10)

    def batch(self, index: np.ndarray) -> TorchBatch:
        """Zeros in the task's shapes."""
        n, shape = len(index), self.task.output_shape
        y = torch.zeros(n, dtype=torch.long) if self.task.kind == "classes" else torch.zeros(n, *shape)
        return TorchBatch(torch.zeros(n, *self.task.input_shape), y, {"ignore": torch.zeros_like(y)})

    def upload(self, array: np.ndarray) -> torch.Tensor:
        """Not counted."""
        return torch.from_numpy(array)

    def loss(self, output: torch.Tensor, batch: TorchBatch) -> torch.Tensor:
        """The task's."""
        return LOSSES[self.task.loss](output.float(), batch.y, batch.extra)

    def step_length(self, slopes: Iterable[torch.Tensor]) -> torch.Tensor:
        """The length of Adam's first step."""
        return torch.stack([(g / g.abs()).norm() for g in slopes]).norm()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Eager: a compiled pass does the same work."""
        return self.model(x)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """bf16, in which everything here is."""
        return contextlib.nullcontext()

    def rng(self, name: str) -> np.random.Generator:
        """Any."""
        return np.random.default_rng(0)

    def move_only(self, parameters: Iterable[nn.Parameter]) -> None:
        """Gradients for these alone."""
        chosen = {id(p) for p in parameters}
        for parameter in self.model.parameters():
            parameter.requires_grad_(id(parameter) in chosen)
            parameter.grad = None

    def fit(
        self, name: str, parameters: Iterable[nn.Parameter], gradient: Callable[[Any], Mapping[str, torch.Tensor]], *,
        epochs: int, lr: Any, epoch_batches: Callable[[int], Iterator[Any]] | None = None,
    ) -> None:  # fmt: skip
        """A step of the phase for all of them, or three where they may differ."""
        if not epochs:
            return
        self.move_only(parameters)
        items = list(epoch_batches(0)) if epoch_batches else []
        item = items[0] if epoch_batches else self.batch(np.arange(min(self.batch_size, self.train_size)))
        steps = epochs * (len(items) if epoch_batches else math.ceil(self.train_size / self.batch_size))

        def step(epoch: int) -> Work:
            self._position, self._within = Position(epoch, epochs, epoch / epochs), Work()
            return count(lambda: gradient(item)) + self._within

        self._asked = False
        first = later = step(0)
        if self._asked or self._within != Work():
            later = (step(0) + step(epochs - 1)) * 0.5
        self.stage1_work += first + later * (steps - 1)

    def solve(self, name: str, work: Callable[[], Mapping[str, float]]) -> None:
        """Nothing: a closed form takes the host seconds."""


@functools.cache
def body(backbone: str) -> SourceModel:
    """A body with random weights, built once."""
    return load_source_model(BACKBONES[backbone], random_weights=True)


@functools.cache
def transport(width: int, samples: int) -> Work:
    """One transport of a class of `samples` points to a whole source, on random points of `width` dimensions."""
    generator = torch.Generator().manual_seed(0)
    points, target = (torch.randn(n, width, generator=generator) for n in (SOURCE_SAMPLES, samples))
    source = otdd.fix_source(points, torch.zeros(SOURCE_SAMPLES, dtype=torch.long), "none")
    counter = RealCounter()
    with counter:
        otdd.distance(source, target.requires_grad_(), torch.zeros(samples, dtype=torch.long))
    return counter.work


class RealCounter(Counter):
    """The same on tensors with values, which are read."""

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name().startswith("aten::_local_scalar_dense"):
            return func(*args, **(kwargs or {}))
        return super().__torch_dispatch__(func, kinds, args, kwargs)


def drawn(high: int, shape: tuple[int, ...]) -> Any:
    """In place of `torch.randint`: numbers that the host reads, so with values."""
    return types.SimpleNamespace(numpy=lambda: np.arange(math.prod(shape)) % high)


def without_values(model: nn.Module, mode: FakeTensorMode) -> None:
    """Put fake weights and buffers in place of a model's own, in training."""
    for module in model.modules():
        for name, weight in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(mode.from_tensor(weight.detach())))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, mode.from_tensor(buffer))
    model.train()


def count_cell(task_name: str, method: str, backbone: str) -> reckoned.Row:
    """A cell at its published settings: one micro-batch of its stage 2, and the whole of its stage 1."""
    task = registry.tasks()[task_name]
    config = plan.resolve(Cell(task_name, method, backbone, 0, "published"))
    shapes = task.kind, task.input_shape, task.output_shape
    try:
        model = config.method.build(*shapes) or build_target(body(backbone), *shapes, config.model, 0)
    except MethodError:  # it refuses the task, and computes nothing
        return reckoned.Row(backbone, task_name, method, config.trainer.batch_size, 0.0, 0.0, 0.0, 0.0)
    context: Any = CountingContext(task, config, model, body(backbone))
    config.method.prepare(context)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, contextlib.ExitStack() as patches:
        without_values(model, mode)

        def distance(source: Any, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            context.add(Work(transports=1))
            return points.sum()

        for home, name, instead in (
            (otdd, "fix_source", mock.Mock()),
            (otdd, "distance", distance),
            (torch, "randint", drawn),
        ):
            patches.enter_context(mock.patch.object(home, name, instead))
        config.method.align(context)
        step = step_of(task_name, backbone, config.method, context)
    whole, batch = context.stage1_work, config.trainer.batch_size
    if whole.transports:
        of_class = config.stage1.max_samples + batch
        whole += transport(BACKBONES[backbone].width, of_class) * whole.transports
    return reckoned.Row(backbone, task_name, method, batch, step.flop, step.launches, whole.flop, whole.launches)


STEPS: dict[tuple[Any, ...], Work] = {}
"""What was counted of steps: most methods share theirs."""


def step_of(task: str, backbone: str, method: Any, context: CountingContext) -> Work:
    """A micro-batch of stage 2, forward and backward; nothing where there is no stage 2."""
    kind = type(method)
    key = (task, backbone, kind.build, kind.prepare, kind.trainable, kind.loss)
    if key not in STEPS:
        moved = list(method.trainable(context.model))
        context.move_only(moved)
        data = context.batch(np.arange(context.batch_size))
        run = lambda: method.loss(context, context.model(data.x), data).backward()  # noqa: E731
        STEPS[key] = count(run) if moved else Work()
    return STEPS[key]


def cells() -> Iterator[tuple[str, str, str]]:
    """(task, method, backbone) of the published suites, every body that fits, every method that is for the task."""
    for name in dict.fromkeys(t for suite in ("nas_bench_360", "pdebench") for t in registry.suites()[suite]):
        task = registry.tasks()[name]
        for backbone in (b.name for b in BACKBONES.values() if b.modality == task.modality):
            for method, kind in sorted(registry.methods().items.items()):
                if task.kind in kind.kinds:
                    yield name, method, backbone


def main() -> None:
    """Count and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=reckoned.FILE)
    parser.add_argument("--tasks", nargs="+", help="count these anew and leave the other rows as they are")
    args = parser.parse_args()
    rows = dict(reckoned.table()) if args.tasks else {}
    for task, method, backbone in cells():
        if args.tasks is None or task in args.tasks:
            rows[task, method, backbone] = count_cell(task, method, backbone)
            print(rows[task, method, backbone], flush=True)
    reckoned.write(rows.values(), args.out)


if __name__ == "__main__":
    main()
