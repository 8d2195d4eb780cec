"""How long a report of 10,000 records with curves takes. The records are made up; their numbers mean nothing."""

from __future__ import annotations

import itertools
import json
import time

from bench.records.store import Store
from bench.registry import suites
from bench.report.document.write import write
from bench.report.evidence import Evidence
from bench.report.frame import Catalogue
from bench.report.pages.build import build
from tests.record_factory import make_curves, make_record

RECORDS = 10_000
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


def test_report_of_10_000_records(benchmark, tmp_path):
    """Read, build and write with HTML, each part timed; the issue's limit for all is 30 s."""
    store = Store(tmp_path / "results")
    store.folder.mkdir()
    fill(store, RECORDS)
    clock = [time.perf_counter()]

    def whole():
        records, _ = store.scan()
        clock.append(time.perf_counter())
        page = build(Evidence(records, store.curves), Catalogue(suites()))
        clock.append(time.perf_counter())
        write(page, tmp_path / "report", html=True)
        clock.append(time.perf_counter())
        return records

    records = benchmark.pedantic(whole, rounds=1)
    assert len(records) == RECORDS
    parts = [b - a for a, b in itertools.pairwise(clock)]
    benchmark.extra_info |= dict(zip(("read", "build", "write"), parts, strict=True)) | {"limits": {"seconds": 30}}
