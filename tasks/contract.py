"""What a task is: a declarative `Task`, the `Data` that its reader returns, and the error that bad files end in.

A task file defines one module-level `TASK = Task(...)`, a reader and a generator. It imports neither torch nor numpy
at module level (heavy imports live inside the functions), so that listing tasks stays instant. A task knows no method
and nothing of the harness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import numpy as np
    import torch

Kind = Literal["classes", "multilabel", "dense"]
Origin = Literal["official", "generated"]
Protocol_ = Literal["strict", "paper"]
OPTIONS = ("allow_stale",)
"""Switches of readers that exist."""
AGAIN = "Remove the file and get it again (`bench data fetch`), or make a stand-in (`bench data generate`)."
"""What to do about most files that cannot be used."""


class DataError(Exception):
    """A data file that cannot be used: which file, what was found, what was expected, what to do."""

    def __init__(self, file: Path | str, found: str, expected: str, cure: str = AGAIN):
        self.file, self.found, self.expected, self.cure = str(file), printable(found), expected, cure
        super().__init__(file, found, expected, cure)

    def __str__(self) -> str:
        return f"{self.file}: found {self.found}; expected {self.expected}. {self.cure}"


def require(holds: object, file: Path | str, found: str, expected: str, cure: str = AGAIN) -> None:
    """DataError unless `holds` is true."""
    if not holds:
        raise DataError(file, found, expected, cure)


def printable(text: str, most: int = 400) -> str:
    """`text` without control characters, which a terminal would obey, and cut to `most`: files have names in them."""
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= most else shown[: most - 3] + "..."


@dataclass(frozen=True)
class File:
    """One official file: where it belongs under the data folder and how to get it."""

    path: str
    """Path below the data folder, with forward slashes."""
    size: int | None = None
    """Bytes, where known."""
    url: str | None = None
    """Direct link, or None where no direct link exists any more (then `get` says how to obtain it)."""
    checksum: str | None = None
    """`md5:...` or `sha256:...`, where known."""
    get: str = ""
    """In words: where the file comes from, when there is no direct link; or how it is derived."""
    archive: str | None = None
    """Checksum of the tar archive that `url` leads to, where the file is one of its members (under `path`)."""


@dataclass(frozen=True)
class Batch:
    """Some samples as numpy arrays: `x` (B, C, *spatial) float32, `y` as in `Split`, `extra` per-sample side arrays."""

    x: np.ndarray
    y: np.ndarray
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)


class Split(Protocol):
    """One of train, val, test. `ArraySplit` is the in-memory one; a task whose data do not fit writes its own."""

    @property
    def labels(self) -> np.ndarray | None:
        """(n,) int64 class labels where the task has them (kind `classes`), else None. Never walks over the data."""
        ...

    def __len__(self) -> int: ...

    def batch(self, index: np.ndarray, rng: np.random.Generator | None) -> Batch:
        """The samples at `index`. With `rng`, randomly augmented (training); with None, deterministic (evaluation)."""
        ...


@dataclass(frozen=True)
class ArraySplit:
    """A split held in memory; the trainer keeps it on the device and augments it there, a batch at a time."""

    x: np.ndarray
    """(n, C, *spatial), float32, or uint8 that `scale` turns into float32."""
    y: np.ndarray
    """(n,) int64 for `classes`; (n, K) float32 in {0, 1} for `multilabel`; (n, K, *spatial) float32 for `dense`."""
    extra: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Further per-sample arrays that the loss or a metric reads, e.g. `ignore` masks or `record` numbers, (n, ...)."""
    scale: tuple[np.ndarray, np.ndarray] | None = None
    """(mean, std), each broadcastable to (C, *spatial): x is given out as (x - mean) / std."""
    augment: Callable[[torch.Tensor, torch.Generator], torch.Tensor] | None = None
    """Training-time augmentation of a batch (B, C, *spatial) already scaled, on its own device."""

    @property
    def labels(self) -> np.ndarray | None:
        return self.y if self.y.ndim == 1 else None

    def __len__(self) -> int:
        return len(self.x)

    def targets(self, index: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        """`y` and `extra` of the samples at `index`."""
        return self.y[index], {k: v[index] for k, v in self.extra.items()}

    def batch(self, index: np.ndarray, rng: np.random.Generator | None) -> Batch:
        """The samples at `index` as float32. `augment` is the trainer's to apply; `rng` is not used here."""
        import numpy as np

        x = self.x[index].astype(np.float32)
        if self.scale is not None:
            x = (x - self.scale[0]) / self.scale[1]
        return Batch(x.astype(np.float32), *self.targets(index))


def targets_of(split: Split, index: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """`y` and `extra` of the samples at `index`, as `batch(index, None)` has them.

    A split whose inputs take long to make may have a method `targets(index)` that gives these alone.
    """
    own = getattr(split, "targets", None)
    if own is not None:
        return own(index)
    batch = split.batch(index, None)
    return batch.y, batch.extra


@dataclass(frozen=True)
class Data:
    """What a reader returns: three splits in the units of the task, and what a record should know of them."""

    train: Split
    val: Split | None
    """None under the `paper` protocol, which merges validation into training."""
    test: Split
    input_shape: tuple[int, ...]
    """(C, L) or (C, H, W) of what was read; a stand-in may be smaller than the published shape."""
    output_shape: tuple[int, ...]
    """(K,) for classes and labels; (K, L) or (K, H, W) for dense targets."""
    decode: tuple[np.ndarray, np.ndarray] | None = None
    """(shift, scale) broadcastable to a dense output: the model's raw output times scale plus shift is in physical units."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Facts for the record: split policy and indices' fingerprint, decimation, frames scored, warnings, kept defects."""
    members: Mapping[str, Path] = field(default_factory=dict)
    """Every file that the splits come from beyond the task's `files` (wavs, images that a list names), by a name that
    does not depend on the folder. They enter the fingerprint, the same under every protocol and limit."""


@dataclass(frozen=True)
class Request:
    """What the harness asks a reader for."""

    root: Path
    """The folder below which the task's `files` lie (the data folder, or that of a stand-in: same layout)."""
    protocol: Protocol_ = "strict"
    limit: int | None = None
    """At most this many training samples, for learning-curve studies: which ones, `tasks.files.splits.drawn` says."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Switches such as `allow_stale`; a reader begins with `check_options`."""
    cache: Path | None = None
    """Folder for decimated or precomputed copies; None: nothing is cached."""
    seed: int = 0
    """Draws the training samples of a `limit`, and nothing else: one seed gives every method the same ones."""

    def check_options(self) -> None:
        """ValueError for a switch that does not exist."""
        unknown = sorted(set(self.options) - set(OPTIONS))
        if unknown:
            raise ValueError(f"unknown reader option {unknown[0]!r}; known: {', '.join(OPTIONS)}")


@dataclass(frozen=True)
class Task:
    """One dataset with its split, loss and metric, as the benchmark defines it."""

    name: str
    title: str
    suites: tuple[str, ...]
    kind: Kind
    input_shape: tuple[int, ...]
    """Published shape (C, L) or (C, H, W). One spatial axis means a text backbone, two a vision backbone."""
    output_shape: tuple[int, ...]
    loss: str
    """Name in `tasks.losses.LOSSES`."""
    metric: str
    """The score: a name in `tasks.metrics.METRICS`, which knows unit and direction."""
    more_metrics: tuple[str, ...]
    """Also computed and kept in the record."""
    trivial: str
    """The predictor that learns nothing: a name in `tasks.trivial.PREDICTORS`; a record has all that apply beside it."""
    backbone: str
    """The published backbone: `swin_base` or `roberta_base`."""
    splits: Mapping[str, int]
    """Published sizes: train, val, test (as the strict protocol cuts them)."""
    split_policy: str
    files: tuple[File, ...]
    recipe: Mapping[str, Any]
    """Published settings by dotted name, e.g. {"trainer.lr": 1e-4}: what `tasks.recipe.published` makes of a table's row."""
    quick: Mapping[str, Any]
    """The same for the quick profile: what differs from `recipe`."""
    read: Callable[[Request], Data]
    licence: str
    citation: str
    source: str
    """Where the official data live, and what the stand-in imitates."""
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Keyword arguments of `generate` per profile: `published`, `quick`, `tiny`, and `converged` where a task has it.
    Each has at least `samples`."""
    converged: Mapping[str, Any] | None = None
    """The same as `quick` for the converged profile: what differs from `quick`, chosen by a recorded search. None: the
    stand-in is a test of the machinery, for a line or a constant solves it, or nothing was shown to converge on it."""
    generate: Callable[..., None] | None = None
    """`generate(root, *, samples, **size)` writes stand-in files in the official layout below `root`; seeded per sample.
    None (with no `sizes`): the task has no stand-in and runs on its real files only."""
    defects: tuple[str, ...] = ()
    """Known defects of the official files or of the published evaluation, in words."""
    paper_metric: str | None = None
    """The score under the `paper` protocol where published code computes another; None: the same as `metric`."""
    paper_loss: str | None = None
    """The training loss under `paper` where published code has another; None: the same as `loss`."""
    paper_more_metrics: tuple[str, ...] | None = None
    """Also computed under `paper`, where its targets are in other units; None: `metric` and `more_metrics`."""
    paper_recipe: Mapping[str, Any] = field(default_factory=dict)
    """Settings under `paper` where published code computes something else than its own `recipe` says."""

    @property
    def dims(self) -> int:
        """Number of spatial axes of the input: 1 or 2."""
        return len(self.input_shape) - 1

    @property
    def modality(self) -> str:
        """Modality of the backbones that fit: `text` for 1D inputs, `vision` for 2D ones."""
        return "text" if self.dims == 1 else "vision"
