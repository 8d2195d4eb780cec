"""CIFAR-100: natural images in 100 classes (NAS-Bench-360)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tasks.contract import Data, DataError, File, Request, Task

if TYPE_CHECKING:
    import numpy as np

_URL = "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"
_ARCHIVE = "md5:eb9058c3a382ffc7106e4002c42a8d85"
FILES = {
    name: File(f"cifar-100-python/{name}", None, _URL, f"md5:{md5}", "the archive cifar-100-python.tar.gz", _ARCHIVE)
    for name, md5 in (
        ("train", "16019d7e3df5f24257cddd939b257f8d"),
        ("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
    )
}
CLASSES = 100
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
POLICY = "the last fifth of the training images validates"


def read(request: Request) -> Data:
    """Images (n, 3, 32, 32) uint8 given out normalised, labels 0..99.

    Training images are cropped with 4 pixels of padding and flipped, under `strict` also cut out (16 x 16, as
    NAS-Bench-360 does). `strict` validates on the last fifth of the training images, `paper` trains on all of them.
    """
    import numpy as np

    from tasks.files import nb360
    from tasks.files.augment import image_augmentation

    nb360.check_options(request)
    x, y = {}, {}
    for part in ("train", "test"):
        x[part], y[part] = _read_part(request, part)
    n = len(x["train"])
    rows = nb360.limited(nb360.last_rows(n, nb360.held_out(n, 10_000, 50_000)), request)
    mean, std = (255 * np.array(v, np.float32).reshape(3, 1, 1) for v in (MEAN, STD))
    augment = image_augmentation(fill=-mean / std, cutout=16 if request.protocol == "strict" else 0)
    parts = nb360.array_parts(x["train"], y["train"], rows, x["test"], y["test"], scale=(mean, std), augment=augment)
    return nb360.assemble(request, POLICY, rows, parts, (3, 32, 32), (CLASSES,))


def _read_part(request: Request, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one official file."""
    import numpy as np

    from tasks.files import nb360
    from tasks.files.locate import find
    from tasks.files.pickles import load_pickle

    path = find(request.root, FILES[part])
    table = load_pickle(path, cure=nb360.AGAIN)
    flat = nb360.array(path, "data", nb360.member(path, table, "data"), (None, 3072), "u")
    labels = nb360.labels(path, "fine label", nb360.member(path, table, "fine_labels"), len(flat), CLASSES)
    return flat.astype(np.uint8, copy=False).reshape(-1, 3, 32, 32), labels


def generate(root: Path, *, samples: int, **size: int) -> None:
    """Pictures of 100 classes (shape x texture x colour) in the layout of `cifar-100-python`.

    Imitates small colour images whose class shows in several cues; they are drawn, not photographed.
    """
    from tasks.generators.cifar100 import write

    if size:
        raise DataError(root, f"the arguments {sorted(size)}", "samples only", "Leave them out.")
    write({part: root / file.path for part, file in FILES.items()}, samples=samples)


TASK = Task(
    name="cifar100",
    title="CIFAR-100",
    suites=("nas_bench_360",),
    kind="classes",
    input_shape=(3, 32, 32),
    output_shape=(CLASSES,),
    loss="cross_entropy",
    metric="error",
    paper_metric="error_chunks_1024",
    more_metrics=("error",),
    trivial="majority",
    backbone="swin_base",
    splits={"train": 40_000, "val": 10_000, "test": 10_000},
    split_policy=POLICY,
    files=tuple(FILES.values()),
    recipe={
        "trainer.optimizer": "sgd",
        "trainer.lr": 1e-4,
        "trainer.weight_decay": 1e-3,
        "trainer.momentum": 0.9,
        "trainer.batch_size": 32,
        "trainer.accumulation": 32,
        "trainer.epochs": 60,
        "trainer.warmup_epochs": 5,
        "trainer.decay_epochs": 200,
        "trainer.eval_batch_size": 1000,
        "stage1.epochs": 60,
        "stage1.max_samples": 128,
    },
    quick={
        "trainer.optimizer": "adamw",
        "trainer.lr": 5e-4,
        "trainer.accumulation": 1,
        "trainer.epochs": 3,
        "trainer.warmup_epochs": 0.3,
        "trainer.decay_epochs": 3,
        "trainer.eval_batch_size": 128,
        "stage1.epochs": 1,
        "stage1.max_samples": 8,
    },
    sizes={"published": {"samples": 50_000}, "quick": {"samples": 2_000}, "tiny": {"samples": 100}},
    read=read,
    generate=generate,
    licence="listed as CC BY 4.0 by NAS-Bench-360",
    citation="Krizhevsky 2009; Tu et al. 2022, NAS-Bench-360",
    source=f"Official: {_URL} ({_ARCHIVE}). The stand-in is drawn.",
    defects=("Published cross-modality code leaves out the Cutout of NAS-Bench-360: `paper` does, `strict` has it.",),
)
