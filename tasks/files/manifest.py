"""The PDEBench manifest: every released file (but NS_Incom) with its folder, link and MD5."""

from __future__ import annotations

import csv
import functools
from pathlib import Path

from tasks.contract import File

TABLE = Path(__file__).with_name("pdebench_files.csv")
LINK = "https://darus.uni-stuttgart.de/api/access/datafile/{id}"
DOI = "doi:10.18419/darus-2986"


@functools.cache
def rows() -> dict[str, dict[str, str]]:
    """The manifest by file name: family, file, datafile_id, md5, path."""
    with TABLE.open(newline="") as f:
        return {row["file"]: row for row in csv.DictReader(f)}


def official(name: str, size: int | None = None, about: str = "") -> File:
    """The released file `name` as a `File`; `size` in bytes only where it is known exactly, else `about` in words."""
    row = rows()[name]
    link = LINK.format(id=row["datafile_id"])
    get = f"PDEBench, {DOI}" + (f", about {about}" if about else "")
    return File(row["path"] + name, size, link, f"md5:{row['md5']}", get)


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
"""A defect that all these tasks share."""
NO_VALIDATION = (
    "Published code has no validation set here and picks the epoch on test (protocol `paper` reproduces it)."
)
MORE_METRICS = (
    "rmse", "nrmse_pertimestep", "max_error", "conserved_rmse", "boundary_rmse",
    "fourier_rmse_low", "fourier_rmse_mid", "fourier_rmse_high",
)  # fmt: skip
"""PDEBench's metrics beside the score `nrmse`."""
