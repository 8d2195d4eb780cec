"""Readers of the image sources: digits, Fashion-MNIST and CIFAR-10, as uint8 images of their own size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.sources import fashion_mnist
from bench.sources.arrays import SourceArrays

DIGITS_TEST = 0.25
"""Fraction of the digits that is kept for testing."""


def read_digits() -> SourceArrays:
    """scikit-learn's 1,797 digits as (n, 1, 8, 8), a quarter of each class for testing (fixed)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    index = np.arange(len(data.images))
    train, test = train_test_split(index, test_size=DIGITS_TEST, stratify=data.target, random_state=0)
    order = np.concatenate([train, test])
    images = np.round(data.images[order] * (255 / 16)).astype(np.uint8)[:, None]
    names = tuple(str(name) for name in data.target_names)
    return SourceArrays("digits", images, data.target[order].astype(np.int64), names, len(train))


def read_fashion_mnist(data_dir: Path) -> SourceArrays:
    """Fashion-MNIST as (70000, 1, 32, 32), the 28 px images centred in black as for the pretraining of `swin_micro`."""
    x, y, x_test, y_test = fashion_mnist.read(data_dir)
    images = np.pad(np.concatenate([x, x_test]), ((0, 0), (2, 2), (2, 2)))[:, None]
    return SourceArrays("fashion_mnist", images, np.concatenate([y, y_test]), fashion_mnist.CLASSES, len(x))


def read_cifar10(folder: Path) -> SourceArrays:
    """CIFAR-10 as (60000, 3, 32, 32) from the official python batches, read by an unpickler that runs no code."""
    from tasks.contract import DataError
    from tasks.files import nb360
    from tasks.files.pickles import load_pickle

    cure = "Fetch cifar-10-python.tar.gz again and unpack it."
    images, labels = [], []
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        batch = load_pickle(folder / name, cure=cure)
        data = batch.get(b"data") if isinstance(batch, dict) else None
        if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3072 or data.dtype != np.uint8:
            found = f"{getattr(data, 'shape', type(data).__name__)}"
            raise DataError(folder / name, found, "key b'data' with (n, 3072) uint8", cure)
        images.append(data.reshape(-1, 3, 32, 32))
        found_labels = nb360.member(folder / name, batch, "labels")
        labels.append(nb360.labels(folder / name, "label", found_labels, len(data), len(CIFAR10_CLASSES)))
    train = sum(map(len, images[:-1]))
    return SourceArrays("cifar10", np.concatenate(images), np.concatenate(labels), CIFAR10_CLASSES, train)


CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
