"""scikit-learn's handwritten digits, which come with it: images that no shipped body has seen."""

from __future__ import annotations

from pathlib import Path

from bench.backbones import Backbone
from bench.sources.arrays import SourceArrays, SourceSet

TEST = 0.25
"""Fraction of the digits that is kept for testing."""


def read(data_dir: Path, backbone: Backbone) -> SourceArrays:
    """The 1,797 digits as (n, 1, 8, 8), a quarter of each class for testing (fixed)."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    index = np.arange(len(data.images))
    train, test = train_test_split(index, test_size=TEST, stratify=data.target, random_state=0)
    order = np.concatenate([train, test])
    images = np.round(data.images[order] * (255 / 16)).astype(np.uint8)[:, None]
    names = tuple(str(name) for name in data.target_names)
    return SourceArrays("digits", images, data.target[order].astype(np.int64), names, len(train))


SOURCE = SourceSet(
    name="digits",
    title="1,797 handwritten digits, 8 px",
    modality="vision",
    licence="CC BY 4.0",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998; as in scikit-learn",
    missing=lambda data_dir: None,  # it comes with scikit-learn, without which nothing runs
    read=read,
)
