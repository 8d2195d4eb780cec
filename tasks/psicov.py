"""PSICOV: distances between residues of a protein from evolutionary features (NAS-Bench-360, the PDNET data)."""

from __future__ import annotations

from dataclasses import replace

from tasks.contract import Data, File, Request, Task
from tasks.generators import stand_in
from tasks.recipe import published, quick, sizes

_GET = (
    "protein.zip (1.1 GB) in the NAS-Bench-360 folder on Google Drive, id 1OOp6UrCiP79mTIkCrUdjjHWDo8K0bJUw, unzipped"
)
FILES = {name: File(path=f"protein/{name}.lst", get=_GET) for name in ("deepcov", "psicov")}
POLICY = "the first 100 proteins of deepcov.lst validate, the 150 of psicov.lst test"


def read(request: Request) -> Data:
    """57 feature maps (57, S, S) in, distances (1, S, S) in Angstrom out, S = 512; built protein by protein on demand.

    Five pixels of padding around each protein, placed top left; a longer protein is cropped (at random in training,
    from its first residue otherwise). Training targets are cut at 16 A. `extra` has `length` (residues) and `ignore`
    (padding and unknown distances); under `paper` padding counts in the training loss and unknown distances are 0, as
    published.
    """
    from tasks.files import nb360
    from tasks.files.locate import find
    from tasks.files.psicov import Proteins, locate, read_list, window_of

    request.check_options()
    names, tests = (read_list(request.root, FILES[n]) for n in ("deepcov", "psicov"))
    rows = nb360.training_rows(request, len(names), val=100, total=3456, choose=nb360.first_rows)
    folder, window = find(request.root, FILES["deepcov"]).parent, window_of(request.root, FILES["deepcov"])
    paper = request.protocol == "paper"
    parts = {name: Proteins(folder, tuple(names[i] for i in r), window) for name, r in rows.items()}
    parts["train"] = replace(parts["train"], clip=16.0, count_padding=paper)
    parts["test"] = Proteins(folder, tests, window)
    if paper:
        parts = {name: replace(part, unknown=0.0) for name, part in parts.items()}
    nb360.read_first(parts)
    everyone = [locate(folder, kind, name) for name in (*names, *tests) for kind in ("features", "distance")]
    notes = {"window": window, "padding_in_training_loss": paper}
    shapes, members = ((57, window, window), (1, window, window)), nb360.below(folder, everyone)
    return nb360.assemble(request, POLICY, rows, parts, *shapes, notes, members=members)


TASK = Task(
    name="psicov",
    title="PSICOV (protein distance maps)",
    suites=("nas_bench_360",),
    kind="dense",
    input_shape=(57, 512, 512),
    output_shape=(1, 512, 512),
    loss="mse_masked",
    metric="mae8",
    paper_metric="mae8_paper",
    more_metrics=("mae8", "mae8_nb360"),
    trivial="mean",
    backbone="swin_base",
    splits={"train": 3_356, "val": 100, "test": 150},
    split_policy=POLICY,
    files=tuple(FILES.values()),
    recipe=published(
        opt="adam", lr=5e-6, wd=1e-5, batch=1, accum=32, epochs=10, warmup=5, decay=100, eval_batch=1, emb_samples=64
    ),
    quick=quick(lr=5e-4, batch=4, accum=1, epochs=6, warmup=0.5, eval_batch=8, emb_epochs=1, emb_samples=8),
    sizes=sizes(samples=(3_456, 120, 12), longest=(400, 80, 48), window=(512, 96, 64)),
    read=read,
    generate=stand_in("tasks.generators.psicov", FILES.values()),
    licence="GPL (listed by NAS-Bench-360)",
    citation="Adhikari 2020 (PDNET); Jones et al. 2012 (PSICOV); Tu et al. 2022, NAS-Bench-360",
    source=f"Official: {_GET}. The stand-in is synthesised.",
    defects=(
        "NAS-Bench-360 trains on 128 x 128 crops and tiles the test set; later code, and this reader, use 512 x 512.",
        "NAS-Bench-360's code weighs triangles 0.25 and 0.75 (mae8_nb360), and its test loader shuffles while the lengths"
        " follow the list; ORCA's crops every test protein to the length of the first besides (mae8_paper).",
        "Published code replaces unknown distances by 0 (`paper` does); `strict` ignores them.",
    ),
)
