"""Source features of a body at several epochs, kept as small files in a cell's work folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench import weights
from bench.records.arrays import write_arrays
from tasks.files.arrays import read_arrays

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bench.sources.data import SourceData

TRAIN, TEST = 2000, 1000
"""Source samples whose features are taken, at most."""
SUBSET_SEED = 0
"""Draws them. Not the cell's seed: every cell looks at the same samples, or their errors and panels could not be
compared."""
PRETRAINED = "pretrained"
WEIGHTS = ".safetensors"
"""Suffix, beside the record, of the weights that `analysis.keep_weights` keeps."""


def choose_source(source: SourceData) -> tuple[np.ndarray, np.ndarray]:
    """(n,) rows of the source data, training samples first, and (n,) whether each is for testing; no seed but one."""
    rng = np.random.default_rng(SUBSET_SEED)
    train, test = (
        np.sort(rng.permutation(index)[:most])
        for index, most in ((source.train_index, TRAIN), (source.test_index, TEST))
    )
    return np.concatenate([train, test]), np.repeat([False, True], [len(train), len(test)])


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    """Whether two modules hold the same parameters under the same names, whatever their devices."""
    first, second = dict(a.named_parameters()), dict(b.named_parameters())
    return first.keys() == second.keys() and all(
        p.shape == second[name].shape and bool((p.detach().cpu() == second[name].detach().cpu()).all())
        for name, p in first.items()
    )


def pack(features: np.ndarray) -> np.ndarray:
    """Features as float16 where its range allows, for storage; otherwise float32."""
    features = np.asarray(features, dtype=np.float32)
    fits = np.abs(features).max(initial=0) < np.finfo(np.float16).max
    return features.astype(np.float16) if fits else features


def read_weights(path: Path, part: str) -> dict[str, torch.Tensor]:
    """The state of one part of a file of weights, by the names that the part has for them; ValueError for no such file."""
    return {k.removeprefix(f"{part}."): v for k, v in weights.read(path).items() if k.startswith(f"{part}.")}


class FeatureFolder:
    """`features-pretrained.npz` and `features-<epoch>.npz` in a cell's work folder.

    `fingerprint` and `rows` say what the features are of: a file of anything else, or a damaged one, counts as absent.
    """

    def __init__(self, folder: Path, fingerprint: str, rows: np.ndarray):
        self.folder, self._fingerprint, self._rows = folder, fingerprint, rows

    def path(self, key: int | str) -> Path:
        """The file of an epoch, or of the pretrained body."""
        return self.folder / f"features-{key if isinstance(key, str) else f'{key:05d}'}.npz"

    def get(self, key: int | str) -> np.ndarray | None:
        """(n, d) features, or None where there is no usable file."""
        try:
            arrays = read_arrays(self.path(key))
        except (OSError, ValueError):
            return None  # taken again by the caller
        same = arrays.keys() == {"features", "rows", "fingerprint"} and np.array_equal(arrays["rows"], self._rows)
        return arrays["features"] if same and str(arrays["fingerprint"]) == self._fingerprint else None

    def put(self, key: int | str, features: np.ndarray) -> np.ndarray:
        """Keep (n, d) features, packed; returns what was kept."""
        packed = pack(features)
        fingerprint = np.array(self._fingerprint)
        write_arrays(self.path(key), {"features": packed, "rows": self._rows, "fingerprint": fingerprint})
        return packed

    def epochs(self) -> list[int]:
        """Epochs that have a file, ascending."""
        names = (path.stem.partition("-")[2] for path in self.folder.glob("features-*.npz"))
        return sorted(int(name) for name in names if name.isdigit())
