"""NinaPro DB5: hand movements from surface electromyography (NAS-Bench-360)."""

from __future__ import annotations

from tasks.contract import Data, File, Request, Task
from tasks.generators import stand_in
from tasks.recipe import published, quick, sizes

_GET = "the NAS-Bench-360 folder on Google Drive, file id "
FILES = {
    name: File(path=f"ninaPro/{name}.npy", checksum=f"md5:{md5}", get=_GET + drive)
    for name, md5, drive in (
        ("ninapro_train", "d4c33785587983348e6091e86a0d30b6", "1zcrpm9gPwKk_neZNJ6TygAq8Udmuc4LD"),
        ("label_train", "4164e7fcae3f8abed0a04fd86b704f77", "1xYd5EqUwxp0wBoIXfFSS6FjjdhVD1z-k"),
        ("ninapro_val", "138b106d4374a3fc204e41f6c4deda49", "1UYMJBh1T8ioLamefI-15QtHrx5yyyDtj"),
        ("label_val", "f0464819f7ed56cb1cbbfafd312bd604", "1pCRBQjgkx2yyf8K0ReOYmcY1l3BlJgci"),
        ("ninapro_test", "8a2b2cf87d5a5cf3986db2d67ebcfa18", "1rtZvlLnGvK9XSujVyH-faixpvMHLEiSV"),
        ("label_test", "807b502000dba69ae0111063970ac5d2", "1-PcyUoOmcFBUexSILpZYndiEioldzxMR"),
    )
}
CLASSES = 18
POLICY = "as published, in three pairs of files"


def read(request: Request) -> Data:
    """Windows (n, 1, 16, 52) of 16 electrodes over 260 ms, stored as (n, 52, 16); labels 0..17, mostly rest.

    `paper` trains on the training and validation files together.
    """
    import numpy as np

    from tasks.files import nb360
    from tasks.files.locate import find
    from tasks.files.pickles import load_npy

    request.check_options()
    x, y = {}, {}
    for part in ("train", "val", "test"):
        path = find(request.root, FILES[f"ninapro_{part}"])
        values = nb360.array(path, "windows", load_npy(path, objects=True), (None, 52, 16))
        x[part] = np.ascontiguousarray(values.astype(np.float32).transpose(0, 2, 1))[:, None]
        label_path = find(request.root, FILES[f"label_{part}"])
        numbers = load_npy(label_path, objects=True)
        y[part] = nb360.labels(label_path, "label", numbers, len(values), CLASSES)
    training = np.concatenate([x["train"], x["val"]]), np.concatenate([y["train"], y["val"]])
    rows = nb360.limited(nb360.last_rows(len(training[0]), len(x["val"])), request, training[1])
    return nb360.in_memory(request, POLICY, rows, training, (x["test"], y["test"]), (CLASSES,))


TASK = Task(
    name="ninapro",
    title="NinaPro DB5 (electromyography)",
    suites=("nas_bench_360",),
    kind="classes",
    input_shape=(1, 16, 52),
    output_shape=(CLASSES,),
    loss="cross_entropy",
    metric="error",
    more_metrics=(),
    trivial="majority",
    backbone="swin_base",
    splits={"train": 2_638, "val": 659, "test": 659},
    split_policy=POLICY,
    files=tuple(FILES.values()),
    recipe=published(opt="adam", lr=1e-4, wd=1e-5, batch=32, epochs=60, warmup=5, decay=60, clip=1.0, emb_epochs=100),
    quick=quick(lr=5e-4, epochs=6, warmup=0.5, eval_batch=128, emb_epochs=2, emb_samples=32),
    sizes=sizes(samples=(3_297, 1_200, 80)),
    read=read,
    generate=stand_in("tasks.generators.ninapro", FILES.values()),
    licence="CC BY-ND (listed by NAS-Bench-360)",
    citation="Pizzolato et al. 2017 (NinaPro DB5); Josephs et al. 2020; Tu et al. 2022, NAS-Bench-360",
    source="Official: six .npy files of NAS-Bench-360 on Google Drive. The stand-in is synthesised.",
    defects=("At least 65 % of the windows are rest: compare with the majority class.",),
)
