"""What a study is: a question, the arms that answer it, the sizes it comes in, and the rules that decide.

A study is one TOML file of this folder. Every key of the file is a field below; an unknown key is an error. Imports
nothing heavy.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import UsageError, unknown

SIZES = ("tiny", "quick", "medium", "large", "full")
"""tiny: for tests. quick: embedded data, two cores, minutes. medium: more tasks or seeds. large: large stand-ins, a GPU. full: as published."""
MEASURES = {
    "score": "the score that the protocol reports",
    "score_last": "the score after the last epoch",
    "score_best_test": "the best score of any epoch on test (an oracle)",
    "probe_error": "error of the linear probe on source data after fine-tuning",
    "probe_pretrained": "error of the same probe on the pretrained body",
    "probe_rise": "rise of the probe error by fine-tuning",
    "discrepancy": "modality semantic knowledge discrepancy D",
    "alignment_loss": "ORCA's distance between source and target at the end of stage 1",
}
"""What a rule can compare. All but the scores are better when lower; a score has its metric's direction."""
KINDS = ("better", "equal", "correlated")
T = TypeVar("T")


@dataclass(frozen=True)
class Arm:
    """One of the things compared: a method under some settings, on every task and seed of the study's size."""

    name: str
    method: str
    set: tuple[tuple[str, Any], ...] = ()
    """Settings of this arm alone, by dotted name."""
    grid: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    """One cell for each value. The arm is then, on each task, the variant that is best on validation."""
    times: float = 1.0
    """Stage 2's epochs, and the length of its decay, times those of each task's recipe: for a comparison at one price."""
    at: float | None = None
    """Place on the horizontal axis of the figure that shows the score along a scanned setting."""


@dataclass(frozen=True)
class Size:
    """How much of the study is run."""

    cost: str
    """What it takes, in words."""
    profile: str
    tasks: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    protocol: str = "strict"
    set: tuple[tuple[str, Any], ...] = ()
    """Settings of every arm."""
    arms: tuple[str, ...] = ()
    """The arms that are run; empty: all."""


@dataclass(frozen=True)
class Rule:
    """One executable statement. `bench.report.verdict` says how each kind is decided."""

    says: str
    """The statement in words."""
    claim: int | None = None
    """Number of the claim in docs/studies.md."""
    kind: str = "better"
    """better: `arm` beats `against`. equal: they differ by less than `margin`. correlated: `x` rises with `y`."""
    arm: str = ""
    against: str = ""
    contrast: tuple[tuple[str, Any], ...] = ()
    """Instead of `arm` and `against`: weights by arm that sum to 0; the weighted sum of errors is claimed positive."""
    measure: str = "score"
    against_measure: str = ""
    """What of `against` is compared, where it is not `measure`."""
    x: str = ""
    y: str = ""
    """Measures of a correlation, both turned so that lower is better."""
    unit: str = "runs"
    """What a correlation counts: `runs` (within each task, then pooled) or `tasks` (means over seeds and arms)."""
    margin: float = 2.0
    """Smallest effect that would matter, in % (scores), points (probe, discrepancy) or as a correlation."""
    alpha: float = 0.05
    least: int = 6
    """Fewest units (paired runs, or points of a correlation) that may decide."""
    modality: str = ""
    """Only tasks of this modality: text (1D) or vision (2D)."""


@dataclass(frozen=True)
class Study:
    """A named set of cells with the question it answers and what answers it."""

    name: str
    question: str
    claims: tuple[int, ...]
    source: str
    answer: str
    """The figure and table that answer."""
    arms: tuple[Arm, ...]
    sizes: Mapping[str, Size]
    rules: tuple[Rule, ...]
    analysis: tuple[tuple[str, Any], ...] = ()
    """Analyses that every cell needs, e.g. (("probe", True),)."""

    def size(self, name: str) -> Size:
        """The size of that name, or a UsageError."""
        if name not in self.sizes:
            raise unknown(f"size of study {self.name!r}", name, self.sizes)
        return self.sizes[name]

    def arms_at(self, size: str) -> tuple[Arm, ...]:
        """The arms that this size runs, in the order of the file."""
        chosen = self.size(size).arms
        return tuple(arm for arm in self.arms if not chosen or arm.name in chosen)


def read(path: Path) -> Study:
    """The study in a TOML file. Its name is the file's; UsageError with file and key where something does not fit."""
    plain = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        sizes = {name: _make(Size, plain.pop(name)) for name in SIZES if name in plain}
        arms = tuple(_make(Arm, arm) for arm in plain.pop("arms", ()))
        rules = tuple(_make(Rule, rule) for rule in plain.pop("rules", ()))
        study = _make(Study, {"name": path.stem, **plain}, sizes=sizes, arms=arms, rules=rules)
        _check(study)
    except (TypeError, ValueError) as error:
        raise UsageError(f"study {path}: {error}") from None
    return study


def _make(cls: type[T], plain: Mapping[str, Any], **parts: Any) -> T:
    known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
    for key in plain:
        if key not in known:
            raise unknown(f"key of {cls.__name__.lower()}", key, known)
    return cls(**{key: _frozen(value) for key, value in plain.items()}, **parts)


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return tuple((key, _frozen(inner)) for key, inner in value.items())
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _check(study: Study) -> None:
    names = [arm.name for arm in study.arms]
    if len(set(names)) != len(names):
        raise ValueError("two arms have one name")
    for size in study.sizes.values():
        for name in size.arms:
            if name not in names:
                raise unknown("arm", name, names)
    for rule in study.rules:
        _check_rule(rule, names)


def _check_rule(rule: Rule, names: list[str]) -> None:
    if rule.kind not in KINDS:
        raise unknown("kind of rule", rule.kind, KINDS)
    measures = [rule.x, rule.y] if rule.kind == "correlated" else [rule.measure, rule.against_measure or rule.measure]
    for measure in measures:
        if measure not in MEASURES:
            raise unknown("measure", measure, MEASURES)
    if rule.kind == "correlated":
        return
    if rule.contrast and abs(sum(weight for _, weight in rule.contrast)) > 1e-12:
        raise ValueError(f"the weights of {rule.says!r} sum to {sum(w for _, w in rule.contrast)}, expected 0")
    for name in [arm for arm, _ in rule.contrast] or [rule.arm, rule.against]:
        if name not in names:
            raise unknown("arm", name, names)
