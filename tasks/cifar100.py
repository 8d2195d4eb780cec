"""CIFAR-100: natural images in 100 classes (NAS-Bench-360)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.contract import Data, File, Request, Task
from tasks.generators import stand_in
from tasks.recipe import published, quick, sizes

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

    request.check_options()
    training, test = (_read_part(request, part) for part in ("train", "test"))
    rows = nb360.training_rows(request, len(training[0]), val=10_000, total=50_000, labels=training[1])
    mean, std = (255 * np.array(v, np.float32).reshape(3, 1, 1) for v in (MEAN, STD))
    augment = image_augmentation(fill=-mean / std, cutout=16 if request.protocol == "strict" else 0)
    return nb360.in_memory(request, POLICY, rows, training, test, (CLASSES,), scale=(mean, std), augment=augment)


def _read_part(request: Request, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one official file."""
    import numpy as np

    from tasks.files import nb360
    from tasks.files.locate import find
    from tasks.files.pickles import load_pickle

    path = find(request.root, FILES[part])
    table = load_pickle(path)
    flat = nb360.entry(path, table, "data", (None, 3072), "u")
    labels = nb360.labels(path, "fine label", nb360.member(path, table, "fine_labels"), len(flat), CLASSES)
    return flat.astype(np.uint8, copy=False).reshape(-1, 3, 32, 32), labels


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
    recipe=published(opt="sgd", lr=1e-4, wd=1e-3, momentum=0.9, batch=32, accum=32, epochs=60, warmup=5, decay=200),
    quick=quick(opt="adamw", lr=5e-4, accum=1, epochs=3, warmup=0.3, eval_batch=128, emb_epochs=1, emb_samples=8),
    sizes=sizes(samples=(50_000, 2_000, 100)),
    read=read,
    generate=stand_in("tasks.generators.cifar100", FILES.values()),
    licence="listed as CC BY 4.0 by NAS-Bench-360",
    citation="Krizhevsky 2009; Tu et al. 2022, NAS-Bench-360",
    source=f"Official: {_URL} ({_ARCHIVE}). The stand-in is drawn.",
    defects=("Published cross-modality code leaves out the Cutout of NAS-Bench-360: `paper` does, `strict` has it.",),
)
