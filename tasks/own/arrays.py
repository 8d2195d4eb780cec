"""Reading a user's arrays from npz, csv or parquet, and refusing what could not be trained on, in one clear message.

Nothing is unpickled. What comes out is checked: shapes that a task can have, finite numbers, labels 0..K-1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.contract import DataError, Kind, require
from tasks.files.arrays import LARGEST_DATA, read_arrays

ARRAYS = ("x", "y", "split", "group")
"""What an `.npz` may hold; others in it are left alone."""
PARTS = ("train", "val", "test")
KINDS: tuple[Kind, ...] = ("classes", "multilabel", "dense")
FEWEST = 5
"""Samples below which no split into three parts says anything."""


@dataclass(frozen=True)
class Arrays:
    """Checked samples of one task."""

    x: np.ndarray
    """(n, C, L) or (n, C, H, W) float32."""
    y: np.ndarray
    """(n,) int64 for classes; (n, K) float32 in {0, 1} for multilabel; (n, K, *spatial) float32 for dense."""
    classes: tuple[str, ...] = ()
    """What the labels were called, by number; only for kind `classes`."""
    split: np.ndarray | None = None
    """(n,) of `train`, `val`, `test`, where the file says who is where."""
    group: np.ndarray | None = None
    """(n,) of names; samples of one group (a patient, a recording) never lie in two parts."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """(K,) for classes and labels, (K, *spatial) for dense targets."""
        return (len(self.classes),) if self.classes else tuple(self.y.shape[1:])


def read(path: Path, kind: Kind, targets: Sequence[str] = ("y",)) -> Arrays:
    """The samples in an `.npz` (arrays x, y, optional split, group), `.csv` or `.parquet` file (a row a sample).

    Of a table, the columns `targets` are y, `split` and `group` are what they say, all others are one series in the
    order of the columns. DataError for anything that cannot be trained on.
    """
    expected = "an .npz, .csv or .parquet file"
    require(path.is_file(), path, "no such file", expected, "Give the path of your data.")
    require(path.suffix in (".npz", ".csv", ".parquet"), path, f"a file named *{path.suffix}", expected,
            "Save it as one of these: np.savez('mine.npz', x=x, y=y) is the simplest.")  # fmt: skip
    found = _npz(path) if path.suffix == ".npz" else _table(path, targets)
    held = ", ".join(sorted(found)) or "nothing"
    for name in ("x", "y"):
        require(name in found, path, f"no array {name} (it holds {held})", "the arrays x and y",
                "Save them with np.savez(path, x=x, y=y), optionally with split= and group=.")  # fmt: skip
    return _checked(path, kind, found)


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        found = read_arrays(path.resolve(), ARRAYS, LARGEST_DATA)
    except (ValueError, OSError) as error:
        if "holds objects" not in str(error):
            raise DataError(path, f"no readable arrays ({error})", "an .npz file",
                            "Save it anew with np.savez.") from error  # fmt: skip
        raise DataError(path, "an object array (ragged rows, or mixed types)", "arrays of plain numbers",
                        "Pad or cut the samples to one shape and save them as float32.") from error  # fmt: skip
    return {name: values for name, values in found.items() if name in ARRAYS}


def _table(path: Path, targets: Sequence[str]) -> dict[str, np.ndarray]:
    import pandas as pd

    try:
        table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except ImportError as error:
        raise DataError(path, "a parquet file, and no pyarrow to read it", "pyarrow",
                        "pip install 'cross-modality-bench[parquet]', or save it as csv.") from error  # fmt: skip
    except (ValueError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(path, f"no readable table ({reason})", f"a {path.suffix} file", "Save it anew.") from error
    missing = [name for name in targets if name not in table.columns]
    require(not missing, path, f"no column {', '.join(missing)} among {', '.join(map(str, table.columns[:12]))}",
            "the column(s) of the target", "Name them: --target COLUMN [COLUMN ...].")  # fmt: skip
    series = [name for name in table.columns if name not in (*targets, "split", "group")]
    text = [str(name) for name in series if not pd.api.types.is_numeric_dtype(table[name])]
    what = f"text in the column(s) {', '.join(text[:5])}" if text else "no column beside the target"
    require(series and not text, path, what, "a number in every column of the series",
            "Remove them, or turn them into numbers.")  # fmt: skip
    out = {"x": table[series].to_numpy(np.float64), "y": table[list(targets)].to_numpy()}
    out["y"] = out["y"][:, 0] if len(targets) == 1 else out["y"]
    return out | {name: table[name].to_numpy() for name in ("split", "group") if name in table.columns}


# -- checks ------------------------------------------------------------------------------------------------------------


def _checked(path: Path, kind: Kind, found: dict[str, np.ndarray]) -> Arrays:
    x, n = _numbers(path, "x", found["x"]), len(found["x"])
    fits = x.ndim in (2, 3, 4)
    require(fits, path, f"x of shape {x.shape}", "(n, L), (n, C, L) or (n, C, H, W)", "Reshape x.")
    x = x[:, None] if x.ndim == 2 else x
    require(n >= FEWEST, path, f"{n} samples", f"at least {FEWEST}, better hundreds", "Give more samples.")
    for name in (n for n in ("y", "split", "group") if n in found):
        what = f"{len(found[name])} entries in {name} for {n} samples"
        require(len(found[name]) == n, path, what, "one per sample", f"Make {name} as long as x.")
    classes: tuple[str, ...] = ()
    if kind == "classes":
        y, classes = _labels(path, found["y"])
    elif kind == "multilabel":
        y = _numbers(path, "y", found["y"])
        fits, what = y.ndim == 2 and bool(np.isin(y, (0, 1)).all()), f"y of shape {y.shape}, {y.min():g} to {y.max():g}"
        require(fits, path, what, "(n, K) of 0 and 1", "Give one column per label; --kind dense is for numbers.")
    else:
        y = _numbers(path, "y", found["y"])
        y = y[:, None] if y.ndim == x.ndim - 1 else y
        wanted = f"a field on the points of x: (n, K, {', '.join(map(str, x.shape[2:]))})"
        fits = y.ndim == x.ndim and y.shape[2:] == x.shape[2:]
        require(fits, path, f"y of shape {y.shape} for x of shape {x.shape}", wanted, "Resample y to the points of x.")
    split = _split(path, found["split"]) if "split" in found else None
    return Arrays(x, y, classes, split, found.get("group"))


def _numbers(path: Path, name: str, values: np.ndarray) -> np.ndarray:
    """`values` as float32; DataError for text, nothing, NaN or numbers beyond float32, with the first such sample."""
    fits, found = (
        values.dtype.kind in "fiub" and values.size > 0,
        f"{name} of dtype {values.dtype}, shape {values.shape}",
    )
    require(fits, path, found, "an array of numbers that is not empty", f"Save {name} as float32.")
    with np.errstate(over="ignore"):
        out = values.astype(np.float32)
    bad = ~np.isfinite(out.reshape(len(out), -1)).all(1)
    found = f"NaN, infinity or a number beyond float32 in {name} of {bad.sum()} samples, first in sample {bad.argmax()}"
    require(not bad.any(), path, found, "finite numbers", "Fill or drop these samples.")
    return out


def _labels(path: Path, values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels 0..K-1 and the names of the classes, from whole numbers without gaps or from text."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    require(values.ndim == 1, path, f"y of shape {values.shape}", "one label per sample, (n,)",
            "--kind multilabel takes a column per label, --kind dense a field.")  # fmt: skip
    expected = "whole numbers or text"
    if values.dtype.kind == "f":
        whole = np.isfinite(values).all() and (values == np.rint(values)).all()
        require(whole, path, "labels that are missing or no whole numbers", expected,
                "Drop samples without a label; --kind dense is for numbers.")  # fmt: skip
        values = values.astype(np.int64)
    require(values.dtype.kind in "iubUO", path, f"labels of dtype {values.dtype}", expected, "Save them as int64.")
    names, y = np.unique(values.astype(str) if values.dtype.kind in "UO" else values, return_inverse=True)
    several = len(names) > 1
    require(several, path, f"one class ({names[0]})", "two or more", "A constant cannot be learned: check y.")
    if names.dtype.kind in "iu" and names[-1] - names[0] + 1 != len(names):
        gap = int(np.setdiff1d(np.arange(names[0], names[-1] + 1), names)[0])
        raise DataError(path, f"labels {names[0]}..{names[-1]} without {gap}", "labels without gaps",
                        "Renumber them (np.unique(y, return_inverse=True)[1]), or give names as text.")  # fmt: skip
    return y.astype(np.int64), tuple(map(str, names))


def _split(path: Path, values: np.ndarray) -> np.ndarray:
    out = values.astype(str)
    wrong = sorted(set(out) - set(PARTS))
    absent = [part for part in PARTS if part not in out]
    found = f"split holds {', '.join(wrong[:3])}" if wrong else f"split has no {' and no '.join(absent)}"
    require(not (wrong or absent), path, found, "train, val and test, each at least once",
            "Leave split out to have one drawn.")  # fmt: skip
    return out
