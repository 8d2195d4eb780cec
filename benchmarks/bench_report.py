"""How long a report of 10,000 records takes: python benchmarks/bench_report.py [--records 10000] [--html].

Makes a store of synthetic records with curves (their numbers mean nothing) in a temporary folder, then times reading,
building and writing the report. The promise is less than 30 s for 10,000 records.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.registry import suites
from bench.report.build import build
from bench.report.frame import Catalogue
from bench.report.page import write
from bench.store import Store
from tests.record_factory import make_curves, make_record

METHODS = ("scratch", "linear", "frozen", "vanilla", "embedder_warmup", "orca", "mona")


def fill(store: Store, count: int) -> None:
    """Write `count` records over the published tasks, all methods, both protocols, as many seeds as it takes."""
    tasks = [task for suite in ("nas_bench_360", "pdebench") for task in suites().get(suite, ())]
    curves = json.dumps(make_curves(20))
    one_seed = list(itertools.product(("strict", "paper"), tasks, METHODS))
    for number in range(count):
        seed, cell = divmod(number, len(one_seed))
        protocol, task, method = one_seed[cell]
        score = 0.2 + 0.01 * METHODS.index(method) + 0.0001 * seed
        record = make_record(seed=seed, protocol=protocol, task=task, method=method, score=score, profile="published")
        # Without fsync, unlike the store: 10,000 of them would time the disk.
        store.path(record).write_text(json.dumps(record))
        store.sidecar(record, ".curves.json").write_text(curves)


def main() -> int:
    """Time the parts; exit code 1 if the promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--html", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "results")
        store.folder.mkdir()
        fill(store, args.records)
        clock = [time.perf_counter()]
        records, _ = store.scan()
        clock.append(time.perf_counter())
        page = build(records, curves_of=store.curves, catalogue=Catalogue(suites()))
        clock.append(time.perf_counter())
        write(page, Path(folder) / "report", html=args.html)
        clock.append(time.perf_counter())
    parts = [b - a for a, b in itertools.pairwise(clock)]
    total = sum(parts)
    said = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in zip(("read", "build", "write"), parts, strict=True))
    print(f"{len(records)} records: {said}, all {total:.1f} s")
    return int(total > 30 * args.records / 10_000)


if __name__ == "__main__":
    sys.exit(main())
