"""Cells on a device that holds no numbers: a device mismatch is an error there, and whatever the host would wait for is noted."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.cell.build import Built, build
from bench.cell.checkpoint import Checkpoints
from bench.cell.context import CellContext
from bench.cell.data import load_data
from bench.cell.finetune import finetune
from bench.cell.run import Run
from bench.cell.trainer import Trainer
from bench.models.source import SourceModel, load_source_model
from bench.plan import Cell, Places
from bench.sources.data import SourceData
from methods.transport import otdd

DEVICE = torch.device("lazy:0")
"""On a fake `cuda` nothing can be differentiated without a driver. To a FakeTensorMode this device is as foreign to the host."""
ROOMS = ("bench", "methods", "tasks", "tests")
COPIES = ("aten::_to_copy", "aten::copy_", "prims::device_put")


class Watch(TorchDispatchMode):
    """Above a FakeTensorMode: what is on the host keeps its numbers; `seen` names the functions that made the host wait.

    It waits for a number of the device, which is given as 1, for a copy from there, and for one to there that does not say
    `non_blocking`. A result whose shape depends on numbers of the device is the FakeTensorMode's error.
    """

    def __init__(self) -> None:
        super().__init__()
        self.on, self.seen = True, set[str]()

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.name().split(".")[0]
        if not any(_without_numbers(leaf) for leaf in tree_leaves((args, kwargs))):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if torch.is_inference_mode_enabled() and func.namespace == "aten":
            with self:  # operations come in one piece here that are taken apart before otherwise
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        if name == "aten::_local_scalar_dense":
            self.note()
            return True if args[0].dtype == torch.bool else 1
        out = func(*args, **kwargs)
        if name in COPIES:
            source, up = args[1] if name == "aten::copy_" else args[0], out.device == DEVICE
            later = kwargs.get("non_blocking", False) or (name == "aten::copy_" and args[2:] == (True,))
            if source.device != out.device and not (later and up):
                self.note()
        return out

    def note(self) -> None:
        """That the host waits, in the innermost function of this project."""
        frame: Any = sys._getframe(1)
        while frame.f_globals["__name__"] == __name__ or frame.f_globals["__name__"].split(".")[0] not in ROOMS:
            frame = frame.f_back
        if self.on:
            self.seen.add(frame.f_code.co_name)

    @contextlib.contextmanager
    def switched(self, on: bool) -> Iterator[None]:
        """Notes what happens inside, or does not."""
        before, self.on = self.on, on
        try:
            yield
        finally:
            self.on = before


def _without_numbers(leaf: Any) -> bool:
    return isinstance(leaf, FakeTensor) or (isinstance(leaf, torch.device) and leaf == DEVICE)


@contextlib.contextmanager
def device_without_numbers(patch: pytest.MonkeyPatch) -> Iterator[tuple[Watch, Callable[[Any], Any]]]:
    """The watch, and what moves tensors, modules and frozen dataclasses of them to `DEVICE`."""
    host_generator, load = torch.Generator, torch.load
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, Watch() as watch:

        def moved(thing: Any) -> Any:
            if isinstance(thing, nn.Module):
                for module in thing.modules():
                    for name, weight in [*module.named_parameters(recurse=False)]:
                        setattr(module, name, nn.Parameter(moved(weight), weight.requires_grad))
                    for name, buffer in [*module.named_buffers(recurse=False)]:
                        setattr(module, name, moved(buffer))
            elif isinstance(thing, torch.Tensor):
                with watch.switched(False):
                    return mode.from_tensor(thing.detach()).to(DEVICE)
            elif isinstance(thing, tuple):
                return tuple(map(moved, thing))
            elif dataclasses.is_dataclass(thing):
                fields = {f.name: moved(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
                return type(thing)(**fields)
            return thing

        def numbers(tensor: FakeTensor) -> np.ndarray:
            with unset_fake_temporarily():
                return torch.ones(tensor.shape, dtype=tensor.dtype).numpy()

        def read(tensor: FakeTensor) -> Any:
            watch.note()
            return numbers(tensor).tolist()

        def loaded(*arguments: Any, **options: Any) -> Any:
            with unset_fake_temporarily():
                return load(*arguments, **options)

        patch.setattr(torch, "load", loaded)
        patch.setattr(FakeTensor, "numpy", numbers, raising=False)
        patch.setattr(FakeTensor, "tolist", read, raising=False)
        # Torch has no autocast for this device, and no generator: these draw on the host.
        patch.setattr(torch, "autocast", lambda *a, **k: contextlib.nullcontext())
        patch.setattr(torch, "Generator", lambda device=None: host_generator())
        yield watch, moved


def run_without_numbers(cell: Cell, places: Places, patch: pytest.MonkeyPatch, depth: int) -> set[str]:
    """Both stages of a cell with their evaluations; the functions that made the host wait within an epoch.

    Left out is the first step of a phase, which may make what the others keep. Of each row of blocks the body has the
    first `depth`.
    """
    run = Run.reading(cell, places, {"trainer.device": "cpu"})
    data = load_data(run)
    patch.setattr("bench.cell.build.load_source_model", functools.partial(_shortened, depth))
    built = build(run, data)
    run.config.method.prepare(CellContext(run, data, built))
    epoch, close, fix_source = Trainer._epoch, Trainer._close_epoch, otdd.fix_source
    with device_without_numbers(patch) as (watch, moved), watch.switched(False):

        def watched_epoch(trainer: Trainer, live: Any) -> Any:
            with watch.switched(trainer.state.phase_steps > 0):
                return epoch(trainer, live)

        def unwatched_close(trainer: Trainer, *arguments: Any) -> Any:
            with watch.switched(False):
                return close(trainer, *arguments)

        def fixed(points: torch.Tensor, labels: torch.Tensor, inner: Any = "sinkhorn") -> otdd.FixedSource:
            """Of numbers: computed once, it may read as it likes."""
            return moved(fix_source(torch.randn(8, points.shape[1]), torch.arange(8) % 2, inner))

        patch.setattr(Trainer, "_epoch", watched_epoch)
        patch.setattr(Trainer, "_close_epoch", unwatched_close)
        patch.setattr(otdd, "fix_source", fixed)
        run = dataclasses.replace(run, device=DEVICE)
        context = CellContext(run, data, Built(moved(built.model), _moved_source(built.source, moved), built.analyses))
        trainer = Trainer(context.model, context.train, run.config.trainer, 0, Checkpoints(run.work), lambda word: None)
        trainer.state.precision = "fp32"
        context.begin(trainer)
        run.config.method.align(context)
        finetune(context, types.SimpleNamespace(due=lambda epoch: False))  # type: ignore[arg-type]
    return watch.seen - {"_integers"}  # draws of the host's generator, which on a card is the card's


def _moved_source(source: SourceData | None, moved: Callable[[Any], Any]) -> SourceData | None:
    if source is not None:
        moved(source.model)
        source.device, source.cache_dir = DEVICE, None
        vars(source).pop("_scale", None)  # of the host's: `prepare` has read tokens there
    return source


def _shortened(depth: int, *arguments: Any, **options: Any) -> SourceModel:
    body: Any = load_source_model(*arguments, **options)
    text = body.spec.modality == "text"
    for row in [body.encoder.layers] if text else [stage.blocks for stage in body.encoder.layers]:
        del row[depth:]
    return body
