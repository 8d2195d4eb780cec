"""FSD50K: sound events in one-second chunks of audio clips (NAS-Bench-360)."""

from __future__ import annotations

from tasks.contract import Data, File, Request, Task
from tasks.generators import stand_in
from tasks.recipe import published, quick, sizes

_GET = "audio.zip (24 GB) in the NAS-Bench-360 folder on Google Drive, id 1OOp6UrCiP79mTIkCrUdjjHWDo8K0bJUw, unzipped"
FILES = {
    name: File(path=f"audio/data/chunks/{name}", get=_GET + " in DATA_FOLDER/audio")
    for name in ("tr.csv", "val.csv", "eval.csv", "lbl_map.json")
}
POLICY = "as published, three manifests"


def read(request: Request) -> Data:
    """Log-mel features (n, 1, 96, 101) of one-second chunks, targets (n, 200); computed from the wav files on demand.

    Training has one sample per clip: a random chunk of it, masked and then mixed with a masked background noise. Validation and test
    have every chunk, with `extra["clip"]` so that the metric averages logits over a clip. `paper` trains on tr.csv
    alone, draws chunk and augmentation of a clip once and for all, and appends a column of zeros (102 frames).
    """
    from tasks.files import nb360
    from tasks.files.audio import AUDIO_LIBRARY
    from tasks.files.fsd50k import Chunks, Clips, noise_files, read_labels, read_manifest
    from tasks.files.locate import find

    request.check_options()
    paper = request.protocol == "paper"
    label_map = read_labels(find(request.root, FILES["lbl_map.json"]))
    tables = {
        part: read_manifest(find(request.root, FILES[f"{name}.csv"]), label_map)
        for part, name in (("train", "tr"), ("val", "val"), ("test", "eval"))
    }
    frames = 102 if paper else 101
    clips = Clips.of(tables["train"], frames, fixed=paper)
    kept = nb360.limited(nb360.last_rows(len(clips), 0), request)["train"]
    parts: dict[str, Clips | Chunks] = {"train": clips.take(kept)}
    parts |= {p: Chunks(tables[p], frames) for p in ("val", "test") if not (paper and p == "val")}
    nb360.read_first(parts)
    rows = {part: nb360.last_rows(len(split), 0)["train"] for part, split in parts.items()} | {"train": kept}
    notes = {
        "audio_library": AUDIO_LIBRARY,
        "clips": {part: len(set(tables[part].clip)) for part in parts},
        "background_noises": len(clips.noises),
        "published_input_shape": [1, 96, frames],
    }
    members = noise_files(tables["train"])
    for table in tables.values():
        members |= table.members()
    return nb360.assemble(request, POLICY, rows, parts, (1, 96, frames), (len(label_map),), notes, members=members)


TASK = Task(
    name="fsd50k",
    title="FSD50K (sound events)",
    suites=("nas_bench_360",),
    kind="multilabel",
    input_shape=(1, 96, 101),
    output_shape=(200,),
    loss="bce_pos10",
    metric="one_minus_map",
    more_metrics=("one_minus_auroc",),
    trivial="label_prior",
    backbone="swin_base",
    splits={"train": 36_796, "val": 4_170, "test": 10_231},
    split_policy=POLICY,
    files=tuple(FILES.values()),
    recipe=published(opt="adam", lr=1e-4, wd=5e-5, batch=32, epochs=100, warmup=5, decay=100, eval_batch=256),
    quick=quick(lr=5e-4, batch=8, epochs=6, warmup=0.5, eval_batch=64, emb_epochs=2, emb_samples=16),
    sizes=sizes(samples=(36_796, 160, 24)),
    read=read,
    generate=stand_in("tasks.generators.fsd50k", FILES.values()),
    licence="CC BY 4.0",
    citation="Fonseca et al. 2022, FSD50K; Tu et al. 2022, NAS-Bench-360",
    source=f"Official: {_GET}. The stand-in is synthesised.",
    defects=(
        "Published cross-modality code draws one augmented chunk per clip once for all epochs and leaves out val.csv.",
        "101 frames in NAS-Bench-360, 102 (the last one zero) in later code.",
    ),
)
