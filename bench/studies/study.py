"""What a study is: a question, the arms that answer it, the sizes it comes in, and the rules that decide.

A study is one TOML file, of this folder or a user's own. Every key of the file is a field below; an unknown key and a
value of another type are errors. Imports nothing heavy.
"""

from __future__ import annotations

import tomllib
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import UsageError, unknown
from tasks.files.regular import NOTE, read_linked

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
MATTERS = 2.0
"""The smallest effect that would matter, where nobody says another: % of a score, points of a probe error or D."""
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

    profile: str
    cost: str = ""
    """What it takes, in words."""
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
    margin: float = MATTERS
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
    reference: str
    """What `--study` takes: the name of a study of this folder, or the path of a user's file."""
    question: str
    arms: tuple[Arm, ...]
    sizes: Mapping[str, Size]
    rules: tuple[Rule, ...] = ()
    claims: tuple[int, ...] = ()
    source: str = ""
    answer: str = ""
    """The figure and table that answer."""
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
    with where(f"study {path}"):
        try:
            plain = tomllib.loads(read_linked(path, NOTE).decode())
        except (OSError, ValueError) as error:  # TOML's and Unicode's errors are ValueErrors
            raise UsageError(str(getattr(error, "strerror", None) or error)) from None
        sizes = {name: _make(Size, plain.pop(name), name) for name in SIZES if name in plain}
        arms = tuple(_make(Arm, arm, f"arms {i}") for i, arm in enumerate(_tables(plain, "arms"), 1))
        rules = tuple(_make(Rule, rule, f"rules {i}") for i, rule in enumerate(_tables(plain, "rules"), 1))
        reference = path.stem if path.parent == Path(__file__).parent else str(path)
        named = {"name": path.stem, "reference": reference, "sizes": sizes, "arms": arms, "rules": rules}
        study = _make(Study, plain, "", **named)
        _check(study)
    return study


@contextmanager
def where(place: str) -> Iterator[None]:
    """Put a place before the message of a UsageError."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{place}: {error}" if place else str(error)) from None


def _tables(plain: dict[str, Any], name: str) -> list[Any]:
    """The tables of an array, taken out of `plain`."""
    found = plain.pop(name, [])
    if not isinstance(found, list):
        raise UsageError(f"{name}: expected tables, each under [[{name}]]")
    return found


def _make(cls: type[T], plain: Any, place: str, **parts: Any) -> T:
    """A `cls` of a table's values and of `parts`; UsageError with the place where a key or value does not fit."""
    if not isinstance(plain, dict):
        raise UsageError(f"{place} = {plain!r}: expected a table")
    known = {f.name: f for f in fields(cls) if f.name not in parts}  # type: ignore[arg-type]
    kinds = typing.get_type_hints(cls)
    with where(f"[{place}]" if place else ""):
        for key, value in plain.items():
            if key not in known:
                others = ("arms", "rules", *SIZES) if cls is Study else ()
                raise unknown("key", key, [*known, *others])
            if not _fits(value, kinds[key]):
                raise UsageError(f"{key} = {value!r}: expected {WORDS[kinds[key]]}")
        if missing := [name for name, f in known.items() if f.default is MISSING and name not in plain]:
            raise UsageError(f"{' and '.join(missing)}: missing")
        return cls(**{key: _frozen(value) for key, value in plain.items()}, **parts)


WORDS: Mapping[Any, str] = {
    str: "text",
    int | None: "a whole number",
    int: "a whole number",
    float: "a number",
    float | None: "a number",
    tuple[str, ...]: "a list of text",
    tuple[int, ...]: "a list of whole numbers",
    tuple[tuple[str, Any], ...]: "a table of name = value",
    tuple[tuple[str, tuple[Any, ...]], ...]: "a table of name = [value, value]",
}
"""What a value of each type of field is in TOML."""


def _fits(value: Any, kind: Any) -> bool:
    """Whether a TOML value is of a field's type."""
    word = WORDS[kind]
    if "table" in word:
        return isinstance(value, dict) and ("[" not in word or all(isinstance(v, tuple) for _, v in _frozen(value)))
    if "list" in word:
        return isinstance(value, list) and all(_fits(item, typing.get_args(kind)[0]) for item in value)
    types = {"text": (str,), "a whole number": (int,), "a number": (int, float)}[word]
    return isinstance(value, types) and not isinstance(value, bool)


def _frozen(value: Any) -> Any:
    """Lists as tuples and a table as pairs; `trainer.lr = 1` without quotes, in TOML a table in a table, as one name."""
    if isinstance(value, dict):
        below = [(key, inner) for key, inner in value.items() if isinstance(inner, dict)]
        flat = value | {f"{key}.{name}": v for key, inner in below for name, v in inner.items()}
        return tuple((key, _frozen(inner)) for key, inner in flat.items() if not isinstance(inner, dict))
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _check(study: Study) -> None:
    for part, name in (
        (study.sizes, f"size: one of {', '.join(f'[{size}]' for size in SIZES)}"),
        (study.arms, "[[arms]]"),
    ):
        if not part:
            raise UsageError(f"it has no {name}")
    names = [arm.name for arm in study.arms]
    if len(set(names)) != len(names):
        raise UsageError("two arms have one name")
    for key, size in study.sizes.items():
        for name in size.arms:
            if name not in names:
                raise unknown(f"arm in [{key}]", name, names)
    for number, rule in enumerate(study.rules, 1):
        with where(f"[rules {number}]"):
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
        raise UsageError(f"the weights of {rule.says!r} sum to {sum(w for _, w in rule.contrast)}, expected 0")
    for name in [arm for arm, _ in rule.contrast] or [rule.arm, rule.against]:
        if name not in names:
            raise unknown("arm", name, names)
