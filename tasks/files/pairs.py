"""From a PDEBench file to a task: one frame in, one frame out, decimated, cached, cut into splits, with notes.

`tasks.pde.Pairs` says what a task takes from its file. `load` reads it (or the cached copy), `cut` makes the splits; a task whose
published code normalises does so between the two, by a function of the last section.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.contract import AGAIN, ArraySplit, Data, DataError, File, Request, require
from tasks.files.copies import cached
from tasks.files.locate import find
from tasks.files.pdebench import Header, read_frames, read_header
from tasks.files.splits import drawn, indices_hash, moments, split, subset_note

if TYPE_CHECKING:
    from tasks.pde import Pairs

FEWEST = 5
"""Fewest samples that can be split."""
EPS = 1e-5
"""Added to the standard deviation, which divides by n - 1."""


@dataclass(frozen=True)
class Loaded:
    """All samples of a task, before they are split."""

    x: np.ndarray
    """(n, C, *space) float32, frame 0."""
    y_train: np.ndarray
    y_test: np.ndarray
    """(n, K, *space) float32; the same array as `y_train` unless the protocol has two target frames."""
    header: Header
    notes: dict[str, Any]


def load(request: Request, file: File, spec: Pairs) -> Loaded:
    """Input and target frames of every sample, in physical units, from the file or its cached decimated copy."""
    request.check_options()
    header = read_header(find(request.root, file))
    notes = check(header, spec)
    last = header.frames - 1
    wanted = [last, last]
    if request.protocol == "paper":
        wanted = [round(f * last / max(1, spec.frames - 1)) for f in (spec.paper_train, spec.paper_test)]
    stride = max(1, header.shape[0] // spec.points)
    arrays = _cached(request.cache, header, {"x": 0} | {f"y{f}": f for f in wanted}, spec, stride)
    notes |= {"frames": {"input": 0, "target_train": wanted[0], "target_test": wanted[1], "stored": header.frames}}
    notes |= {"stride": stride, "axes": spec.axes, "decimation": "stride"}
    notes |= {"stored": {"frames": header.frames, "points per axis": min(header.shape)}}
    notes |= {"published": {"frames": spec.frames, "points per axis": spec.stored or spec.points}}
    return Loaded(arrays["x"], arrays[f"y{wanted[0]}"], arrays[f"y{wanted[1]}"], header, notes)


def check(header: Header, spec: Pairs) -> dict[str, Any]:
    """Whether `header` is of the kind that `spec` wants; returns first notes (coefficients, warnings)."""
    path, warnings = header.path, []
    found, wanted = (header.layout, len(header.shape)), (spec.layout, len(spec.axes))
    require(found == wanted, path, "a {} file in {}D".format(*found), "a {} file in {}D".format(*wanted))
    most = max(*spec.inputs, *spec.targets) + (0 if spec.layout == "darcy" else 1)
    require(header.channels >= most, path, f"{header.channels} channels", f"at least {most}")
    several = spec.layout == "darcy" or header.frames > 1
    require(several, path, "a single frame", f"{spec.frames} frames (at least 2)")
    require(header.samples >= FEWEST, path, f"{header.samples} samples", f"at least {FEWEST}, to split them")
    for name, value in spec.constants.items():
        given = header.constants.get(name)
        if given is None:
            warnings.append(f"the file does not state {name}; taken to be {value:g}")
        elif not np.isclose(given, value, rtol=1e-5):
            raise DataError(path, f"{name} = {given:g}", f"{name} = {value:g}", "This is another variant. " + AGAIN)
    return {"constants": dict(spec.constants), "warnings": warnings}


def _cached(
    folder: Path | None, header: Header, frames: Mapping[str, int], spec: Pairs, stride: int
) -> dict[str, np.ndarray]:
    """The arrays by name; read from the file once, then from an uncompressed copy."""
    wanted = {name: (frame, spec.inputs if name == "x" else spec.targets) for name, frame in frames.items()}
    choices = (sorted(frames.items()), stride, spec)
    return cached(header.path, folder, __name__, choices, frames, lambda: read_frames(header, wanted, stride))


def cut(request: Request, spec: Pairs, loaded: Loaded, standardise: bool = False, policy: str | None = None) -> Data:
    """The splits of `request.protocol`: `strict` has a validation split, `paper` has none.

    With `standardise`, inputs are given out as (x - mean) / std and predictions are decoded as raw * std + mean, both
    per channel over the training samples: targets and metrics stay in physical units.
    """
    policy = policy or spec.policy
    rows = split(policy, len(loaded.x), validation=request.protocol == "strict")
    train = drawn(rows["train"], request)
    x, y = loaded.x, loaded.y_train
    scale = moments(x[train]) if standardise else None
    parts = {"train": ArraySplit(x[train], y[train], scale=scale)}
    parts["test"] = ArraySplit(x[rows["test"]], loaded.y_test[rows["test"]], scale=scale)
    if "val" in rows:
        parts["val"] = ArraySplit(x[rows["val"]], y[rows["val"]], scale=scale)
    spread = _spread(parts["test"].y)
    notes = {
        **loaded.notes,
        "warnings": [*loaded.notes["warnings"], *_zero_targets(parts)],
        "split_policy": policy,
        "indices_sha256": indices_hash({**rows, "train": train}),
        "sizes": {name: len(part) for name, part in parts.items()},
        **subset_note(request, parts["train"]),
        "inputs_standardised": standardise,
        "target_nearly_constant": float(np.mean(spread < 0.01)),
    }
    return Data(
        parts["train"], parts.get("val"), parts["test"], x.shape[1:], y.shape[1:],
        decode=moments(y[train]) if standardise else None, notes=notes,
    )  # fmt: skip


def _zero_targets(parts: Mapping[str, ArraySplit]) -> list[str]:
    """A warning for each split with targets that are zero everywhere: a relative error divides by them."""
    zero = {name: int((~part.y.reshape(len(part), -1).any(axis=1)).sum()) for name, part in parts.items()}
    return [
        f"{count} of {len(parts[name])} {name} targets are zero everywhere, where nRMSE, as score or loss, is not finite"
        for name, count in zero.items()
        if count
    ]


def _spread(y: np.ndarray) -> np.ndarray:
    """Per sample, standard deviation over the points as a fraction of the root mean square: 0 is a constant field."""
    flat = y.reshape(len(y), -1).astype(np.float64)
    rms = np.sqrt((flat**2).mean(axis=1))
    return flat.std(axis=1) / np.where(rms > 0, rms, 1.0)


# -- what published code does to the CFD files before it trains, for protocol `paper`, flaws included ------------------


def end_to_end(loaded: Loaded) -> Loaded:
    """The fields (n, C, L) laid one after the other, (n, 1, C L)."""

    def flat(a: np.ndarray) -> np.ndarray:
        return a.reshape(len(a), 1, -1)

    notes = {**loaded.notes, "fields": "laid end to end"}
    return replace(loaded, x=flat(loaded.x), y_train=flat(loaded.y_train), y_test=flat(loaded.y_test), notes=notes)


def normalise_by_inputs(request: Request, loaded: Loaded, policy: str) -> Loaded:
    """Inputs and targets z-scored per point by the statistics of the training inputs; never undone."""
    train = drawn(split(policy, len(loaded.x), validation=False)["train"], request)
    kept = "inputs and targets z-scored per point by the training inputs' statistics; scores are in that space"
    return _normalised(loaded, loaded.x[train], loaded.x[train], kept)


def normalise_each_frame(loaded: Loaded, first: int) -> Loaded:
    """Inputs and targets z-scored per point, each by the `first` samples of the file (train or test); never undone."""
    kept = f"inputs and targets z-scored per point by the first {first} samples of the file; scores are in that space"
    return _normalised(loaded, loaded.x[:first], loaded.y_train[:first], kept)


def _normalised(loaded: Loaded, for_x: np.ndarray, for_y: np.ndarray, kept: str) -> Loaded:
    def score(a: np.ndarray, by: np.ndarray) -> np.ndarray:
        return ((a - by.mean(axis=0)) / (by.std(axis=0, ddof=1) + EPS)).astype(np.float32)

    return replace(
        loaded, x=score(loaded.x, for_x), y_train=score(loaded.y_train, for_y), y_test=score(loaded.y_test, for_y),
        notes={**loaded.notes, "kept_defects": [kept]},
    )  # fmt: skip
