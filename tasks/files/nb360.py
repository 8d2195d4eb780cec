"""What the readers of NAS-Bench-360's files share: checks that end in one clear message, and the cutting of splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tasks.contract import ArraySplit, Data, DataError, Request, Split, require
from tasks.files.splits import VALIDATION_SEED, drawn, indices_hash, subset_note

KINDS = {"f": "floats", "u": "unsigned integers", "i": "integers", "b": "booleans", "O": "objects", "U": "text"}


def shape_text(shape: tuple[int | None, ...]) -> str:
    """(None, 52, 16) as '(n, 52, 16)'."""
    return "(" + ", ".join("n" if s is None else str(s) for s in shape) + ("," if len(shape) == 1 else "") + ")"


def member(path: Path, table: Any, key: str) -> Any:
    """`table[key]` of a dict whose keys are str or (Python 2) bytes."""
    require(isinstance(table, Mapping), path, f"a {type(table).__name__}", f"a dict with the key {key!r}")
    for name in (key, key.encode()):
        if name in table:
            return table[name]
    keys = ", ".join(sorted(str(k) for k in table)[:8]) or "none"
    raise DataError(path, f"a dict with the keys {keys}", f"the key {key!r}")


def array(path: Path, name: str, value: Any, shape: tuple[int | None, ...], kinds: str = "fiu") -> np.ndarray:
    """`value` as an array of that shape (None: any size but 0) and dtype kind, without NaN or infinity."""
    expected = f"{name} of shape {shape_text(shape)}, {' or '.join(KINDS[k] for k in kinds)}, all finite"
    out = as_array(path, name, value, expected)
    fits = out.ndim == len(shape) and all(s is None or s == o for s, o in zip(shape, out.shape, strict=True))
    require(fits, path, f"{name} of shape {shape_text(out.shape)}", expected)
    require(out.size > 0, path, f"{name} is empty, shape {shape_text(out.shape)}", expected)
    require(out.dtype.kind in kinds, path, f"{name} of dtype {out.dtype}", expected)
    if out.dtype.kind == "f":
        check_finite(path, name, out)
    return out


def as_array(path: Path, name: str, value: Any, expected: str) -> np.ndarray:
    """`value` as an array. Of lists only those of numbers: of text numpy would make every entry as long as the longest."""
    require(isinstance(value, np.ndarray | list | tuple), path, f"{name} is a {type(value).__name__}", expected)
    level = [] if isinstance(value, np.ndarray) else [value]
    while level:
        text = any(isinstance(v, str | bytes) for row in level for v in row)
        require(not text, path, f"{name} has text in it", expected)
        level = [v for row in level for v in row if isinstance(v, list | tuple)]
    try:
        return np.asarray(value)
    except (ValueError, OverflowError) as error:
        raise DataError(path, f"{name} is ragged", expected) from error


def check_finite(path: Path, name: str, values: np.ndarray, first: int = 0) -> None:
    """DataError with the first sample of `values` that holds NaN or infinity; `first` is the number of row 0."""
    for start in range(0, len(values), 4096):
        bad = ~np.isfinite(values[start : start + 4096])
        if bad.any():
            row = first + start + int(np.argmax(bad.reshape(len(bad), -1).any(1)))
            raise DataError(path, f"NaN or infinity in {name}, first in sample {row}", "finite numbers only")


def labels(path: Path, name: str, value: Any, count: int, classes: int, first: int = 0) -> np.ndarray:
    """`count` class labels in first..first+classes-1 as (count,) int64 starting at 0."""
    expected = f"{count} whole numbers, one per sample"
    out = as_array(path, name, value, expected)
    if out.ndim == 2 and out.shape[1] == 1:
        out = out[:, 0]
    whole = out.dtype.kind in "iu" or (out.dtype.kind == "f" and np.isfinite(out).all() and (out == np.rint(out)).all())
    fits = out.shape == (count,) and whole
    require(fits, path, f"{name} of shape {shape_text(out.shape)}, dtype {out.dtype}", expected)
    wrong = (out < first) | (out >= first + classes)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise DataError(path, f"{name} {out[i]} at sample {i}", f"labels {first}..{first + classes - 1}")
    return out.astype(np.int64) - first


def entry(path: Path, table: Any, key: str, shape: tuple[int | None, ...], kinds: str = "fiu") -> np.ndarray:
    """`member`, checked as by `array`."""
    return array(path, key, member(path, table, key), shape, kinds)


def last_rows(n: int, val: int) -> dict[str, np.ndarray]:
    """Policy `last`: the last `val` samples validate."""
    return {"train": np.arange(n - val), "val": np.arange(n - val, n)}


def first_rows(n: int, val: int) -> dict[str, np.ndarray]:
    """Policy `first`: the first `val` samples validate."""
    return {"train": np.arange(val, n), "val": np.arange(val)}


def seeded_rows(n: int, val: int) -> dict[str, np.ndarray]:
    """Policy `seeded`: `val` samples drawn with the benchmark's fixed seed validate, both parts in file order."""
    chosen = np.sort(np.random.default_rng(VALIDATION_SEED).choice(n, val, replace=False))
    return {"train": np.setdiff1d(np.arange(n), chosen), "val": chosen}


def training_rows(
    request: Request,
    n: int,
    val: int,
    total: int,
    choose: Callable[[int, int], dict[str, np.ndarray]] = last_rows,
    labels: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The rows that `request` asks for of `n` training samples: of `total` published ones `val` validate, of fewer in
    proportion; `choose` is the policy, `labels` (n,) are the classes where the task has them."""
    held_out = min(n - 1, max(1, round(n * val / total))) if n > 1 else 0
    return limited(choose(n, held_out), request, labels)


def limited(rows: dict[str, np.ndarray], request: Request, labels: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The rows that `request` asks for: train and val merged under `paper`, at most `limit` training rows."""
    if request.protocol == "paper" and "val" in rows:
        rows = {"train": np.sort(np.concatenate([rows["train"], rows["val"]]))}
    return {**rows, "train": drawn(rows["train"], request, labels)}


def read_first(parts: Mapping[str, Split]) -> None:
    """Read one sample of each split, so that wrong files are known before training; the others follow on demand."""
    for part in parts.values():
        part.batch(np.arange(1), None)


def below(folder: Path, paths: Iterable[Path]) -> dict[str, Path]:
    """The paths by their names below `folder`: for `Data.members`."""
    return {path.relative_to(folder).as_posix(): path for path in paths}


def take(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """values[rows] without a copy where rows are consecutive."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return values[rows[0] : rows[0] + len(rows)]
    return values[rows]


def assemble(
    request: Request,
    policy: str,
    rows: Mapping[str, np.ndarray],
    parts: Mapping[str, Split],
    input_shape: tuple[int, ...],
    output_shape: tuple[int, ...],
    notes: Mapping[str, Any] | None = None,
    decode: tuple[np.ndarray, np.ndarray] | None = None,
    members: Mapping[str, Path] | None = None,
) -> Data:
    """`Data` of the given parts, with the split's policy, index hash and sizes in its notes."""
    facts = {
        "split_policy": policy,
        "protocol": request.protocol,
        "indices_sha256": indices_hash(rows),
        "sizes": {name: len(part) for name, part in parts.items()},
        **subset_note(request, parts["train"]),
    }
    all_notes = {**facts, **(notes or {})}
    splits = parts["train"], parts.get("val"), parts["test"]
    return Data(*splits, input_shape, output_shape, decode, all_notes, members or {})


def in_memory(
    request: Request,
    policy: str,
    rows: Mapping[str, np.ndarray],
    training: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    output_shape: tuple[int, ...],
    *,
    notes: Mapping[str, Any] | None = None,
    decode: tuple[np.ndarray, np.ndarray] | None = None,
    scale: tuple[np.ndarray, np.ndarray] | None = None,
    augment: Callable[..., Any] | None = None,
) -> Data:
    """`Data` of (x, y) in memory: `rows` of `training`, all of `test`. `augment` goes to training only."""
    x, y = training
    parts: dict[str, Split] = {
        name: ArraySplit(take(x, r), take(y, r), scale=scale, augment=augment if name == "train" else None)
        for name, r in rows.items()
    }
    parts["test"] = ArraySplit(*test, scale=scale)
    return assemble(request, policy, rows, parts, x.shape[1:], output_shape, notes, decode)
