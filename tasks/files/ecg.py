"""The CinC 2017 pickle of NAS-Bench-360: records of any length, split by record and cut into windows on demand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.contract import Batch, DataError, require
from tasks.files.nb360 import array, member
from tasks.files.pickles import load_pickle

CLASSES = ("N", "A", "O", "~")
STRIDES = (500, 500 // 6, 250, 500 // 20)
"""Samples between two windows of a record, by class: rarer classes give more windows."""
LENGTH = 1000


@dataclass(frozen=True)
class Windows:
    """A split of windows that are cut out of the z-scored records when they are asked for."""

    signal: np.ndarray
    """All records one after another, float32."""
    starts: np.ndarray
    """(n,) first sample of each window in `signal`."""
    labels: np.ndarray
    """(n,) int64."""
    record: np.ndarray
    """(n,) number of the record that each window comes from."""
    length: int = LENGTH

    def __len__(self) -> int:
        return len(self.starts)

    def take(self, rows: np.ndarray) -> Windows:
        """The windows at `rows`."""
        return Windows(self.signal, self.starts[rows], self.labels[rows], self.record[rows], self.length)

    def batch(self, index: np.ndarray, rng: np.random.Generator | None) -> Batch:
        """Windows (B, 1, length) float32; there is no augmentation, so `rng` is not used."""
        x = self.signal[self.starts[index][:, None] + np.arange(self.length)]
        return Batch(x[:, None], self.labels[index], {"record": self.record[index]})


def read_records(path: Path) -> tuple[list[np.ndarray], np.ndarray]:
    """The records, each (L,), raw, and their class numbers in the order of `CLASSES`."""
    table = load_pickle(path)
    data, names = member(path, table, "data"), member(path, table, "label")
    full = isinstance(data, Sequence | np.ndarray) and len(data) > 0
    require(full, path, f"data is {type(data).__name__}, empty or no list", "a list of 1-D series")
    one_each = isinstance(names, Sequence | np.ndarray) and len(names) == len(data)
    require(one_each, path, f"{len(data)} series with another number of labels", "one label per series")
    require(len(data) >= 20, path, f"{len(data)} records", "at least 20, to split them")
    signals = [array(path, f"record {i}", series, (None,)) for i, series in enumerate(data)]
    texts = [n.decode("latin1") if isinstance(n, bytes) else str(n) for n in names]
    unknown = sorted(set(texts) - set(CLASSES))
    if unknown:
        raise DataError(path, f"the label {unknown[0]!r}", f"labels among {', '.join(CLASSES)}")
    return signals, np.array([CLASSES.index(t) for t in texts], np.int64)


def split_records(count: int, validation: bool) -> dict[str, np.ndarray]:
    """Record numbers of each split, as the benchmark's `train_test_split(random_state=0)` draws them."""
    from sklearn.model_selection import train_test_split

    everything = np.arange(count)
    if not validation:
        train, test = train_test_split(everything, test_size=0.1, random_state=0)
        return {"train": train, "test": test}
    train, rest = train_test_split(everything, test_size=0.2, random_state=0)
    val, test = train_test_split(rest, test_size=0.5, random_state=0)
    return {"train": train, "val": val, "test": test}


def z_score(series: np.ndarray) -> np.ndarray:
    """(x - mean) / std as float32; a constant record becomes zeros."""
    wide = series.astype(np.float64)
    return ((wide - wide.mean()) / (wide.std() or 1.0)).astype(np.float32)


def windows(path: Path, signals: list[np.ndarray], labels: np.ndarray, records: np.ndarray) -> Windows:
    """The windows of `records`, class by class stride, in the order of `records`.

    As in public code, a window that would end with its record's last sample is not cut: 16 windows of the class N in
    9,000 samples, not 17; a record of `LENGTH` samples or fewer gives none.
    """
    starts, number, offset = [], [], 0
    for r in records:
        own = np.arange(0, len(signals[r]) - LENGTH, STRIDES[labels[r]])
        starts.append(own + offset)
        number.append(np.full(len(own), r))
        offset += len(signals[r])
    record = np.concatenate(number)
    long = f"records of more than {LENGTH} samples"
    require(len(record) > 0, path, "a split whose records are all too short", long)
    signal = np.concatenate([z_score(signals[r]) for r in records])
    return Windows(signal, np.concatenate(starts), labels[record], record)
