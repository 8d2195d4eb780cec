"""The unpacked deepCR archives: stacks of image, cosmic-ray mask and ignore mask, with a sky level per exposure.

Run as `python -m tasks.files.cosmic FOLDER` it writes the two lists of images that the reader (and published code)
wants.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from tasks.contract import Batch, DataError, File, require
from tasks.files.locate import find, permission_said
from tasks.files.nb360 import check_finite
from tasks.files.pickles import load_npy
from tasks.files.splits import VALIDATION_SEED

CROP = (64, 192)
"""Rows and columns that published code keeps of a 256 x 256 image."""
SKY = (-0.9, 3.0)
"""Range of the sky multiple added in training."""
_FIELDS = """
10760_2 10760_4 13737_2 13737_3 9490_a3 12513_2 12513_3 10182_pb 10182_pd 10584_13 10342_3 14343_1 13057_1 10260_7
10260_5 10407_3 13364_95 10190_28 10190_13 9490_a2 13691_11 12058_12 12058_16 12058_1 12058_6 14704_1 13804_6
"""
GALAXY_FIELDS = frozenset(_FIELDS.split())
"""proposal_visit of the fields that NAS-Bench-360 keeps (type GAL)."""


@dataclass(frozen=True)
class Images:
    """A split of images with their masks, small enough for memory: (n, H, W) each."""

    image: np.ndarray
    mask: np.ndarray
    """bool; True on cosmic rays."""
    ignore: np.ndarray
    """bool; True where neither loss nor metric counts."""
    sky: np.ndarray
    """(n,) sky level of the exposure."""
    sky_in_evaluation: bool = False
    """Add sky to evaluation batches too (published code), one draw per image so that scores repeat."""
    labels = None

    def __len__(self) -> int:
        return len(self.image)

    def take(self, rows: np.ndarray) -> Images:
        """The images at `rows`."""
        return replace(self, **{k: getattr(self, k)[rows] for k in ("image", "mask", "ignore", "sky")})

    def batch(self, index: np.ndarray, rng: np.random.Generator | None) -> Batch:
        """x, y and `ignore` (B, 1, H, W); with `rng`, x gets U(-0.9, 3) times its sky level on top."""
        x = self.image[index]
        if rng is not None or self.sky_in_evaluation:
            factor = self._fixed(index) if rng is None else rng.uniform(*SKY, len(index))
            x = x + (factor * self.sky[index]).astype(np.float32)[:, None, None]
        extra = {"ignore": self.ignore[index][:, None]}
        return Batch(x[:, None].astype(np.float32), self.mask[index][:, None].astype(np.float32), extra)

    def _fixed(self, index: np.ndarray) -> np.ndarray:
        return np.array([np.random.default_rng([VALIDATION_SEED, int(i)]).uniform(*SKY) for i in index])


@permission_said()
def resolve(listed: str, base: Path) -> Path:
    """Where an image of the list lies: lists carry the paths of the machine that wrote them, so their tail counts."""
    parts = PurePosixPath(listed.replace("\\", "/")).parts
    tails = [base.joinpath(*parts[start:]) for start in range(len(parts))]
    # A missing image is named where it should lie: in the first folder that is here.
    return next((p for p in tails if p.is_file()), None) or next((p for p in tails if p.parent.is_dir()), tails[-1])


def read_stack(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image float32, cosmic mask and ignore mask (bool), cropped as published; a small stack is taken whole."""
    stack = load_npy(path)
    expected = "a stack (3, 256, 256) or (2, 256, 256) of image, mask and ignore mask"
    fits = stack.ndim == 3 and stack.shape[0] in (2, 3) and stack.shape[1] == stack.shape[2]
    require(fits, path, f"an array of shape {stack.shape}", expected)
    require(stack.dtype.kind in "fiu", path, f"an array of dtype {stack.dtype}", expected)
    if stack.shape[1] >= CROP[1]:
        stack = stack[:, CROP[0] : CROP[1], CROP[0] : CROP[1]]
    stack = stack.astype(np.float32)
    check_finite(path, "the stack", stack[None])
    require(np.isin(stack[1:], (0, 1)).all(), path, "a mask with values other than 0 and 1", expected)
    ignore = stack[2] if len(stack) == 3 else np.zeros_like(stack[0])
    return stack[0], stack[1] > 0, ignore > 0


def sky_level(path: Path) -> float:
    """The exposure's entry in `sky.npy` beside the image, whose name begins with the exposure's number from 1."""
    beside, number = path.with_name("sky.npy"), re.match(r"\d+", path.name)
    if not number:
        raise DataError(path, "a name that begins with no number", "EXPOSURE_PART.npy, to look up its sky level")
    levels = load_npy(beside)
    i = int(number[0]) - 1
    fits = levels.ndim == 1 and 0 <= i < len(levels) and np.isfinite(levels[i])
    require(fits, beside, f"sky levels of shape {levels.shape}", f"a finite level of exposure {i + 1}")
    return float(levels[i])


def listed(root: Path, file: File) -> list[Path]:
    """The images that the list `file` names, in sorted order."""
    path = find(root, file)
    names = load_npy(path, objects=True)
    fits = names.ndim == 1 and len(names) > 0 and all(isinstance(s, str) for s in names.tolist())
    require(fits, path, f"an array of shape {names.shape}, dtype {names.dtype}", "a list of image paths")
    return sorted(resolve(str(s), path.parent) for s in names)


def read_images(images: Sequence[Path]) -> Images:
    """The images with their masks and sky levels, in the order given."""
    stacks = [read_stack(image) for image in images]
    shapes = {s[0].shape for s in stacks}
    require(len(shapes) == 1, images[0], f"images of the sizes {sorted(shapes)}", "images of one size")
    image, mask, ignore = (np.stack(column) for column in zip(*stacks, strict=True))
    return Images(image, mask, ignore, np.array([sky_level(p) for p in images]))


def write_lists(folder: Path) -> dict[str, int]:
    """Writes `train_dirs.npy` and `test_dirs.npy` of the F435W galaxy fields below `folder`, sorted; counts by part."""
    counts = {}
    for part in ("train", "test"):
        found = [
            path.relative_to(folder).as_posix()
            for path in sorted((folder / f"npy_{part}" / "f435w").glob("*/*/*.npy"))
            if path.name != "sky.npy" and f"{path.parts[-3]}_{path.parts[-2]}" in GALAXY_FIELDS
        ]
        if not found:
            raise DataError(folder / f"npy_{part}", "no F435W image of a galaxy field",
                            "the unpacked deepCR archive", "Unpack the tar file there first.")  # fmt: skip
        np.save(folder / f"{part}_dirs.npy", np.array(found))
        counts[part] = len(found)
    return counts


if __name__ == "__main__":
    print(write_lists(Path(sys.argv[1])))
