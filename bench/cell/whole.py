"""A whole trained model in one file, and back: what `analysis.keep_weights` keeps, `bench evaluate` and `bench.load_model` read.

A safetensors file of the model that the record reports: embedder, encoder and predictor, or the network of a method's own.
Modules that only training needs are left out. Where validation chose an earlier epoch, the encoder of the last one stands
under `last.encoder`, for analyses. Beside the weights: `input.mean` and `input.std`, `output.shift` and `output.scale`
where the task has them, and in the file's metadata everything that the model is built from. Nothing in it runs.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TypedDict

import numpy as np
import torch
from torch import nn

from bench import faults, plan, registry, standins, weights
from bench.backbones import BACKBONES
from bench.cell.batches import Loader
from bench.cell.build import Built
from bench.cell.checkpoint import Checkpoints
from bench.cell.context import CellContext
from bench.cell.data import load_data
from bench.cell.run import Run
from bench.cell.scoring import Scores, predict, score_arrays
from bench.cell.trainer import Trainer
from bench.errors import UsageError
from bench.models.source import load_source_model
from bench.models.target import build_target
from bench.plan import Cell, Places
from bench.records.layout import Count, Name, Searched, Setting
from bench.records.schema import checker
from tasks.files.atomic import write_atomically

FORMAT = "cross-modality-bench model 1"
PARTS = ("embedder.", "encoder.", "predictor.")
"""Of h ∘ f ∘ e, what a prediction takes."""
LAST, SCALES = "last.encoder.", ("input.mean", "input.std", "output.shift", "output.scale")
LARGEST_ABOUT, LARGEST_SHAPE = 1 << 20, 1 << 27
"""Bytes of the metadata, and numbers of one sample: above it a file is refused before anything is built."""


class About(TypedDict):
    """What the file says of its model: the record's own words."""

    id: Name
    task: Name
    method: Name
    backbone: Name
    seed: Count
    profile: Name
    protocol: Name
    origin: Name
    overrides: dict[str, Setting]
    settings: dict[str, Setting]
    code: dict[str, str | None]
    search: Searched | None
    precision: Name
    kind: Name
    epoch: Count | None
    input_shape: list[Count]
    output_shape: list[Count]
    scales: list[Name]
    """Those of `SCALES` that the file has."""


def write(path: Path, context: CellContext, reported: Mapping[str, torch.Tensor]) -> None:
    """Keep the model of a cell that has ended; `reported` is the state behind its score, the model itself that of the last epoch."""
    from safetensors.torch import save

    if not reported:
        faults.warn(f"{path.name} is not written: a closed form has no weights to keep")
        return
    run, data, last = context.run, context.data, context.model.state_dict()
    target = hasattr(context.model, "encoder")
    state = {name: t for name, t in reported.items() if not target or name.startswith(PARTS)}
    if target and any(not torch.equal(last[name], t.to(last[name].device)) for name, t in state.items()):
        state |= {f"last.{name}": t for name, t in last.items() if name.startswith("encoder.")}
    scale = getattr(data.train, "scale", None)
    pairs = [*zip(SCALES[:2], scale or ()), *zip(SCALES[2:], data.decode or ())]
    state |= {name: torch.as_tensor(np.asarray(value), dtype=torch.float32) for name, value in pairs}
    record = run.draft.record
    about = {name: record[name] for name in About.__annotations__ if name in record} | {
        "kind": run.task.kind,
        "epoch": context.trainer.state.best_epoch,
        "input_shape": list(data.input_shape),
        "output_shape": list(data.output_shape),
        "scales": [name for name, _ in pairs],
    }
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in state.items()}
    write_atomically(path, save(plain, {"format": FORMAT, "about": json.dumps(about)}))


def read_about(path: Path) -> About:
    """What a file says of its model. UsageError, with what it is instead, for any other file; no tensor is read."""
    try:
        metadata = weights.metadata(path)
        if metadata.get("format") != FORMAT:
            found = metadata.get("format") or "no format"
            raise ValueError(f"weights without what they were trained as ({found}), expected {FORMAT!r}")
        if len(metadata.get("about", "")) > LARGEST_ABOUT:
            raise ValueError(f"its metadata are longer than {LARGEST_ABOUT} bytes")
        about = json.loads(metadata["about"])
        checker(About)(about, "about")
        for name in ("input_shape", "output_shape"):
            if not 0 < int(np.prod(about[name], dtype=np.float64)) <= LARGEST_SHAPE:
                raise ValueError(f"its {name} is {about[name]}")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, KeyError, RecursionError) as error:
        raise UsageError(
            f"{path} is no model of this project: {error}. `bench run ... --set analysis.keep_weights=true` makes one"
        ) from None
    return about


class Kept(nn.Module):
    """A model as its task saw it: inputs (B, C, *spatial) as `Split.batch` gives them -> outputs in the task's units."""

    input_mean: torch.Tensor | None
    input_std: torch.Tensor
    output_shift: torch.Tensor | None
    output_scale: torch.Tensor

    def __init__(self, model: nn.Module, about: About, scales: Mapping[str, torch.Tensor]):
        super().__init__()
        self.model, self.about = model, about
        for name in SCALES:
            self.register_buffer(name.replace(".", "_"), scales.get(name))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.model(x.float()).float()
        return out if self.output_shift is None else out * self.output_scale + self.output_shift

    def normalised(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs as the files have them, normalised as the task's `Split.batch` does."""
        return x if self.input_mean is None else (x.float() - self.input_mean) / self.input_std


def load_model(path: Path) -> Kept:
    """The model of a file, in evaluation mode on the CPU. UsageError for files that are none, or whose weights do not fit."""
    about = read_about(path)
    model = _built(about)
    try:
        state = weights.read(path)
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    scales = {name: state.pop(name) for name in SCALES if name in state}
    _refuse_other_scales(path, about, scales)
    state = {name: tensor for name, tensor in state.items() if not name.startswith(LAST)}
    model = _fitted(model, about, state)
    _refuse_misfit(path, model, state)
    _refuse_no_numbers(path, model, state)
    model.load_state_dict({**model.state_dict(), **state})
    return Kept(model, about, scales).eval().requires_grad_(False)


def evaluate(path: Path, task: str | None, data_dir: Path) -> tuple[Cell, Scores]:
    """The test scores of a kept model, on its own task or on another one of the same shapes; and the cell that they are of.

    On its own task and a CPU they are the record's, digit for digit; where code of its task or method has been edited
    since, a warning says so. Raises UsageError where the shapes differ, and
    DataError or SetupError where the data are not here.
    """
    kept = load_model(path)
    cell = _cell(kept.about, task, data_dir)
    _warn_of_edits(path, kept.about)
    with tempfile.TemporaryDirectory() as folder:
        run = Run.reading(cell, Places(data_dir, Path(folder)))
        if run.task.kind != kept.about["kind"]:
            raise UsageError(
                f"{path} is for {kept.about['kind']}, {cell.task} has {run.task.kind}: the loss and metric differ"
            )
        data = load_data(run)
        here = {"input": list(data.input_shape), "output": list(data.output_shape)}
        there = {"input": kept.about["input_shape"], "output": kept.about["output_shape"]}
        if here != there:
            raise UsageError(f"{path} has shapes {there}, {cell.task} has {here}: it cannot be scored there")
        context = CellContext(run, data, Built(kept.model.to(run.device), None, run.config.analysis))
        trainer = Trainer(
            context.model, context.train, run.config.trainer, cell.seed, Checkpoints(run.work), lambda word: None
        )
        trainer.state.precision = kept.about["precision"]
        context.begin(trainer)
        return cell, score_arrays(run.metrics, *predict(context, Loader(data.test, run.device)))


# -- from what the file says to a model -------------------------------------------------------------------------------


def _cell(about: About, task: str | None, data_dir: Path) -> Cell:
    """The cell of the file's record; with another task, the same on that one."""
    cell = plan.cell_of(dict(about))
    if task is None or task == cell.task:
        return cell
    origin = standins.origin_here(registry.tasks()[task], data_dir)
    return dataclasses.replace(cell, task=task, origin=origin)


def _warn_of_edits(path: Path, about: About) -> None:
    """Say which code the model was trained by that is not here any more."""
    now = registry.code_of(about["task"], about["method"], about["origin"])
    if edited := [part for part in ("task", "method") if about["code"].get(part) != now[part]]:
        names = " and ".join(f"{part} {about[part]}" for part in edited)  # type: ignore[literal-required]
        faults.warn(f"{path} was trained before {names} was edited: its scores may not be those of its record")


def _built(about: About) -> nn.Module:
    """The model with random weights: no pretrained file is needed."""
    if about["backbone"] not in BACKBONES:
        raise UsageError(f"backbone {about['backbone']!r} is not here; expected one of {', '.join(BACKBONES)}")
    config = plan.resolve(plan.cell_of(dict(about)))
    shapes = tuple(about["input_shape"]), tuple(about["output_shape"])
    own = config.method.build(about["kind"], *shapes)
    if own is not None:
        return own
    body = load_source_model(BACKBONES[about["backbone"]], random_weights=True)
    return build_target(body, about["kind"], *shapes, config.model, 0)


def _fitted(model: nn.Module, about: About, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """The model with what its method puts into the body, where the file has more than the body itself."""
    if not state.keys() <= model.state_dict().keys():
        method = plan.resolve(plan.cell_of(dict(about))).method
        method.prepare(SimpleNamespace(model=model))
    return model


def _refuse_other_scales(path: Path, about: About, scales: Mapping[str, torch.Tensor]) -> None:
    """UsageError unless the scales are those that the metadata name, in pairs of one shape, and finite numbers."""
    pairs = [[scales.get(name) for name in SCALES[k : k + 2]] for k in (0, 2)]
    whole = all(
        a is not None and b is not None and a.shape == b.shape for a, b in pairs if a is not None or b is not None
    )
    finite = all(bool(torch.isfinite(scale).all()) for scale in scales.values())
    if sorted(scales) != sorted(about["scales"]) or not whole or not finite:
        raise UsageError(
            f"{path} has the scales {', '.join(sorted(scales)) or 'none'}, its metadata name "
            f"{', '.join(sorted(about['scales'])) or 'none'}, in pairs of one shape: edited, its outputs would be in other units"
        )


def _refuse_no_numbers(path: Path, model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """UsageError that names the first tensor of whole numbers for real ones, or with a value that is not finite."""
    wanted = model.state_dict()
    for name, tensor in sorted(state.items()):
        if tensor.is_floating_point() != wanted[name].is_floating_point():
            raise UsageError(f"{path}: {name} is {tensor.dtype}, expected {wanted[name].dtype}: edited")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise UsageError(f"{path}: {name} holds values that are not finite: damaged, or of a run that diverged")


def _refuse_misfit(path: Path, model: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """UsageError that names the first tensor that is missing, too many, or of another shape."""
    wanted = {
        name: tuple(t.shape)
        for name, t in model.state_dict().items()
        if not hasattr(model, "encoder") or name.startswith(PARTS)
    }
    found = {name: tuple(t.shape) for name, t in state.items()}
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise UsageError(
                f"{path}: {name} has shape {found.get(name, 'none')}, the model that its metadata describe "
                f"{wanted.get(name, 'none')}: edited, or of another version of this project"
            )
