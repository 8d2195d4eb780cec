"""From the start of the process to the first step of stage 2, on data of full size: seconds and memory.

CIFAR-100's 60,000 images (random ones in the official layout) and Advection's official file (10,000 × 201 × 1,024,
sparse on disk). Each run is a process of its own; what the data cost in memory is its peak less that of the same run on
the tiny stand-in. The goal is 15 s on two cores and 1.5 GB. The first cell in a data folder takes the pretrained body's
features for the probe; "again" is the second one, which reads them. Run as a script with task, method, profile and folder, this
file is that process.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

ROOT = Path(__file__).parent.parent


class FirstStep(BaseException):
    """Stage 2 has taken its first step."""


def main(task: str, method: str, profile: str, folder: str) -> None:
    """Run a cell up to the first step of stage 2; prints {cpu, peak} in seconds and bytes."""
    sys.path.insert(0, str(ROOT))
    from bench import plan
    from bench.cell import story as cell
    from bench.cell import trainer
    from bench.plan import Places, Selection

    process, seen = psutil.Process(), [0]

    def watch() -> None:
        while True:
            seen[0] = max(seen[0], process.memory_info().rss)
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()

    def progress(word):
        if word["stage"] == "stage2":
            raise FirstStep

    trainer.TALK_SECONDS = 0.0
    settings = (("orca.epochs", 1),) if method == "orca" else ()
    selection = Selection(tasks=(task,), methods=(method,), profile=profile, set=settings)
    places = Places(Path(folder), Path(folder) / f"results-{os.getpid()}")
    (chosen,) = plan.cells(selection, places.data_dir)
    try:
        record = cell.run(chosen, places, {}, progress, (FirstStep,))
    except FirstStep:
        print(json.dumps({"cpu": time.process_time(), "peak": seen[0]}))
    else:
        raise SystemExit(f"stage 2 took no step: {record['status']}, {record['error']}")


def measured(*arguments: str) -> dict[str, float]:
    """{wall, cpu, peak} of a process."""
    start = time.perf_counter()
    run = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, cwd=ROOT)
    if run.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {run.returncode}:\n{run.stderr}")
    return {"wall": time.perf_counter() - start, **json.loads(run.stdout.splitlines()[-1])}


def cifar100(root: Path) -> None:
    """60,000 random images in the official layout."""
    rng = np.random.default_rng(0)
    (root / "cifar-100-python").mkdir(parents=True)
    for part, n in (("train", 50_000), ("test", 10_000)):
        table = {"data": rng.integers(0, 256, (n, 3072), np.uint8), "fine_labels": (np.arange(n) % 100).tolist()}
        (root / "cifar-100-python" / part).write_bytes(pickle.dumps(table, 2))


def advection(root: Path) -> None:
    """A file of the official shape, 8.2 GB of which almost nothing is on disk."""
    from tests.test_pde_sizes import sparse

    sparse("advection", root)


@pytest.mark.parametrize(
    "make, method", [(cifar100, "vanilla"), (cifar100, "orca"), (advection, "vanilla")], ids=lambda v: getattr(v, "__name__", v)
)  # fmt: skip
def test_first_step_of_stage_2(benchmark, tmp_path, make, method):
    """A run on data of full size beside the same run on the tiny stand-in."""
    task = make.__name__
    small = measured(task, method, "tiny", str(tmp_path / "small"))
    make(tmp_path / "full")
    runs: list[dict[str, float]] = []
    benchmark.pedantic(
        lambda: runs.append(measured(task, method, "published", str(tmp_path / "full"))), rounds=1, iterations=1
    )
    benchmark.extra_info |= {
        "full": runs[0],
        "again": measured(task, method, "published", str(tmp_path / "full")),
        "tiny": small,
        "data_mib": (runs[0]["peak"] - small["peak"]) / 2**20,
        "limits": {"seconds": 15, "data_mib": 1500},
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
