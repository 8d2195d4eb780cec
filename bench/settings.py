"""Every setting of a cell: its name, default, meaning, and whether it belongs to the cell's identity.

Settings have dotted names (`trainer.lr`). They are resolved in this order, later wins: the defaults below, the task's
published `recipe`, the task's `quick` recipe under the quick profile, the protocol, what the user sets with `--set`.
A field's role is declared where the field is: `identity` fields take part in a cell's id, `runtime` ones never do.
Imports nothing heavy.
"""

from __future__ import annotations

import functools
import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_origin

from bench.errors import UsageError, unknown


def identity(default: Any, meaning: str, allowed: str | None = None) -> Any:
    """A field that changes what is computed, and so the id of a cell. `allowed`: see `refuse_outside`."""
    return field(default=default, metadata={"help": meaning, "role": "identity", "allowed": allowed})


def runtime(default: Any, meaning: str, allowed: str | None = None) -> Any:
    """A field that changes how or where it is computed, never the id of a cell. `allowed`: see `refuse_outside`."""
    return field(default=default, metadata={"help": meaning, "role": "runtime", "allowed": allowed})


@dataclass(frozen=True)
class TrainerSettings:
    """Stage 2, and what both stages share."""

    optimizer: Literal["adam", "adamw", "sgd"] = identity("adamw", "optimiser of both stages")
    lr: float = identity(1e-4, "peak learning rate", "[0, inf)")
    weight_decay: float = identity(0.0, "weight decay (L2 for adam and sgd, decoupled for adamw)", "[0, inf)")
    momentum: float = identity(0.9, "momentum of sgd", "[0, 1)")
    beta1: float = identity(0.9, "first Adam beta", "[0, 1)")
    beta2: float = identity(0.98, "second Adam beta", "[0, 1)")
    batch_size: int = identity(32, "samples per micro-batch", "[1, inf)")
    accumulation: int = identity(1, "micro-batches per optimiser step", "[1, inf)")
    accumulate: Literal["mean", "published_sum"] = identity(
        "mean", "gradient of a step: the mean over its samples, or published code's sum over micro-batches"
    )
    epochs: int = identity(60, "epochs of stage 2", "[0, inf)")
    warmup_epochs: float = identity(0.0, "epochs of linear warm-up from 0", "[0, inf)")
    decay_epochs: float | None = identity(None, "epoch at which the linear decay reaches 0; None: no decay", "(0, inf)")
    clip: float | None = identity(None, "largest norm of the whole gradient; None: no clipping", "(0, inf)")
    eval_batch_size: int = identity(
        256, "samples per forward pass at evaluation (no effect on whole-split metrics)", "[1, inf)"
    )
    eval_every: int = identity(1, "epochs between evaluations on validation", "[1, inf)")
    patience: int = identity(
        0, "end stage 2 when this many evaluations on validation have brought no better score; 0: never", "[0, inf)"
    )
    track_test: bool = identity(False, "also read the test set every epoch: an oracle, never used to select")
    precision: Literal["auto", "fp32", "tf32", "bf16"] = identity("auto", "auto: bf16 on GPUs that have it, else fp32")
    budget_steps: int | None = identity(
        None, "optimiser steps that both stages may take together; None: by epochs", "[1, inf)"
    )
    budget_seconds: float | None = identity(
        None, "seconds that both stages may take together; None: by epochs", "(0, inf)"
    )
    recompute: bool = identity(False, "activation checkpointing of the encoder: less memory, one more forward pass")
    compile: Literal["auto", "on", "off"] = runtime(
        "auto", "torch.compile a phase's plain passes; auto: on a GPU, where its steps are many enough to repay it"
    )
    device: str = runtime("auto", "auto, cpu, cuda, cuda:0, ...", "auto|cpu|cuda(:[0-9]+)?")
    checkpoint_seconds: float = runtime(
        60.0, "this long between two checkpoints, or longer where one stops training for over 2 %; 0: after every step",
        "[0, inf)",
    )  # fmt: skip
    deterministic: bool = runtime(True, "only deterministic kernels (a GPU may still differ between models)")
    retry_out_of_memory: bool = runtime(False, "out of memory: the same steps with half as many samples at once")


@dataclass(frozen=True)
class Stage1Settings:
    """Stage 1 as the task's published recipe has it; a method's own options come first."""

    epochs: int = identity(60, "epochs of stage 1", "[0, inf)")
    lr_scale: float = identity(10.0, "learning rate of stage 1 as a multiple of trainer.lr", "[0, inf)")
    max_samples: int = identity(
        128, "target samples per class that one alignment step exceeds by at most a batch (ORCA)", "[1, inf)"
    )


@dataclass(frozen=True)
class ModelSettings:
    """The target model h ∘ f ∘ e."""

    embedder_init: Literal["source", "random", "published", "published_untrained"] = identity(
        "source", "where the embedder's weights start; published code: with a stage 1 to come, and without"
    )
    dense_head: Literal["linear", "pooled"] = identity(
        "linear", "predictor for dense targets; pooled is the published one"
    )
    target_seq_len: int = identity(512, "most tokens that the 1D embedder makes", "[1, inf)")
    drop_path: float = identity(0.0, "stochastic depth of a vision body", "[0, 1)")
    antialias: bool = identity(True, "smooth images before they are made smaller for a vision body")


@dataclass(frozen=True)
class SourceSettings:
    """Labelled data of the backbone's own modality."""

    name: Literal["auto", "cifar10", "conll2003", "digits", "fashion_mnist", "topics"] = identity(
        "auto", "source data set; auto: the best one that is here"
    )
    corrupt: Literal["none", "permuted_labels", "noise"] = identity(
        "none", "control arms: shuffle labels, or replace inputs by noise"
    )


@dataclass(frozen=True)
class DataSettings:
    """The task's data."""

    samples: int | None = identity(None, "samples to generate for a stand-in; None: the profile's number", "[1, inf)")
    limit: int | None = identity(None, "use at most this many training samples, drawn by the cell's seed", "[1, inf)")
    allow_stale: bool = identity(False, "accept files known to be wrong (old Advection downloads)")


@dataclass(frozen=True)
class AnalysisSettings:
    """What is measured besides the score. Not part of a cell's identity: it changes no result of training."""

    probe: bool | None = runtime(
        None, "linear probe of the encoder on source data; None: where training is so long that it costs under 2 %"
    )
    probe_epochs: tuple[int, ...] = runtime(
        (), "epochs at which to probe, 0 is the pretrained body; (): first and last"
    )
    tsne: bool = runtime(False, "t-SNE of source features, pretrained and fine-tuned")
    discrepancy: bool = runtime(False, "modality semantic knowledge discrepancy D")
    similarity: bool = runtime(False, "linear CKA and weight movement per block")
    keep_predictions: bool | None = runtime(
        None, "keep the predictions on the test split beside the record, for `rescore`; None: in profile quick"
    )
    keep_weights: bool = runtime(False, "keep the whole model beside the record, for `evaluate` and `load_model`")


SECTIONS: dict[str, type] = {
    "trainer": TrainerSettings,
    "stage1": Stage1Settings,
    "model": ModelSettings,
    "source": SourceSettings,
    "data": DataSettings,
    "analysis": AnalysisSettings,
}


@dataclass(frozen=True)
class Settings:
    """All resolved settings of a cell; `method` is the method's own dataclass."""

    trainer: TrainerSettings
    stage1: Stage1Settings
    model: ModelSettings
    source: SourceSettings
    data: DataSettings
    analysis: AnalysisSettings
    method: Any


def convert(name: str, value: Any, kind: Any) -> Any:
    """`value` (a Python value or the text after `--set name=`) as the annotated type `kind`, or a UsageError."""
    options = get_args(kind)
    if get_origin(kind) is Literal:
        if value in options:
            return value
        raise unknown(f"value for {name}", str(value), map(str, options))
    if get_origin(kind) in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.lower() in ("none", "null", "")):
            return None
        return convert(name, value, next(o for o in options if o is not type(None)))
    if get_origin(kind) is tuple:
        items = value.replace(",", " ").split() if isinstance(value, str) else value
        return tuple(convert(name, item, options[0]) for item in items)
    if kind is bool and isinstance(value, str):
        lowered = value.lower()
        if lowered in ("true", "yes", "1", "on", "false", "no", "0", "off"):
            return lowered in ("true", "yes", "1", "on")
    elif kind is bool and isinstance(value, bool):
        return value
    elif kind in (int, float, str) and not isinstance(value, bool):
        try:
            number = kind(value)
        except (TypeError, ValueError):
            number = None
        if number is not None and (kind is str or (math.isfinite(number) and float(value) == number)):
            return number
    raise UsageError(f"{name}={value!r}: expected {WORDS.get(kind, kind)}")


WORDS = {int: "a whole number", float: "a finite number", bool: "true or false", str: "text"}


def refuse_outside(name: str, value: Any, allowed: str | None) -> None:
    """UsageError unless a number lies in the interval `allowed`, as `[0, 1)`, or text fits it as a regular expression."""
    if allowed is None or value is None:
        return
    if isinstance(value, str):
        fits = re.fullmatch(allowed, value) is not None
    else:
        low, high = map(float, allowed[1:-1].split(","))
        above = value >= low if allowed[0] == "[" else value > low
        fits = above and (value <= high if allowed[-1] == "]" else value < high)
    if not fits:
        raise UsageError(f"{name}={value}: expected {allowed if isinstance(value, str) else f'a value in {allowed}'}")


@functools.cache
def _kinds(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def apply(section: str, current: Any, values: Mapping[str, Any]) -> Any:
    """The dataclass `current` with `values` (by field name) converted and put in."""
    kinds, known = _kinds(type(current)), {f.name: f for f in fields(current)}  # type: ignore[arg-type]
    changed = {}
    for key, value in values.items():
        if key not in known:
            raise unknown(f"setting in {section!r}", key, known)
        changed[key] = convert(f"{section}.{key}", value, kinds[key])
        refuse_outside(f"{section}.{key}", changed[key], known[key].metadata.get("allowed"))
    return replace(current, **changed)


def split_dotted(dotted: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{"trainer.lr": 1} as {"trainer": {"lr": 1}}; an unknown section is a UsageError."""
    out: dict[str, dict[str, Any]] = {}
    for name, value in dotted.items():
        section, _, key = name.partition(".")
        if section not in (*SECTIONS, "method") or not key:
            raise unknown("setting", name, all_names())
        out.setdefault(section, {})[key] = value
    return out


def all_names() -> list[str]:
    """Every dotted name outside `method.*`, which depend on the method."""
    return [f"{s}.{f.name}" for s, cls in SECTIONS.items() for f in fields(cls)]


def resolve(method_class: type, *layers: Mapping[str, Any]) -> Settings:
    """Defaults with each layer of dotted settings on top, in order. `method.preset` picks one of the method's presets."""
    current: dict[str, Any] = {name: cls() for name, cls in SECTIONS.items()} | {"method": method_class()}
    for layer in layers:
        for section, values in split_dotted(_without_preset(method_class, layer)).items():
            current[section] = apply(section, current[section], values)
    return Settings(**current)


def _without_preset(method_class: type, layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """`layer` with `method.preset` replaced by what the preset stands for; what the layer itself says wins over it."""
    if "method.preset" not in layer:
        return layer
    presets: Mapping[str, Mapping[str, Any]] = getattr(method_class, "presets", {})
    chosen = layer["method.preset"]
    if chosen not in presets:
        raise unknown(f"preset of {getattr(method_class, 'name', method_class)}", str(chosen), presets)
    meant = {name if "." in name else f"method.{name}": value for name, value in presets[chosen].items()}
    return {**meant, **{name: value for name, value in layer.items() if name != "method.preset"}}


def flatten(settings: Settings, role: str | None = None) -> dict[str, Any]:
    """Dotted name -> value for every field (of that role), sorted by name. Tuples become lists, as JSON has them."""
    out = {}
    for section in (*SECTIONS, "method"):
        part = getattr(settings, section)
        for f in fields(part):
            if role is None or f.metadata.get("role", "identity") == role:
                value = getattr(part, f.name)
                out[f"{section}.{f.name}"] = list(value) if isinstance(value, tuple) else value
    return dict(sorted(out.items()))
