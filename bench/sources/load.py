"""The labelled source data sets by name: which are here, and how one is read. Imports nothing heavy."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.errors import SetupError, UsageError, unknown
from bench.sources import cifar10, conll2003, digits, fashion_mnist, topics
from bench.sources.arrays import SourceArrays, SourceSet

if TYPE_CHECKING:
    from bench.backbones import Backbone

Corrupt = Literal["none", "permuted_labels", "noise"]


def load_source(name: str, backbone: Backbone, data_dir: Path, corrupt: Corrupt, seed: int) -> SourceArrays:
    """The source data set `name` for `backbone`; `auto` is the first of its `sources` that is here.

    One that is named and not here is replaced by its stand-in, if it has one; the arrays say so (`origin`).
    `corrupt` makes control arms, drawn from `seed`: `permuted_labels` shuffles the labels over the samples, `noise`
    replaces every sample by uniform noise of the same shape (pixels 0 to 255; ids that occur in the data).
    Raises UsageError for an unknown name or the wrong modality, SetupError for data that are not here or of no use.
    """
    chosen = _choose(name, backbone, data_dir)
    arrays = checked(_corrupted(_read(chosen, data_dir, backbone), corrupt, seed))
    return replace(arrays, fingerprint=_fingerprint(arrays))


def _choose(name: str, backbone: Backbone, data_dir: Path) -> SourceSet:
    if name == "auto":
        here = [s for s in backbone.sources if SOURCES[s].missing(data_dir) is None]
        if not here:
            reasons = "; ".join(str(SOURCES[s].missing(data_dir)) for s in backbone.sources)
            raise SetupError(f"no source data for {backbone.name}: {reasons}")
        return SOURCES[here[0]]
    if name not in SOURCES:
        raise unknown("source data set", name, (*SOURCES, "auto"))
    chosen = SOURCES[name]
    if chosen.modality != backbone.modality:
        fitting = ", ".join(s.name for s in SOURCES.values() if s.modality == backbone.modality)
        raise UsageError(
            f"source.name={name}: {name} is {chosen.modality} data, but {backbone.name} is a {backbone.modality} "
            f"backbone; choose one of {fitting}, or auto"
        )
    return chosen


def _read(chosen: SourceSet, data_dir: Path, backbone: Backbone) -> SourceArrays:
    message = chosen.missing(data_dir)
    if message is None:
        return chosen.read(data_dir, backbone)
    if chosen.standin is None:
        raise SetupError(message)
    return chosen.standin(backbone)


def standin_serves(name: str, data_dir: Path) -> str | None:
    """What to do to have the real data where a stand-in serves for them; None for `auto`, which never takes one."""
    chosen = SOURCES.get(name)
    return chosen.missing(data_dir) if chosen and chosen.standin else None


def checked(arrays: SourceArrays) -> SourceArrays:
    """The same arrays, or SetupError where a class has fewer than two training samples or there is just one class."""
    import numpy as np

    counts = np.bincount(arrays.y[: arrays.train], minlength=len(arrays.classes))
    if len(counts) < 2:
        raise SetupError(
            f"source data {arrays.name}: {len(counts)} class; alignment needs at least two, choose another"
        )
    if lonely := [f"{c} ({n})" for c, n in zip(arrays.classes, counts) if n < 2]:
        raise SetupError(
            f"source data {arrays.name}: classes with fewer than two training samples: {', '.join(lonely)}; "
            "distances within a class need two, choose another source data set"
        )
    return arrays


def _corrupted(arrays: SourceArrays, corrupt: Corrupt, seed: int) -> SourceArrays:
    import numpy as np

    rng = np.random.default_rng(seed)
    if corrupt == "none":
        return arrays
    if corrupt == "permuted_labels":
        parts = (arrays.y[: arrays.train], arrays.y[arrays.train :])
        return replace(arrays, y=np.concatenate([rng.permutation(part) for part in parts]))
    if corrupt == "noise":
        if arrays.x.dtype == np.uint8:
            return replace(arrays, x=rng.integers(0, 256, arrays.x.shape, np.uint8))
        return replace(arrays, x=rng.choice(np.unique(arrays.x), arrays.x.shape))
    raise unknown("value for source.corrupt", corrupt, ("none", "permuted_labels", "noise"))


def _fingerprint(arrays: SourceArrays) -> str:
    import numpy as np

    digest = hashlib.sha256(f"{arrays.name} {arrays.x.shape} {arrays.train} {arrays.classes}".encode())
    for array in (arrays.x, arrays.y):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


SOURCES: dict[str, SourceSet] = {
    module.SOURCE.name: module.SOURCE for module in (cifar10, conll2003, digits, fashion_mnist, topics)
}
