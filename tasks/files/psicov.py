"""The `protein` folder of NAS-Bench-360: features and distance maps per protein, turned into channels on demand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.contract import Batch, DataError, File, require
from tasks.files.generated import read_mark
from tasks.files.locate import find, permission_said
from tasks.files.nb360 import as_array, entry, member
from tasks.files.pickles import load_npy, load_pickle

PAD = 5
"""Zero pixels around a protein."""
FAR = 100.0
"""Target where there is no residue (Angstrom)."""
WINDOW = 512
GROUPS = ("deepcov", "psicov", "cameo")
PAIRS = ("ccmpred", "freecon", "potential")


def read_list(root: Path, file: File) -> tuple[str, ...]:
    """The protein names in a `.lst` file, one per line, in its order."""
    path = find(root, file)
    try:
        names = tuple(line.split()[0] for line in path.read_text().splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise DataError(path, f"no text ({error})", "one protein name per line") from error
    bad = [n for n in names if not all(c.isalnum() or c in "-_." for c in n) or n.startswith(".")]
    require(names and not bad, path, f"the line {bad[0]!r}" if bad else "no names", "one protein name per line")
    return names


def window_of(root: Path, file: File) -> int:
    """Side of the square that proteins are placed in: 512, or what a stand-in's mark says."""
    mark = read_mark(find(root, file)) or {}
    return int(mark.get("size", {}).get("window", WINDOW))


@permission_said()
def locate(folder: Path, kind: str, name: str) -> Path:
    """`features` or `distance` file of a protein, in whichever of the three groups has it."""
    leaf = f"{name}.pkl" if kind == "features" else f"{name}-cb.npy"
    places = [folder / group / kind / leaf for group in GROUPS]
    return next((p for p in places if p.exists()), places[0])


def channels(path: Path) -> np.ndarray:
    """The 57 maps (57, L, L) float32 of a protein: 27 one-dimensional features tiled both ways, then 3 pair maps.

    Order: secondary structure (3), PSSM (22), solvent accessibility, entropy, each first by column residue, then by row
    residue; ccmpred, freecon, potential.
    """
    table = load_pickle(path)
    sequence = member(path, table, "seq")
    known = isinstance(sequence, str | bytes | list | tuple)
    require(known, path, f"seq is a {type(sequence).__name__}", "a sequence of residues")
    length = len(sequence)
    ss = entry(path, table, "ss", (3, length))
    pssm = entry(path, table, "pssm", (length, 22))
    single = [entry(path, table, n, (length,)) for n in ("sa", "entropy")]
    pairs = [entry(path, table, n, (length, length)) for n in PAIRS]
    lines = np.concatenate([ss, pssm.T, np.stack(single)]).astype(np.float32)
    out = np.empty((2 * len(lines) + len(PAIRS), length, length), np.float32)
    out[0 : 2 * len(lines) : 2] = lines[:, None, :]
    out[1 : 2 * len(lines) : 2] = lines[:, :, None]
    out[2 * len(lines) :] = pairs
    return out


def distances(path: Path, length: int) -> np.ndarray:
    """Distance map (L, L) float32 in Angstrom, floored at 1, diagonal from its neighbours; NaN where unknown."""
    stored = load_npy(path, objects=True)
    expected = f"a triple (length, sequence, map of at most {length} x {length})"
    triple = stored.dtype == object and stored.shape == (3,)
    require(triple, path, f"an array of shape {stored.shape}, dtype {stored.dtype}", expected)
    own = as_array(path, "the map", stored[2], expected)
    square = own.ndim == 2 and own.shape[0] == own.shape[1] and 0 < len(own) <= length and own.dtype.kind in "fiu"
    require(square, path, f"a map of shape {own.shape}, dtype {own.dtype}", expected)
    bad = np.isinf(own).any() or np.isnan(own).all()
    require(not bad, path, "infinite distances, or none but NaN", "finite distances (NaN only where unknown)")
    known = np.maximum(own.astype(np.float32), 1.0)
    if len(known) > 1:
        near = np.diagonal(known, 1)
        np.fill_diagonal(known, np.concatenate([near[:1], (near[:-1] + near[1:]) / 2, near[-1:]]))
    full = np.full((length, length), np.nan, np.float32)
    full[: len(known), : len(known)] = known
    return full


@dataclass(frozen=True)
class Proteins:
    """A split of proteins, read and laid out when they are asked for."""

    folder: Path
    names: tuple[str, ...]
    window: int = WINDOW
    clip: float | None = None
    """Cut targets at this many Angstrom (training)."""
    count_padding: bool = False
    """Leave `ignore` empty: padding and unknown distances count in the loss (published code)."""
    unknown: float = FAR
    """Target where a distance is not known (0 in published code); such pixels are in `ignore`."""
    labels = None

    def __len__(self) -> int:
        return len(self.names)

    def batch(self, index: np.ndarray, rng: np.random.Generator | None) -> Batch:
        """x (B, 57, S, S), y (B, 1, S, S) in Angstrom, `length` (B,) and `ignore` (B, 1, S, S) bool."""
        size = self.window
        x = np.zeros((len(index), 57, size, size), np.float32)
        y = np.full((len(index), 1, size, size), FAR, np.float32)
        length = np.empty(len(index), np.int64)
        for b, i in enumerate(index):
            maps, target = self._protein(self.names[int(i)])
            kept = min(len(target), size - 2 * PAD)
            start = 0 if rng is None or kept == len(target) else int(rng.integers(len(target) - kept + 1))
            own, place = slice(start, start + kept), slice(PAD, PAD + kept)
            x[b, :, place, place] = maps[:, own, own]
            y[b, 0, place, place] = target[own, own]
            length[b] = kept
        return self._finish(x, y, length)

    def _protein(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        maps = channels(locate(self.folder, "features", name))
        return maps, distances(locate(self.folder, "distance", name), maps.shape[1])

    def _finish(self, x: np.ndarray, y: np.ndarray, length: np.ndarray) -> Batch:
        ignore = np.isnan(y)
        y[ignore] = self.unknown
        inside = np.zeros(y.shape, bool)
        for b, kept in enumerate(length):
            inside[b, 0, PAD : PAD + kept, PAD : PAD + kept] = True
        ignore |= ~inside
        if self.clip is not None:
            np.minimum(y, self.clip, out=y)
        return Batch(x, y, {"length": length, "ignore": ignore & (not self.count_padding)})
