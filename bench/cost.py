"""What a plan will cost, from the records of cells of this kind; says on what each estimate rests. Imports nothing heavy."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench import plan, reckoned
from bench.records import packs
from bench.records.record import Record
from bench.records.store import Store
from bench.words import counted, duration

COPIED = ("device", "task", "method", "backbone", "profile", "seconds_stage1", "seconds_stage2")
"""Keys of a record that a `Speed` holds as they are."""
READ = (*COPIED, "status", "driver", "settings", "data", "seconds_total", "end")
"""Keys of a record that tell what its cell took."""
SAMPLE = 50
"""Records read of each task, method and backbone: the seeds of a large store take about the same time."""


@dataclass(frozen=True)
class Speed:
    """What one finished cell took."""

    device: str
    task: str
    method: str
    backbone: str
    profile: str
    epochs: int
    train: int
    seconds_stage1: float
    seconds_stage2: float
    seconds_other: float
    """Data, evaluation and analysis."""
    host_only: bool
    """True for a CPU."""

    @property
    def samples_per_second(self) -> float:
        """Training samples per second in stage 2."""
        return self.epochs * self.train / max(self.seconds_stage2, 1e-9)


@dataclass(frozen=True)
class Cost:
    """An estimate for some cells."""

    cells: int
    measured: int
    """Cells of the same task, method, backbone and profile whose speed was measured here."""
    related: int
    """Cells estimated from another method on the same task and backbone."""
    unknown: int
    """Cells on which nothing is known."""
    seconds: float
    """Estimated total of the measured and related ones."""
    device: str | None
    """The device whose measurements these are; None where nothing is known."""
    host_only: bool
    """True where that is a CPU."""
    by_cell: Mapping[str, float]
    """Cell id -> estimated seconds, for those of which something is known."""
    where: str = "here"
    """Where the speeds were measured."""
    reckoned: int = 0
    """Cells on which nothing is known, estimated for a GPU from counts. They are not among the unknown."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"hours": self.seconds / 3600}

    def sentence(self) -> str:
        """The estimate in words."""
        if self.cells == 0:
            return "nothing to run"
        about = f"cost of {counted(self.cells, 'cell')}: about {duration(self.seconds)} of {self.device} "
        about += f"({self.seconds / 3600:.2g} {'hours' if self.host_only else 'GPU-hours'})"
        if self.measured + self.related + self.reckoned == 0:
            return (
                f"cost of {counted(self.cells, 'cell')}: unknown, no cell of this kind has run with this results folder "
                "yet; the time left is said while they run"
            )
        more = f"; {self.unknown} more cells are unknown" if self.unknown else ""
        if self.reckoned:
            counts = "from counted operations and kernels, at the speed of single steps measured on that card"
            if self.measured + self.related == 0:
                return f"{about}, estimated {counts}{more}"
            more += f"; {self.reckoned} more estimated {counts}"
        return f"{about}, by the samples/s of {self.measured} whose like was measured {self.where} and {self.related} judged by another method on the same task{more}"


def speed_of(record: Record) -> Speed | None:
    """What the finished cell of a record took; None where it does not say all of it."""
    epochs, train = record["settings"].get("trainer.epochs"), record["data"].get("sizes", {}).get("train")
    seconds = [record[f"seconds_{part}"] for part in ("stage1", "stage2", "total")]
    if not all(isinstance(number, (int, float)) for number in (epochs, train, *seconds)):
        return None
    stage1, stage2, total = seconds
    return Speed(
        **{name: record[name] for name in COPIED},
        epochs=epochs,
        train=train,
        seconds_other=total - stage1 - stage2,
        host_only=record["driver"] is None,
    )


def measured(store: Store, cells: Collection[plan.Cell]) -> list[Speed]:
    """What the records of a store say of cells like these: of their tasks and backbones. The last that ended comes last."""
    found, _ = store.scan(READ, set(_names(store, {(cell.task, cell.backbone) for cell in cells})))
    done = sorted((record for record in found if record["status"] == "done"), key=lambda record: record["end"])
    return [speed for record in done if (speed := speed_of(record)) is not None]


def _names(store: Store, kinds: Collection[tuple[str, str]]) -> Iterator[str]:
    """Names of at most `SAMPLE` records of each task, method and backbone."""
    names = (path.name for path in store.files())
    for kind, alike in itertools.groupby(names, lambda name: name.rsplit(".", 3)[0]):  # all but seed, id, suffix
        if any(kind.startswith(f"{task}.") and kind.endswith(f".{backbone}") for task, backbone in kinds):
            yield from itertools.islice(alike, SAMPLE)


def of_plan(cells: Sequence[plan.Cell], store: Store) -> Cost:
    """The cost of cells by what ran with this store; where that says nothing, by the records that the project brings."""
    if not cells:
        return estimate(cells, [])
    here = estimate(cells, measured(store, cells))
    if here.by_cell:
        return here
    with packs.opened(packs.REFERENCE) as reference:
        shipped = estimate(cells, measured(reference.store, cells))
    return replace(shipped, where="by this project (another machine takes another time)")


def with_reckoned(known: Cost, cells: Sequence[plan.Cell]) -> Cost:
    """The same, with published cells of which nothing is known reckoned from counts; not where what is known is of a CPU."""
    missing = [cell for cell in cells if cell.id not in known.by_cell and cell.profile == "published"]
    if not missing or (known.by_cell and known.host_only):
        return known
    reckon = functools.cache(reckoned.seconds)
    more = {cell.id: reckon(replace(cell, seed=0)) for cell in missing}
    return replace(
        known,
        unknown=known.unknown - len(missing),
        seconds=known.seconds + sum(more.values()),
        device=known.device if known.by_cell else reckoned.H200.name,
        host_only=False,
        by_cell={**known.by_cell, **more},
        reckoned=len(missing),
    )


def estimate(cells: Sequence[plan.Cell], speeds: Sequence[Speed]) -> Cost:
    """The cost of running `cells` on one device: the one that most of them were measured on, a GPU before a CPU."""
    by_device: dict[str, list[Speed]] = {}
    for speed in speeds:
        by_device.setdefault(speed.device, []).append(speed)
    costs = [_on_one_device(cells, speeds) for speeds in by_device.values()]
    none = Cost(len(cells), 0, 0, len(cells), 0.0, None, True, {})
    return max(costs, key=lambda c: (not c.host_only and c.unknown < c.cells, -c.unknown, c.measured), default=none)


def _on_one_device(cells: Sequence[plan.Cell], speeds: Sequence[Speed]) -> Cost:
    exact = {(s.task, s.method, s.backbone, s.profile): s for s in speeds}
    # A method without a stage 2 says nothing of the others.
    near = {(s.task, s.backbone, s.profile): s for s in speeds if s.seconds_stage2 > 0}
    found = 0
    by_cell: dict[str, float] = {}
    for cell in cells:
        same = exact.get((cell.task, cell.method, cell.backbone, cell.profile))
        speed = same or near.get((cell.task, cell.backbone, cell.profile))
        if speed is not None:
            found += same is not None
            by_cell[cell.id] = _seconds(cell, speed)
    related = len(by_cell) - found
    total, first = sum(by_cell.values()), speeds[0]
    return Cost(len(cells), found, related, len(cells) - found - related, total, first.device, first.host_only, by_cell)


def _seconds(cell: plan.Cell, speed: Speed) -> float:
    """Stage 1 as it was, stage 2 by its samples per second, the rest in proportion to the epochs."""
    changed = dict(cell.overrides)
    epochs = int(changed.get("trainer.epochs", speed.epochs))
    train = min(speed.train, int(changed.get("data.limit") or speed.train))
    stage2 = epochs * train / speed.samples_per_second
    return speed.seconds_stage1 + stage2 + speed.seconds_other * epochs / max(speed.epochs, 1)
