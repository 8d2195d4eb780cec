"""The chunked FSD50K of NAS-Bench-360: manifests of one-second wav files, grouped by clip, as lazy splits."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from tasks.contract import Batch, DataError
from tasks.files.audio import FRAMES, RATE, log_mel, one_second, read_wav
from tasks.files.locate import permission_said
from tasks.files.splits import VALIDATION_SEED

BACKGROUND_SHARE, BACKGROUND_MOST = 0.75, 0.5
"""Probability of mixing in noise, and its largest weight."""
MASK_SHARE, MASK_MELS, MASK_FRAMES = 0.5, 0.15, 0.20
"""SpecAugment: probability, and largest fraction of mel bands and frames that one mask covers."""


@dataclass(frozen=True)
class Manifest:
    """The rows of one csv file: a wav file, the clip it was cut from, and the clip's labels."""

    path: Path
    base: Path
    """Folder that `files` are relative to."""
    files: tuple[str, ...]
    clip: np.ndarray
    """(n,) int64; clips are numbered in the order of their sorted names."""
    targets: np.ndarray
    """(n, K) uint8."""

    def members(self) -> dict[str, Path]:
        """The wav files by their names in the manifest."""
        return {name: self.base / name for name in self.files}

    def waves(self, rows: np.ndarray) -> np.ndarray:
        """One second of sound per row: (B, 22050) float32."""
        return np.stack([one_second(read_wav(self.base / self.files[int(r)])) for r in rows])


def read_labels(path: Path) -> dict[str, int]:
    """Label name -> column, 0..K-1."""
    expected = "a JSON object of label names and the numbers 0..K-1"
    try:
        table = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(path, f"no JSON ({error})", expected) from error
    if not isinstance(table, dict) or not table or sorted(map(str, table.values())) != sorted(
        str(i) for i in range(len(table))
    ):  # fmt: skip
        raise DataError(path, f"a {type(table).__name__} with other values", expected)
    return {name: int(number) for name, number in table.items()}


def read_manifest(path: Path, label_map: Mapping[str, int]) -> Manifest:
    """The csv file `path` (columns files, labels, ext), sorted by file within each clip."""
    expected = "a csv file with the columns files, labels, ext"
    try:
        text = path.read_text()
        reader = csv.DictReader(io.StringIO(text))
        missing = {"files", "labels", "ext"} - set(reader.fieldnames or ())
        rows = [] if missing else list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(path, f"no csv text ({error})", expected) from error
    if missing or not rows:
        raise DataError(path, f"no column {sorted(missing)[0]}" if missing else "no rows", expected)
    if any(not row["files"] or not row["labels"] or not row["ext"] for row in rows):
        raise DataError(path, "a row with empty fields (cut off?)", expected)
    if not text.endswith("\n"):
        # The last field is the clip: a shorter one would be a clip of its own.
        raise DataError(path, f"a last row without an end of line (cut off?): {text[-60:]!r}", expected)
    rows.sort(key=lambda row: (row["ext"], row["files"]))
    unknown = {name for row in rows for name in row["labels"].split(",")} - set(label_map)
    if unknown:
        raise DataError(path, f"the label {sorted(unknown)[0]!r}", "labels of lbl_map.json")
    targets = np.zeros((len(rows), len(label_map)), np.uint8)
    for i, row in enumerate(rows):
        targets[i, [label_map[name] for name in row["labels"].split(",")]] = 1
    _, clip = np.unique([row["ext"] for row in rows], return_inverse=True)
    base, files = relocate(path, [row["files"] for row in rows])
    return Manifest(path, base, files, clip.astype(np.int64), targets)


@permission_said()
def relocate(path: Path, listed: list[str]) -> tuple[Path, tuple[str, ...]]:
    """Manifests carry the paths of the machine that wrote them: the folder and tails under which the files lie here."""
    parts = PurePosixPath(listed[0]).parts
    for base in (path.parent.parent, path.parent, path.parent.parent.parent):
        for start in range(len(parts)):
            if base.joinpath(*parts[start:]).is_file():
                return base, tuple("/".join(PurePosixPath(name).parts[start:]) for name in listed)
    raise DataError(path, f"the chunk {listed[0]!r}, which is not here", f"wav files below {path.parent.parent}")


def framed(mel: np.ndarray, frames: int) -> np.ndarray:
    """Log-mel features (B, 96, T) as (B, 1, 96, frames): cut, or padded with zeros at the end."""
    mel = mel[:, None, :, :frames]
    return np.pad(mel, ((0, 0), (0, 0), (0, 0), (0, frames - mel.shape[-1])))


def training_view(mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A random second (96, 101) of log-mel features (96, T), half of the time with SpecAugment.

    SpecAugment sets one or two bands of mels and of frames to the smallest value of the features.
    """
    if rng.random() < MASK_SHARE:
        mel, lowest = mel.copy(), mel.min()
        for _ in range(int(rng.integers(1, 3))):
            bands, frames = (int(rng.uniform(0, m) * s) for m, s in zip((MASK_MELS, MASK_FRAMES), mel.shape))
            top, left = (int(rng.uniform(0, s - n)) for s, n in zip(mel.shape, (bands, frames)))
            mel[top : top + bands] = lowest
            mel[:, left : left + frames] = lowest
    start = int(rng.integers(mel.shape[1] - FRAMES + 1))
    return mel[:, start : start + FRAMES]


def noise_files(table: Manifest) -> dict[str, Path]:
    """The background noises, in `noise_22050` beside the folder of manifests, by name."""
    return {f"noise_22050/{p.name}": p for p in sorted((table.path.parent.parent / "noise_22050").glob("*.wav"))}


@dataclass(frozen=True)
class Chunks:
    """Evaluation: every chunk is a sample, `clip` says which ones belong together."""

    table: Manifest
    frames: int
    labels = None

    def __len__(self) -> int:
        return len(self.table.files)

    def targets(self, index: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        """y (B, K) float32 and `clip` (B,), for which no sound is read."""
        return self.table.targets[index].astype(np.float32), {"clip": self.table.clip[index]}

    def batch(self, index: np.ndarray, rng: np.random.Generator | None) -> Batch:
        """x (B, 1, 96, frames), y (B, K) float32, `clip` (B,). Never augmented."""
        x = framed(log_mel(self.table.waves(index)), self.frames)
        return Batch(x, *self.targets(index))


@dataclass(frozen=True)
class Clips:
    """Training: every clip is a sample, given out as one of its chunks."""

    table: Manifest
    frames: int
    first_row: np.ndarray
    """(n,) first row of each clip in the table; its chunks follow."""
    count: np.ndarray
    """(n,) chunks of each clip."""
    noises: tuple[np.ndarray, ...]
    """Features (96, T) of the background noises, a second or longer each; there may be none."""
    fixed: bool = False
    """Draw chunk and augmentation of a clip once for all epochs (published code)."""
    labels = None

    @classmethod
    @permission_said()
    def of(cls, table: Manifest, frames: int, fixed: bool) -> Clips:
        """The clips of `table`, with the background noises in `noise_22050` beside the folder of manifests."""
        _, first, count = np.unique(table.clip, return_index=True, return_counts=True)
        sounds = (read_wav(path) for path in noise_files(table).values())
        noises = tuple(log_mel(np.resize(s, max(len(s), RATE))[None])[0] for s in sounds)
        return cls(table, frames, first, count, noises, fixed)

    def __len__(self) -> int:
        return len(self.first_row)

    def targets(self, index: np.ndarray) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
        """y (B, K) float32, for which no sound is read."""
        return self.table.targets[self.first_row[index]].astype(np.float32), {}

    def take(self, rows: np.ndarray) -> Clips:
        """The clips at `rows`."""
        return replace(self, first_row=self.first_row[rows], count=self.count[rows])

    def batch(self, index: np.ndarray, rng: np.random.Generator | None) -> Batch:
        """x (B, 1, 96, frames), y (B, K). With `rng` a random chunk, augmented; with None each clip's first chunk."""
        y, _ = self.targets(index)
        if rng is None:
            return Batch(framed(log_mel(self.table.waves(self.first_row[index])), self.frames), y)
        own = [np.random.default_rng([VALIDATION_SEED, int(i)]) if self.fixed else rng for i in index]
        chunk = np.array([r.integers(c) for r, c in zip(own, self.count[index], strict=True)])
        mel = log_mel(self.table.waves(self.first_row[index] + chunk))
        return Batch(framed(np.stack([self._augmented(m, r) for m, r in zip(mel, own, strict=True)]), self.frames), y)

    def _augmented(self, mel: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(96, 101): the sound and a background noise, each in its own training view, mixed three times out of four."""
        view = training_view(mel, rng)
        if not self.noises or rng.random() >= BACKGROUND_SHARE:
            return view
        noise = self.noises[rng.integers(len(self.noises))]
        weight = np.float32(rng.uniform(0, BACKGROUND_MOST))
        return (1 - weight) * view + weight * training_view(noise, rng)
