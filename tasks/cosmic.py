"""Cosmic: cosmic-ray pixels in Hubble images (NAS-Bench-360, the deepCR data)."""

from __future__ import annotations

from tasks.contract import Data, File, Request, Task
from tasks.generators import stand_in
from tasks.recipe import published, quick, sizes

FILES = {
    part: File(
        path=f"cosmic/{part}_dirs.npy",
        get=f"deepCR.ACS-WFC.{part}.tar of the deepCR data set, unpacked to cosmic/npy_{part}; then the list of its"
        " images in galaxy fields: `python -m tasks.files.cosmic DATA_FOLDER/cosmic`",
    )
    for part in ("train", "test")
}
POLICY = "the last tenth of the training images in sorted order validates"


def read(request: Request) -> Data:
    """Images (n, 1, 128, 128) in, cosmic-ray masks (n, 1, 128, 128) out; `extra["ignore"]` marks pixels to leave out.

    The central 128 x 128 of each image. Training images get U(-0.9, 3) times the sky level of their exposure on top,
    validation and test images nothing; under `paper` test images too, as published, but drawn once per image. `paper`
    counts ignored pixels as published code does, in its loss and its metric.
    """
    from dataclasses import replace

    from tasks.files import nb360
    from tasks.files.cosmic import listed, read_images
    from tasks.files.locate import find

    request.check_options()
    images = {part: listed(request.root, file) for part, file in FILES.items()}
    train, test = read_images(images["train"]), read_images(images["test"])
    rows = nb360.training_rows(request, len(train), val=483, total=4830)
    paper = request.protocol == "paper"
    parts = {name: train.take(r) for name, r in rows.items()} | {"test": replace(test, sky_in_evaluation=paper)}
    shape = (1, *train.image.shape[1:])
    folder = find(request.root, FILES["train"]).parent
    notes = {"sky_augmentation": "training and test" if paper else "training only", "order": "sorted paths"}
    everything = [*images["train"], *images["test"]]
    members = nb360.below(folder, {*everything, *(image.with_name("sky.npy") for image in everything)})
    return nb360.assemble(request, POLICY, rows, parts, shape, shape, notes, members=members)


TASK = Task(
    name="cosmic",
    title="Cosmic rays in Hubble images (deepCR)",
    suites=("nas_bench_360",),
    kind="dense",
    input_shape=(1, 128, 128),
    output_shape=(1, 128, 128),
    loss="bce_masked",
    metric="one_minus_auroc",
    paper_metric="balanced_error_paper",
    paper_loss="bce_masked_paper",
    more_metrics=("fnr", "fnr_raw_logits", "balanced_error"),
    trivial="all_negative",
    backbone="swin_base",
    splits={"train": 4_347, "val": 483, "test": 420},
    split_policy=POLICY,
    files=tuple(FILES.values()),
    recipe=published(opt="adamw", lr=1e-3, wd=0.0, batch=4, epochs=60, warmup=5, decay=60),
    quick=quick(batch=8, epochs=6, warmup=0.5, eval_batch=32, emb_epochs=2, emb_samples=16),
    sizes=sizes(samples=(4_830, 200, 20), width=(256, 64, 32)),
    read=read,
    generate=stand_in("tasks.generators.cosmic", FILES.values()),
    licence="CC BY 4.0",
    citation="Zhang & Bloom 2020, deepCR; Tu et al. 2022, NAS-Bench-360",
    source="Official: the deepCR ACS/WFC F435W archives. The stand-in is synthesised.",
    defects=(
        "Published numbers mix FNR (on raw logits in NAS-Bench-360's code) with a '1-AUROC' of thresholded logits,"
        " which is a balanced error.",
        "Published code adds random sky to test images too (`paper` does, drawn once per image) and orders the"
        " validation split by os.listdir.",
        "Published code counts ignored pixels: in the loss with logit and target 0 (bce_masked_paper), as true negatives"
        " in ORCA's metric (balanced_error_paper), and as they are in NAS-Bench-360's (fnr_raw_logits).",
    ),
)
