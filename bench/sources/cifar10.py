"""CIFAR-10 (Krizhevsky 2009): the official python batches, read by an unpickler that runs no code."""

from __future__ import annotations

from pathlib import Path

from bench.backbones import Backbone
from bench.sources.arrays import SourceArrays, SourceSet

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDER = "cifar-10-batches-py"
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


def missing(data_dir: Path) -> str | None:
    """What to get and where to unpack it, unless all six batches are there."""
    if all((data_dir / FOLDER / name).is_file() for name in BATCHES):
        return None
    return (
        "source data cifar10 is not here: get cifar-10-python.tar.gz (Krizhevsky, University of Toronto) and unpack it "
        f"into {data_dir}, so that {FOLDER}/ with its six batches lies there"
    )


def read(data_dir: Path, backbone: Backbone) -> SourceArrays:
    """(60000, 3, 32, 32); DataError for a batch that is not as published."""
    import numpy as np

    from tasks.contract import DataError
    from tasks.files import nb360
    from tasks.files.pickles import load_pickle

    cure = "Fetch cifar-10-python.tar.gz again and unpack it."
    images, labels = [], []
    for path in (data_dir / FOLDER / name for name in BATCHES):
        batch = load_pickle(path, cure=cure)
        data = batch.get(b"data") if isinstance(batch, dict) else None
        if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != 3072 or data.dtype != np.uint8:
            found = f"{getattr(data, 'shape', type(data).__name__)}"
            raise DataError(path, found, "key b'data' with (n, 3072) uint8", cure)
        images.append(data.reshape(-1, 3, 32, 32))
        labels.append(nb360.labels(path, "label", nb360.member(path, batch, "labels"), len(data), len(CLASSES)))
    train = sum(map(len, images[:-1]))
    return SourceArrays("cifar10", np.concatenate(images), np.concatenate(labels), CLASSES, train)


SOURCE = SourceSet(
    name="cifar10",
    title="CIFAR-10, 60,000 photographs, 32 px",
    modality="vision",
    licence="none stated",
    citation="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    missing=missing,
    read=read,
)
