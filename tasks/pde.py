"""What the PDEBench tasks share: one frame of one released file in, one late frame out.

A task says which with `Pairs`, and what is its own; `pde` adds what all of them have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tasks.contract import Data, File, Request, Task
from tasks.recipe import Recipe, quick

if TYPE_CHECKING:
    from tasks.files.pdebench import Layout

LICENCE = "data CC BY 4.0 (DaRUS); this project's stand-in is made by its own solver"
CITATION = (
    "Takamoto, Praditia, Leiteritz, MacKinlay, Alesiani, Pflueger, Niepert: PDEBench: An Extensive Benchmark for "
    "Scientific Machine Learning, NeurIPS 2022 (Datasets and Benchmarks), arXiv:2210.07182, doi:10.18419/darus-2986. "
    "One frame in, one frame out: Shen et al., Cross-Modal Fine-Tuning: Align then Refine (ORCA), ICML 2023, "
    "arXiv:2302.05738"
)
ONE_JUMP = (
    "Published cross-modal work predicts one late frame from the first one; that is not PDEBench's autoregressive "
    "protocol, and its nRMSE is not PDEBench's: never put the two in one column."
)
NO_VALIDATION = (
    "Published code has no validation set here and picks the epoch on test (protocol `paper` reproduces it)."
)
MORE_METRICS = (
    "rmse", "nrmse_pertimestep", "max_error", "conserved_rmse", "boundary_rmse",
    "fourier_rmse_low", "fourier_rmse_mid", "fourier_rmse_high",
)  # fmt: skip
"""PDEBench's metrics beside the score `nrmse`."""
QUICK = {
    1: quick(opt="adamw", lr=5e-4, batch=32, epochs=6, warmup=1, seq=16, emb_epochs=3, emb_samples=32),
    2: quick(opt="adamw", lr=1e-3, batch=16, epochs=6, warmup=1, emb_epochs=3, emb_samples=32),
}
"""The quick profile by the number of spatial axes."""


@dataclass(frozen=True)
class Pairs:
    """What a task takes from a file: which arrays at which times, and who is tested on."""

    layout: Layout
    axes: str
    """Spatial axes in the order in which the family stores them: `x`, `xy` or `yx`. Kept as they are."""
    points: int
    """Points per axis after the published decimation."""
    frames: int
    """Frames of the official file; frame numbers below count these."""
    stored: int | None = None
    """Points per axis of the official file, where it has more than `points`."""
    inputs: tuple[int, ...] = (0,)
    targets: tuple[int, ...] = (0,)
    """Channels: fields of a CFD file, last axis of a grouped file; in a Darcy file 0 is coefficient, 1 solution."""
    paper_train: int = 0
    """Frame that published code trains on."""
    paper_test: int = 0
    """Frame that published code scores; differs from `paper_train` by accident in several tasks."""
    policy: str = "pdebench-first10"
    constants: Mapping[str, float] = field(default_factory=dict)
    """Coefficients that the file must have, by lower-case name."""


def pde(
    *,
    file: File,
    pairs: Pairs,
    stand_in: str,
    defects: tuple[str, ...],
    samples: int = 10_000,
    quick: Recipe | None = None,
    shape: tuple[int, ...] | None = None,
    **own: Any,
) -> Task:
    """The task of predicting one frame of `file` from its first one.

    Args:
        file: the one file that is read.
        pairs: what is read; without a `read` of the task's own it is given out as it is.
        stand_in: what the stand-in is or does, to end the sentence "the stand-in ...".
        defects: the task's own; those that all share are added.
        samples: trajectories in the official file, a tenth of which are test.
        quick: what the quick profile changes of `QUICK`.
        shape: published shape of input and output; None: the channels and points of `pairs`.
        own: what `Task` has besides; `suites`, `loss` and `read` may be left out.
    """

    def read_plainly(request: Request) -> Data:
        from tasks.files.pairs import cut, load

        return cut(request, pairs, load(request, file, pairs))

    dims = len(pairs.axes)
    shape = shape or (len(pairs.inputs), *(pairs.points,) * dims)
    end = pairs.policy.removeprefix("pdebench-").removesuffix("10")
    shared = {
        "suites": ("pdebench",),
        "kind": "dense",
        "input_shape": shape,
        "output_shape": shape,
        "loss": "nrmse",
        "metric": "nrmse",
        "more_metrics": MORE_METRICS,
        "trivial": "mean",
        "backbone": "roberta_base" if dims == 1 else "swin_base",
        "splits": {"train": samples * 81 // 100, "val": samples * 9 // 100, "test": samples // 10},
        "split_policy": f"{pairs.policy}: the {end} 10 % are test; a seeded 10 % of the rest is validation (strict)",
        "files": (file,),
        "quick": {**QUICK[dims], **(quick or {})},
        "read": read_plainly,
        "licence": LICENCE,
        "citation": CITATION,
        "source": f"PDEBench on DaRUS; the stand-in {stand_in}",
        "defects": (*defects, *((ONE_JUMP,) if pairs.frames > 1 else ()), NO_VALIDATION),
    }
    return Task(**{**shared, **own})
