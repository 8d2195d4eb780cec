"""Scores of finished cells computed again from the predictions that they kept; whole cells run again."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import machine, plan
from bench.cell import story
from bench.cell.data import load_data
from bench.cell.run import Run
from bench.cell.scoring import Scores, Targets, score_arrays, targets
from bench.errors import BenchError
from bench.plan import Places
from bench.records import predictions
from bench.records.record import Record
from bench.records.store import Store
from tasks.contract import DataError

SAME_DATA = ("task", "origin", "profile", "protocol")
"""With the settings `data.*`, what decides the targets of a record."""
COMPARED = ("metrics", "metrics_last")
"""What a second computation has to give again, digit for digit."""
SHOWN = 2
"""Scores that differ and are told."""


@dataclass(frozen=True)
class Outcome:
    """What came of one record: `yes` (the same, digit for digit), `no`, or `unknown` where it could not be tried."""

    record: Record
    word: str
    reason: str = ""
    """Why it is not `yes`."""
    scores: Scores = field(default_factory=dict)
    """The metrics that were asked for, of the predictions behind the record's score."""


def rescore(store: Store, records: Sequence[Record], data_dir: Path, names: Sequence[str] = ()) -> Iterator[Outcome]:
    """Compute the scores of finished records again from their predictions and the task's targets, one by one.

    `names` are metrics to compute besides. Records on the same data come one after the other: targets are read once.
    """

    @functools.lru_cache(maxsize=1)
    def read(*key: Any) -> Targets:
        return _targets(next(r for r in records if _data_of(r) == key), store, data_dir)

    for record in sorted(records, key=lambda r: (repr(_data_of(r)), store.stem(r))):
        try:
            kept = _kept(store, record)
            yield _compared(record, kept, *read(*_data_of(record)), names)
        except _NotPossible as error:
            yield Outcome(record, "unknown", str(error))
        except ValueError as error:
            yield Outcome(record, "no", f"{predictions.SUFFIX}: {error}")
        # The data are not here or are others, a plug-in is gone: no fault of the record.
        except (BenchError, DataError, OSError) as error:
            yield Outcome(record, "unknown", f"{type(error).__name__}: {error}")


def reproduce(record: Record, data_dir: Path) -> Outcome:
    """Run the record's cell again, in a folder of its own, and compare its scores."""
    with tempfile.TemporaryDirectory() as folder, _threads(record["threads"]):
        try:
            again = story.run(plan.cell_of(record), Places(data_dir, Path(folder)), record["runtime"])
        except (BenchError, DataError, OSError) as error:
            return Outcome(record, "unknown", f"{type(error).__name__}: {error}")
    differ = _differing(record, again)
    if not differ:
        return Outcome(record, "yes")
    other = [name for name in ("device", "threads", "packages", "code", "body") if record[name] != again[name]]
    changed = f"; other {', '.join(other)} than the record's" if other else ""
    return Outcome(record, "no", "; ".join([again["status"], *_shortened(differ)]) + changed)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """As many threads as the record had: on a CPU, scores depend on them."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(count or machine.threads())
    try:
        yield
    finally:
        os.environ.pop("OMP_NUM_THREADS")
        if before is not None:
            os.environ["OMP_NUM_THREADS"] = before


class _NotPossible(Exception):
    """A record that kept nothing to compute from."""


def _data_of(record: Record) -> tuple[Any, ...]:
    settings = tuple(sorted((k, repr(v)) for k, v in record["settings"].items() if k.startswith("data.")))
    return (*(record[name] for name in SAME_DATA), settings)


def _kept(store: Store, record: Record) -> predictions.Predictions:
    if not record["sidecars"].get("predictions"):
        raise _NotPossible("it kept no predictions (analysis.keep_predictions)")
    try:
        return predictions.read(store.sidecar(record, predictions.SUFFIX))
    except FileNotFoundError:
        raise ValueError("its record names it, and it is not there") from None


def _targets(record: Record, store: Store, data_dir: Path) -> Targets:
    """Targets and side arrays of a record's test split, as a cell reads them."""
    places = Places(data_dir, store.folder)
    return targets(load_data(Run.reading(plan.cell_of(record), places, {"trainer.device": "cpu"})))


def _compared(
    record: Record, kept: predictions.Predictions, target: Any, extra: Mapping[str, Any], names: Sequence[str]
) -> Outcome:
    if kept.target != predictions.fingerprint(target, extra):
        raise _NotPossible("the targets here are not those that it was scored against")
    found = {
        "metrics": score_arrays(list(record["metrics"]), kept.reported, target, extra),
        "metrics_last": score_arrays(list(record["metrics_last"]), kept.last, target, extra),
    }
    differ, asked, unfit = _differing(record, found), Scores(), []
    for name in names:
        try:
            asked |= score_arrays([name], kept.reported, target, extra)
        except ValueError as error:  # a metric of another kind of task
            unfit.append(f"{name}: {error}")
    return Outcome(record, "no" if differ else "yes", "; ".join([*_shortened(differ), *unfit]), asked)


def _shortened(differ: Sequence[str]) -> list[str]:
    """The first of them, and how many more there are."""
    more = len(differ) - SHOWN
    return [*differ[:SHOWN], *([f"and {more} more"] if more > 0 else [])]


def _differing(record: Record, found: Mapping[str, Any]) -> list[str]:
    """The scores that are not the record's, in words."""
    out = []
    for part in COMPARED:
        for name, metric in record[part].items():
            value = found[part].get(name, {}).get("value")
            if value != metric["value"]:
                out.append(f"{part}.{name} {metric['value']} here {value}")
    return out
