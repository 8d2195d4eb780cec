"""The labelled source data sets by name: which are here, and how one is read. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bench.errors import SetupError, UsageError, unknown
from bench.sources.arrays import SourceArrays

if TYPE_CHECKING:
    from bench.backbones import Backbone

Corrupt = Literal["none", "permuted_labels", "noise"]


@dataclass(frozen=True)
class SourceSet:
    """What a source data set is, where it comes from, and its reader."""

    name: str
    title: str
    modality: Literal["vision", "text"]
    licence: str
    citation: str
    missing: Callable[[Path], str | None]
    """`missing(data_dir)`: None if it is here, else what to do. Looks at disk only."""
    read: Callable[[Path, Backbone], SourceArrays]


def load_source(name: str, backbone: Backbone, data_dir: Path, corrupt: Corrupt, seed: int) -> SourceArrays:
    """The source data set `name` for `backbone`; `auto` is the first of its `sources` that is here.

    `corrupt` makes control arms, drawn from `seed`: `permuted_labels` shuffles the labels over the samples, `noise`
    replaces every sample by uniform noise of the same shape (pixels 0 to 255; ids that occur in the data).
    Raises UsageError for an unknown name or the wrong modality, SetupError for data that are not here or of no use.
    """
    chosen = _choose(name, backbone, data_dir)
    arrays = checked(_corrupted(chosen.read(data_dir, backbone), corrupt, seed))
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
    if message := chosen.missing(data_dir):
        raise SetupError(message)
    return chosen


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


def _digits_missing(data_dir: Path) -> str | None:
    here = importlib.util.find_spec("sklearn") is not None
    return None if here else "source data digits comes with scikit-learn: pip install scikit-learn"


def _digits(data_dir: Path, backbone: Backbone) -> SourceArrays:
    from bench.sources.images import read_digits

    return read_digits()


def _fashion_missing(data_dir: Path) -> str | None:
    from bench.sources.fashion_mnist import MISSING, folder

    return None if folder(data_dir) else MISSING


def _fashion(data_dir: Path, backbone: Backbone) -> SourceArrays:
    from bench.sources.images import read_fashion_mnist

    return read_fashion_mnist(data_dir)


def _cifar_missing(data_dir: Path) -> str | None:
    folder = data_dir / "cifar-10-batches-py"
    if all((folder / name).is_file() for name in ("test_batch", *(f"data_batch_{i}" for i in range(1, 6)))):
        return None
    return (
        "source data cifar10 is not here: get cifar-10-python.tar.gz (Krizhevsky, University of Toronto) and unpack it "
        f"into {data_dir}, so that cifar-10-batches-py/ with its six batches lies there"
    )


def _cifar(data_dir: Path, backbone: Backbone) -> SourceArrays:
    from bench.sources.images import read_cifar10

    return read_cifar10(data_dir / "cifar-10-batches-py")


def _topics_missing(data_dir: Path) -> str | None:
    here = importlib.util.find_spec("pydoc_data") is not None
    return (
        None if here else "source data topics comes with Python: install the full standard library (pydoc_data.topics)"
    )


def _topics(data_dir: Path, backbone: Backbone) -> SourceArrays:
    from bench.sources.topics import read_topics

    return read_topics(backbone)


SOURCES: dict[str, SourceSet] = {
    s.name: s
    for s in (
        SourceSet(
            "cifar10",
            "CIFAR-10, 60,000 photographs, 32 px",
            "vision",
            "none stated",
            "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
            _cifar_missing,
            _cifar,
        ),
        SourceSet(
            "digits",
            "1,797 handwritten digits, 8 px",
            "vision",
            "CC BY 4.0",
            "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998; as in scikit-learn",
            _digits_missing,
            _digits,
        ),
        SourceSet(
            "fashion_mnist",
            "Fashion-MNIST, 70,000 articles of clothing, 28 px",
            "vision",
            "MIT",
            "Xiao, Rasul and Vollgraf, Fashion-MNIST, 2017, arXiv 1708.07747",
            _fashion_missing,
            _fashion,
        ),
        SourceSet(
            "topics",
            "English text of the Python reference, labelled by topic",
            "text",
            "PSF-2.0",
            "Python Software Foundation, The Python Language Reference, as in pydoc_data.topics",
            _topics_missing,
            _topics,
        ),
    )
}
