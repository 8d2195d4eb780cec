"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, MIT licence): four gzipped idx files, as Debian packages them."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from bench.backbones import Backbone
from bench.errors import SetupError
from bench.sources.arrays import SourceArrays, SourceSet

if TYPE_CHECKING:
    import numpy as np

CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FILES = tuple(f"{part}-{kind}-ubyte.gz" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
SYSTEM_FOLDER = Path("/usr/share/datasets/fashion-mnist")
MISSING = (
    "source data fashion_mnist is not here: install the Debian package dataset-fashion-mnist, or put its four files "
    f"({', '.join(FILES)}) into the folder fashion-mnist below the data folder"
)
MOST = 16 + 60_000 * 28 * 28
"""Bytes of the largest of them, unpacked."""
MEAN, STD = 0.2860, 0.3530
"""Mean and standard deviation of the 60,000 training images in [0, 1]."""


def folder(data_dir: Path | None = None) -> Path | None:
    """The folder with all four files: `data_dir`/fashion-mnist, else that of the Debian package; None: neither."""
    places = ([data_dir / "fashion-mnist"] if data_dir else []) + [SYSTEM_FOLDER]
    return next((p for p in places if all((p / name).is_file() for name in FILES)), None)


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of one gzipped idx file (format: LeCun, yann.lecun.com/exdb/mnist)."""
    import numpy as np

    try:
        with gzip.open(path) as stream:
            raw = stream.read(MOST + 1)
        if len(raw) > MOST:
            raise ValueError(f"more than {MOST:,} bytes")
        zero, kind, dims = struct.unpack(">HBB", raw[:4])
        shape = struct.unpack(f">{dims}I", raw[4 : 4 + 4 * dims])
        if (zero, kind) != (0, 8):
            raise ValueError(f"magic {raw[:4].hex()}")
        return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape)
    except (OSError, EOFError, ValueError, zlib.error, struct.error) as error:
        raise SetupError(
            f"{path}: expected a gzipped idx file of bytes, found {error}. "
            "Install it again: apt install --reinstall dataset-fashion-mnist"
        ) from error


def parts(data_dir: Path | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(train images (60000, 28, 28) uint8, train labels (60000,) int64, test images (10000, ...), test labels)."""
    place = folder(data_dir)
    if place is None:
        raise SetupError(MISSING)
    x, y, x_test, y_test = (read_idx(place / name) for name in FILES)
    return x, y.astype("int64"), x_test, y_test.astype("int64")


def checksum(data_dir: Path | None = None) -> str:
    """SHA-256 over the four files in the order of `FILES`, as hex."""
    place = folder(data_dir)
    assert place is not None, "ask folder() first"
    digest = hashlib.sha256()
    for name in FILES:
        digest.update((place / name).read_bytes())
    return digest.hexdigest()


def missing(data_dir: Path) -> str | None:
    """What to install or where to put the files, unless they are here."""
    return None if folder(data_dir) else MISSING


def read(data_dir: Path, backbone: Backbone) -> SourceArrays:
    """(70000, 1, 32, 32): the 28 px images centred in black, as for the pretraining of `swin_micro`."""
    import numpy as np

    x, y, x_test, y_test = parts(data_dir)
    images = np.pad(np.concatenate([x, x_test]), ((0, 0), (2, 2), (2, 2)))[:, None]
    return SourceArrays("fashion_mnist", images, np.concatenate([y, y_test]), CLASSES, len(x))


SOURCE = SourceSet(
    name="fashion_mnist",
    title="Fashion-MNIST, 70,000 articles of clothing, 28 px",
    modality="vision",
    licence="MIT",
    citation="Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, arXiv 1708.07747",
    missing=missing,
    read=read,
)
