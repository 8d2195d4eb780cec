"""What every file of this folder declares, its `SOURCE`, and what its reader returns. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

    from bench.backbones import Backbone


@dataclass(frozen=True)
class SourceArrays:
    """Source data in memory. Training samples come first; no test sample enters stage 1."""

    name: str
    x: np.ndarray
    """(n, C, h, w) uint8 images, C 1 or 3; or (n, T) int64 token ids."""
    y: np.ndarray
    """(n,) int64 labels, 0 to K-1."""
    classes: tuple[str, ...]
    train: int
    """How many of the n samples are for training: the first ones. The rest are for testing a probe."""
    fingerprint: str = ""
    """SHA-256 over samples, labels and split, as hex."""
    origin: Literal["official", "generated"] = "official"
    """`generated`: a stand-in that this project made because the data of that name are not here."""

    @property
    def label(self) -> str:
        """What files and figures call it: its name, and that it is generated where it is."""
        return self.name if self.origin == "official" else f"{self.name}-{self.origin}"


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
    standin: Callable[[Backbone], SourceArrays] | None = None
    """Makes what serves where it was named and is not here; None: nothing does."""
