"""The types of what lies inside a record and beside it, as `bench.records.schema` checks them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, NotRequired, TypedDict

from bench.records.schema import PLAIN, Rule

Name = Annotated[str, Rule("a name (letters, digits, _ . + -; at most 100)", re.compile(r"\w[\w.+-]{0,99}").fullmatch)]
"""What becomes part of a file name."""
Word = Annotated[str, Rule("text without control characters", str.isprintable)]
"""What stands beside an axis."""
AnyText = Annotated[Any, Rule("text", lambda v: isinstance(v, str))]
"""Text that may hold bytes of a path that are none, as half of a surrogate pair each."""
Count = Annotated[int, Rule("0 or more", lambda v: v >= 0)]


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


Time = Annotated[str, Rule("a time in ISO 8601 with its zone", _is_time)]


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool) or PLAIN[float].holds(value) or PLAIN[str].holds(value)


def _is_setting(value: Any) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, list) else _is_plain(value)


Setting = Annotated[Any, Rule("a setting: true, false, null, a number, text, or a list of them", _is_setting)]


class Metric(TypedDict):
    """A score with what it takes to read it; None where it was not finite."""

    value: float | None
    unit: str
    higher_is_better: bool


class Trivial(TypedDict, total=False):
    """The best predictor that learns nothing, and the scores of all of them."""

    name: str | None
    score: float | None
    metrics: dict[str, Metric]
    all: dict[str, float | None]


class Sizes(TypedDict, total=False):
    """Samples of each split."""

    train: Count | None
    val: Count | None
    test: Count | None


class Notes(TypedDict, total=False):
    """What a reader says of its files, as far as reports read it."""

    warnings: list[AnyText]
    target_nearly_constant: float


class Data(TypedDict, total=False):
    """What was read: `verification` says of each published file whether it is the one that was published,
    `unlike_published` in what the data differ from the published numbers and shapes; `members` counts further files."""

    fingerprint: str | None
    verification: dict[str, AnyText]
    unlike_published: list[AnyText]
    files: list[AnyText]
    members: Count
    sizes: Sizes
    input_shape: list[Count]
    output_shape: list[Count]
    notes: Notes


class Body(TypedDict):
    """The encoder of the backbone: the hash of its weights (None: random ones were allowed), and how many they are."""

    sha256: str | None
    parameters: Count


class Source(TypedDict, total=False):
    """The source data of stage 1 and of the analyses. `origin` as of a task; old records have none, nor had they stand-ins."""

    name: Word
    origin: Word
    fingerprint: str
    classes: Count
    count: Count


class Searched(TypedDict):
    """The search that a cell belongs to (`bench.search.space.Searched`); `trials` is None of a trial."""

    space: dict[str, Word]
    sampler: Word
    seed: Count
    trials: Count | None


class Git(TypedDict, total=False):
    """The checkout that the code ran from."""

    commit: str | None
    dirty: bool | None
    commits: list[str]


class Code(TypedDict, total=False):
    """Hashes of the plug-ins' source."""

    task: str
    method: str


class Error(TypedDict, total=False):
    """How a cell failed."""

    type: AnyText
    message: AnyText
    traceback: AnyText
    log: AnyText


class Sidecars(TypedDict, total=False):
    """Names of the files beside a record."""

    curves: str | None
    arrays: str | None
    predictions: str | None


class Skipped(TypedDict):
    """An analysis that has no meaning for this cell."""

    skipped: str


class Probe(TypedDict):
    """Errors of the linear probe (%) by epoch with their intervals, the pretrained body's, and the source data's name."""

    epochs: list[Count]
    error: list[float]
    low: list[float]
    high: list[float]
    pretrained_error: float
    source: NotRequired[Word]


def _one_for_each_epoch(probe: Any) -> bool:
    return len({len(probe[key]) for key in ("epochs", "error", "low", "high")}) == 1


class Tsne(TypedDict):
    """Where the coordinates in the arrays are from."""

    epoch: Count


class Discrepancy(TypedDict, total=False):
    """D in its variants (no unit), and the pairs (target class, source class) behind it."""

    d: float | None
    unnormalised: float | None
    renormalised: float | None
    renormalised_exact: bool | None
    matched_only: float | None
    chance: float | None
    pairing: Annotated[list[list[str]], Rule("pairs of names", lambda v: all(len(pair) == 2 for pair in v))]
    source: Word


class Cka(TypedDict):
    """Linear CKA to the pretrained body, by epoch."""

    value: Annotated[list[float], Rule("a list that is not empty", len)]


class Similarity(TypedDict):
    """How near the body stayed to the pretrained one: CKA, and relative movement by block where it started from it."""

    cka: Cka
    movement: NotRequired[dict[str, float]]


class Analysis(TypedDict, total=False):
    """What the analyses came to; their arrays are in the sidecar."""

    probe: Annotated[Probe, Rule("lists of one length", _one_for_each_epoch)] | Skipped
    tsne: Tsne | Skipped
    discrepancy: Discrepancy
    similarity: Similarity | Skipped


class Stage1Row(TypedDict):
    """An epoch of one phase of stage 1, as the method named it; it may log more."""

    phase: str
    loss: float | None


class Stage2Row(TypedDict):
    """An epoch of stage 2, counted from 1: mean training loss, and where evaluated, scores in the record's metric and unit.

    None where not finite.
    """

    epoch: Count
    loss: NotRequired[float | None]
    val: NotRequired[float | None]
    test: NotRequired[float | None]


class Curves(TypedDict, total=False):
    """The sidecar `.curves.json`: rows by epoch, with `steps`, `seconds`, and as the epoch ends `lr` and the part of the phase that is `done`."""

    stage1: list[Stage1Row]
    stage2: list[Stage2Row]
