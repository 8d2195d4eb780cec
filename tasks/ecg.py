"""ECG: rhythm of single-lead recordings in windows of 3.3 s (NAS-Bench-360, from the CinC 2017 challenge)."""

from __future__ import annotations

from tasks.contract import Data, File, Request, Task
from tasks.generators import stand_in
from tasks.recipe import converged, published, quick, sizes

FILE = File(
    path="ecg/challenge2017.pkl",
    get="the NAS-Bench-360 folder on Google Drive, file id 1j7Yk0-W9uonQiyyG2B9ZAw5jjZA-UeMS",
)
POLICY = "records by scikit-learn's train_test_split(random_state=0): 80 % train, 10 % validation, 10 % test"
QUICK = quick(
    opt="adamw", lr=3e-4, wd=0.01, batch=20, accum=1, epochs=4, warmup=0.5, seq=25,
    eval_batch=64, emb_epochs=1, emb_samples=32,
)  # fmt: skip


def read(request: Request) -> Data:
    """Windows (n, 1, 1000) of z-scored records, labels 0..3 for N, A, O, ~; `extra["record"]` numbers the record.

    Records are split first, windows cut after (stride by class), so no record lies in two splits. `paper` keeps 10 %
    of the records for testing and has no validation split.
    """
    from tasks.files.ecg import read_records, split_records, windows
    from tasks.files.locate import find
    from tasks.files.nb360 import assemble, last_rows, limited

    request.check_options()
    path = find(request.root, FILE)
    signals, labels = read_records(path)
    rows = split_records(len(signals), validation=request.protocol == "strict")
    parts = {name: windows(path, signals, labels, records) for name, records in rows.items()}
    short = int(sum(len(s) <= parts["test"].length for s in signals))
    notes = {"records": {name: len(r) for name, r in rows.items()}, "records_without_a_window": short}
    if request.limit is not None:
        train = parts["train"]
        rows["train windows"] = limited(last_rows(len(train), 0), request, train.labels)["train"]
        parts["train"] = train.take(rows["train windows"])
    return assemble(request, POLICY, rows, parts, (1, parts["test"].length), (4,), notes)


TASK = Task(
    name="ecg",
    title="ECG (CinC 2017 rhythms)",
    suites=("nas_bench_360", "quick", "evidence"),
    kind="classes",
    input_shape=(1, 1000),
    output_shape=(4,),
    loss="cross_entropy",
    metric="f1_error_records",
    paper_metric="f1_error_windows_chunks_1000",
    more_metrics=("f1_error_windows", "error"),
    trivial="majority",
    backbone="roberta_base",
    splits={"train": 261_740, "val": 33_281, "test": 33_494},
    split_policy=POLICY,
    files=(FILE,),
    recipe=published(
        opt="sgd", lr=1e-6, wd=0.1, momentum=0.99, batch=4, accum=16, epochs=15, warmup=5, decay=200, seq=64
    ),
    quick=QUICK,
    converged=converged(epochs=10, patience=4, seq=8),
    sizes=sizes({"samples": 600}, samples=(8_528, 400, 60), length=(9_000, 1_100, 1_050)),
    read=read,
    generate=stand_in("tasks.generators.ecg", (FILE,)),
    licence="ODC-BY 1.0",
    citation="Clifford et al. 2017, PhysioNet/CinC challenge; Tu et al. 2022, NAS-Bench-360",
    source=f"Official: {FILE.get} (derived from physionet.org/content/challenge-2017). The stand-in is synthesised.",
    defects=(
        "Windows of rare classes overlap more (stride N 500, A 83, O 250, ~ 25) in the test set too, so window scores"
        " weigh records by class and length.",
        "Public code cuts no window that ends with its record's last sample; neither does this reader.",
        "Published tables mix scores per record (NAS-Bench-360) and per window (DASH, ORCA).",
        "The pickle holds 8,528 records; the 12,186 of the paper include a hidden test set.",
    ),
)
