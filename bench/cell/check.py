"""The conformance tests of one task or method: the contract of `tasks.contract` and `methods.contract` as checks.

A check gets nothing but the plug-in; data and model are tiny stand-ins. The project's own tests run the same checks over
everything that is registered, so a plug-in that passes here behaves like those shipped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import plan, registry, settings
from bench import standins as data
from bench.analysis.observe import Observer
from bench.backbones import BACKBONES
from bench.cell.data import load_data
from bench.cell.determinism import determinism
from bench.cell.finetune import finetune
from bench.cell.phase import Phase
from bench.cell.run import Run
from bench.cell.scoring import loss_name, metric_names, trivial_scores
from bench.cell.story import lend
from bench.cell.story import run as run_cell
from bench.fitting import takes
from bench.plan import Cell, Places, Selection
from bench.protocols import PROTOCOLS
from methods.contract import Method
from tasks.contract import ArraySplit, Data, Split, Task, targets_of
from tasks.losses import LOSSES
from tasks.metrics import METRICS
from tasks.recipe import PROFILES as SIZED
from tasks.trivial import PREDICTORS


@dataclass(frozen=True)
class Outcome:
    """One check: what was checked, whether it holds, and if not, what was found."""

    what: str
    passed: bool
    found: str = ""


Check = tuple[Any, ...]
"""What is checked, a function that raises where it does not hold, and its arguments."""


def check(name: str, data_dir: Path | None = None) -> list[Outcome]:
    """Every check of the task or method `name`; UsageError if there is no such thing."""
    with tempfile.TemporaryDirectory() as scratch:
        # Stand-ins go to the scratch folder unless somebody shares one; a task without any reads its real files.
        real = name in registry.tasks().items and registry.tasks()[name].generate is None
        folder = (data.default_dir() if real else data_dir) or Path(scratch) / "data"
        if name in registry.methods().items:
            checks = _method_checks(registry.methods()[name], Places(folder, Path(scratch) / "results"))
        else:
            checks = _task_checks(registry.tasks()[name], Places(folder, Path(scratch) / "results"))
        return [_outcome(*check) for check in checks]


def _outcome(what: str, action: Callable[..., object], *given: Any) -> Outcome:
    try:
        action(*given)
    # The plug-in is somebody else's code: whatever it raises is what was found.
    except Exception as error:
        return Outcome(what, False, f"{type(error).__name__}: {error}")
    return Outcome(what, True)


def _require(condition: bool, found: str) -> None:
    if not condition:
        raise AssertionError(found)


# -- tasks -----------------------------------------------------------------------------------------------------------


def _task_checks(task: Task, places: Places) -> Iterator[Check]:
    yield "names of loss, metrics, trivial predictor and backbone exist", _names, task
    yield "its settings exist and have the right types", _task_settings, task
    yield "licence, citation, source, split policy and files are stated", _stated, task
    if task.generate is None:
        yield "its files are here and are read", _data, task, places
    else:
        yield "the stand-in is generated and read by the same reader", _data, task, places
        yield "more samples do not change the first ones", _grows, task, places
    for protocol in PROTOCOLS:
        splits = "splits, shapes, types and labels are as the contract has them"
        yield f"{protocol}: {splits}", _splits_of, task, places, protocol
        yield f"{protocol}: every metric of the trivial predictor is a number", _scores_of, task, places, protocol
    yield "evaluation batches are deterministic", _deterministic, task, places
    for method in ("vanilla", "mona"):
        yield f"two epochs of {method} leave a record with a score", _runs, task.name, method, places


def _names(task: Task) -> None:
    for loss in (loss_name(task, protocol) for protocol in PROTOCOLS):
        _require(loss in LOSSES, f"loss {loss!r}; known: {', '.join(LOSSES)}")
    for metric in (*metric_names(task, "strict"), *metric_names(task, "paper")):
        _require(metric in METRICS, f"metric {metric!r} is not in tasks.metrics.METRICS")
    _require(task.trivial in PREDICTORS, f"trivial {task.trivial!r}; known: {', '.join(PREDICTORS)}")
    _require(task.backbone in BACKBONES, f"backbone {task.backbone!r}; known: {', '.join(BACKBONES)}")
    _require(BACKBONES[task.backbone].modality == task.modality, f"{task.backbone} does not take {task.dims}D input")


def _task_settings(task: Task) -> None:
    for recipe in (task.recipe, task.quick, task.paper_recipe):
        resolved = settings.flatten(settings.resolve(Method, task.recipe, recipe))
        for name, value in recipe.items():
            given = list(value) if isinstance(value, tuple) else value
            _require(resolved[name] == given, f"{name}={value!r} became {resolved[name]!r}")


def _stated(task: Task) -> None:
    for field in ("title", "licence", "citation", "source", "split_policy", "suites", "files", "splits"):
        _require(bool(getattr(task, field)), f"{field} is empty")
    for profile in SIZED if task.generate else ():
        _require("samples" in task.sizes.get(profile, {}), f"sizes[{profile!r}] has no `samples`")


def _data(task: Task, places: Places, protocol: str = "strict", *changed: tuple[str, Any]) -> Data:
    return load_data(Run.reading(_cell(task.name, "vanilla", places, *changed, protocol=protocol), places))


def _grows(task: Task, places: Places) -> None:
    first, few = _data(task, places), task.sizes["tiny"]["samples"]
    if first.notes.get("normalised_by_training_set"):
        return  # inputs are in units of the training set, which grows
    more = _data(task, places, "strict", ("data.samples", 2 * few))
    rows = {row for split in (more.train, more.val, more.test) if split is not None for row in _rows(split)}
    ours = _rows(first.test)
    kept = sum(row in rows for row in ours)
    _require(kept == len(ours), f"{kept} of {len(ours)} samples of the smaller set are in the larger one")


def _rows(split: Split) -> list[bytes]:
    """Every input as bytes, before any scaling by statistics of the training set."""
    if isinstance(split, ArraySplit):
        inputs = list(split.x)
    else:
        inputs = [split.batch(np.arange(i, i + 1), None).x[0] for i in range(len(split))]
    return [np.round(np.asarray(x, dtype=np.float64), 4).tobytes() for x in inputs]


def _splits_of(task: Task, places: Places, protocol: str) -> None:
    loaded = _data(task, places, protocol)
    _require((loaded.val is None) == (protocol == "paper"), f"val is {'missing' if loaded.val is None else 'there'}")
    _require(len(loaded.input_shape) == task.dims + 1, f"input shape {loaded.input_shape} under a {task.dims}D task")
    for name in ("train", "val", "test"):
        if (split := getattr(loaded, name)) is not None:
            _require(len(split) > 0, f"{name} is empty")
            _fits(task, loaded, name, split)


def _fits(task: Task, loaded: Data, name: str, split: Split) -> None:
    index = np.arange(min(4, len(split)))
    batch, labels = split.batch(index, None), split.labels
    _require_floats(f"{name}: x", batch.x, loaded.input_shape)
    _require(bool(np.isfinite(batch.x).all()), f"{name}: x is not finite")
    if task.kind != "classes":
        _require_floats(f"{name}: y", batch.y, loaded.output_shape)
    elif labels is None or labels.dtype != np.int64:
        raise AssertionError(f"{name}: labels are {getattr(labels, 'dtype', None)}, expected int64")
    else:
        _require(labels.min() >= 0 and labels.max() < loaded.output_shape[0], f"{name}: labels beyond the classes")
    y, extra = targets_of(split, index)
    same = np.array_equal(y, batch.y, equal_nan=True) and extra.keys() == batch.extra.keys()
    same = same and all(np.array_equal(extra[key], batch.extra[key]) for key in extra)
    _require(same, f"{name}: its `targets` are others than those of its batches")


def _require_floats(what: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    fits = array.dtype == np.float32 and array.shape[1:] == tuple(shape)
    _require(fits, f"{what} is {array.dtype} of shape {array.shape}, expected float32 of (samples, {shape})")


def _scores_of(task: Task, places: Places, protocol: str) -> None:
    names = metric_names(task, protocol)
    score = trivial_scores(task, _data(task, places, protocol), names)["all"][task.trivial]
    _require(score is not None, f"{names[0]} of the trivial predictor is not finite")


def _deterministic(task: Task, places: Places) -> None:
    test = _data(task, places).test
    a, b = (test.batch(np.arange(min(3, len(test))), None) for _ in range(2))
    _require(np.array_equal(a.x, b.x) and np.array_equal(a.y, b.y), "two readings of the same test batch differ")


# -- methods ---------------------------------------------------------------------------------------------------------


def _method_checks(method: type[Method], places: Places) -> Iterator[Check]:
    yield "it is a frozen dataclass that can be made without arguments", _frozen, method
    yield "name, title, citation and docstring are stated", _described, method
    yield "every option has a default and a meaning", _options, method
    yield "what it costs beside vanilla, for time limits, are numbers", _costs, method
    yield "every preset is valid", _presets, method
    for task in ("advection", "ecg", "darcy_pdebench", "spherical"):
        if not takes(method.name, task):
            continue
        yield f"two epochs on a tiny {task} leave a record with a score", _runs, task, method.name, places
    yield "every phase moves what it names, and nothing else", _moves, method.name, places
    yield "interrupted in each stage and resumed, it gives the same score", _resumes, method.name, places


def _frozen(method: type[Method]) -> None:
    method()
    # A dataclass that derives from `Method` cannot be anything but frozen.
    _require("__dataclass_fields__" in vars(method), "it is not a dataclass: use @dataclass(frozen=True)")


def _described(method: type[Method]) -> None:
    for field in ("name", "title", "citation", "__doc__"):
        _require(bool(getattr(method, field, None)), f"{field} is empty")


def _options(method: type[Method]) -> None:
    for field in dataclasses.fields(method):
        _require(field.default is not dataclasses.MISSING, f"{field.name} has no default")
        _require(bool(field.metadata.get("help")), f"{field.name}: declare it as option(default, 'meaning')")


def _presets(method: type[Method]) -> None:
    for preset in method.presets:
        settings.resolve(method, {"method.preset": preset})


def _costs(method: type[Method]) -> None:
    found = (method.step_cost, *method().stage1_cost(settings.Stage1Settings(), 4, 100))
    _require(all(math.isfinite(cost) and cost >= 0 for cost in found), f"step_cost and stage1_cost are {found}")


def _cell(task: str, method: str, places: Places, *changed: tuple[str, Any], protocol: str = "strict") -> Cell:
    selection = Selection((task,), methods=(method,), profile="tiny", set=changed, protocol=protocol)
    return plan.cells(replace(selection, allow_random_weights=True), places.data_dir)[0]


def _runs(task: str, method: str, places: Places) -> None:
    record = run_cell(_cell(task, method, places), places, {})
    _require(record["status"] == "done", f"{record['status']}: {(record['error'] or {}).get('message')}")
    _require(record["score"] is not None, "the score is not a finite number")


def _moves(method: str, places: Places) -> None:
    cell = _cell("advection", method, places)
    with determinism(cell.seed, {}):
        context = lend(Run.reading(cell, places))
        fit = context.trainer.fit

        def watched(phase: Phase) -> None:
            named = list(phase.parameters)
            before = {name: p.detach().clone() for name, p in context.model.named_parameters()}
            fit(dataclasses.replace(phase, parameters=named))
            _require_moved(context.model, before, named, phase)

        context.trainer.fit = watched  # type: ignore[method-assign]
        context.run.config.method.align(context)
        finetune(context, Observer(context.built.analyses, None, places.results_dir / "moves", cell.seed, 0))


def _require_moved(model: Any, before: Mapping[str, Any], named: list[Any], phase: Phase) -> None:
    chosen = {id(p) for p in named}
    mine = {name for name, p in model.named_parameters() if id(p) in chosen}
    moved = {name for name, p in model.named_parameters() if not p.equal(before[name])}
    _require(moved <= mine, f"{phase.name}: {', '.join(sorted(moved - mine)[:3])} moved, and was not to")
    parts, stuck = ({name.partition(".")[0] for name in names} for names in (moved, mine))
    if phase.epochs:
        _require(stuck <= parts, f"{phase.name}: nothing moved of {', '.join(sorted(stuck - parts))}")


OFTEN = {"trainer.checkpoint_seconds": 0.0}
"""A checkpoint, and a word of progress, after every step."""


class Interrupted(BaseException):
    """Stands in for a kill: nothing may catch it."""


def _resumes(method: str, places: Places) -> None:
    cell = _cell("advection", method, places, ("stage1.epochs", 3))
    whole = run_cell(cell, places, {})
    other = Places(places.data_dir, places.results_dir / "interrupted")
    stops = {stage: whole[f"steps_{stage}"] // 2 + 1 for stage in ("stage1", "stage2") if whole[f"steps_{stage}"] > 1}
    for stage, step in stops.items():
        with contextlib.suppress(Interrupted):
            _attempt(cell, other, stage, step)
    steps: list[str] = []
    again = run_cell(cell, other, OFTEN, lambda word: steps.append(word["stage"]))
    if "stage2" in stops:
        left = whole["steps_stage2"] - (stops["stage2"] - 1)
        _require(steps.count("stage2") == left, f"{steps.count('stage2')} steps after the checkpoint, expected {left}")
    _require(again["attempts"] == len(stops) + 1, f"{again['attempts']} attempts: it was to be interrupted {stops}")
    for key in ("status", "score", "metrics_last", "steps_stage1", "steps_stage2"):
        _require(again[key] == whole[key], f"{key}: {whole[key]}, and {again[key]} after a resume")


def _attempt(cell: Cell, places: Places, stage: str, step: int) -> None:
    """Run a cell that is interrupted before the checkpoint of step number `step` of `stage`."""
    words: list[str] = []

    def stop(word: Mapping[str, Any]) -> None:
        words.append(word["stage"])
        if words.count(stage) == step:
            raise Interrupted

    run_cell(cell, places, OFTEN, stop)
