"""Darcy flow of NAS-Bench-360: from a two-valued permeability to the pressure (the data of the FNO paper)."""

from __future__ import annotations

from tasks.contract import Data, File, Request, Task
from tasks.generators import stand_in
from tasks.recipe import published, quick, sizes

_GET = "the NAS-Bench-360 folder on Google Drive, folder id 1OOp6UrCiP79mTIkCrUdjjHWDo8K0bJUw (or FNO's own folder)"
FILES = {
    part: File(path=f"darcy/piececonst_r421_N1024_smooth{number}.mat", get=_GET)
    for part, number in (("train", 1), ("test", 2))
}
POLICY = "the first 1,000 samples of smooth1 (the last tenth of them validates), the first 100 of smooth2 test"


def read(request: Request) -> Data:
    """Coefficient and coordinates (n, 3, 85, 85) in, pressure (n, 1, 85, 85) out.

    Every fifth point of the 421 x 421 grids. The coefficient is normalised point by point over the training split
    (divided by standard deviation + 1e-5), the targets stay physical: `decode` turns the model's output into pressure
    by the training targets' point-wise mean and deviation.
    """
    from tasks.files import nb360
    from tasks.files.darcy_mat import normaliser, read_pairs, with_grid

    request.check_options()
    a, u = read_pairs(request, FILES["train"], 1000)
    a_test, u_test = read_pairs(request, FILES["test"], 100)
    rows = nb360.training_rows(request, len(a), val=100, total=1000)
    mean, std = normaliser(a[rows["train"]])
    x, x_test = (with_grid((values - mean) / std) for values in (a, a_test))
    shift, scale = normaliser(u[rows["train"]])
    training, test = (x, u[:, None]), (x_test, u_test[:, None])
    decode = (shift[None], scale[None])
    notes = {"stride": 5, "normalised_by_training_set": True}
    return nb360.in_memory(request, POLICY, rows, training, test, (1, *u.shape[1:]), notes=notes, decode=decode)


TASK = Task(
    name="darcy_nb360",
    title="Darcy flow (FNO data)",
    suites=("nas_bench_360",),
    kind="dense",
    input_shape=(3, 85, 85),
    output_shape=(1, 85, 85),
    loss="relative_l2",
    metric="relative_l2",
    paper_loss="relative_l2_sum",
    more_metrics=(),
    trivial="mean",
    backbone="swin_base",
    splits={"train": 900, "val": 100, "test": 100},
    split_policy=POLICY,
    files=tuple(FILES.values()),
    recipe=published(opt="adamw", lr=1e-3, wd=5e-3, batch=4, epochs=100, warmup=5, decay=100),
    quick=quick(batch=8, epochs=6, warmup=0.5, eval_batch=32, emb_epochs=2, emb_samples=16),
    sizes=sizes(samples=(1_000, 160, 24), grid=(421, 101, 61)),
    read=read,
    generate=stand_in("tasks.generators.darcy_nb360", FILES.values()),
    licence="MIT (listed by NAS-Bench-360)",
    citation="Li et al. 2021, Fourier neural operator; Tu et al. 2022, NAS-Bench-360",
    source=f"Official: {_GET}. The stand-in solves the same equation with the same random field.",
    defects=(
        "An independent 5-point solver is 0.5 % from the official solutions: their own discretisation error.",
        "Published code sums the loss over the batch: `paper` does, `strict` takes the mean.",
    ),
)
