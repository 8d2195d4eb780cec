"""What a plan will cost, from speeds that were measured on this kind of cell; says on what each estimate rests.

Every finished cell leaves its speed below the store's `work/speeds/`, by device. Imports nothing heavy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import plan
from bench.record import Record
from bench.store import Store, write_atomically


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
    devices: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"hours": self.seconds / 3600}

    def sentence(self) -> str:
        """The estimate in words."""
        if self.cells == 0:
            return "nothing to run"
        if self.measured + self.related == 0:
            return "cost: unknown, no cell of this kind has run with this results folder yet"
        unknown = f"; {self.unknown} more cells are unknown" if self.unknown else ""
        return (
            f"cost: about {human(self.seconds)} of {' and '.join(self.devices)} in all, from {self.measured} cells whose like "
            f"was measured here and {self.related} judged by another method or backbone setting on the same task{unknown}"
        )


def human(seconds: float) -> str:
    """A duration for people: `45 s`, `12 min`, `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def remember(record: Record, store: Store) -> None:
    """Keep the speed of a finished cell."""
    speed = Speed(
        device=record["device"],
        task=record["task"],
        method=record["method"],
        backbone=record["backbone"],
        profile=record["profile"],
        epochs=record["settings"]["trainer.epochs"],
        train=record["data"]["sizes"]["train"],
        seconds_stage1=record["seconds_stage1"],
        seconds_stage2=record["seconds_stage2"],
        seconds_other=record["seconds_total"] - record["seconds_stage1"] - record["seconds_stage2"],
        host_only=record["driver"] is None,
    )
    key = (speed.device, speed.task, speed.method, speed.backbone, speed.profile)
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    write_atomically(_folder(store) / f"{name}.json", json.dumps(asdict(speed)).encode())


def measured(store: Store) -> list[Speed]:
    """Every speed kept below a store; files of another layout are passed over (they only inform an estimate)."""
    out = []
    for path in sorted(_folder(store).glob("*.json")):
        try:
            out.append(Speed(**json.loads(path.read_bytes())))
        except (TypeError, ValueError):
            continue
    return out


def estimate(cells: Sequence[plan.Cell], store: Store) -> Cost:
    """The cost of running `cells`, as far as it is known."""
    exact: dict[tuple[str, ...], Speed] = {}
    near: dict[tuple[str, ...], Speed] = {}
    for known in measured(store):
        exact[known.task, known.method, known.backbone, known.profile] = known
        near[known.task, known.backbone, known.profile] = known
    found = related = 0
    total, devices = 0.0, dict[str, None]()
    for cell in cells:
        speed: Speed | None = exact.get((cell.task, cell.method, cell.backbone, cell.profile))
        same = speed is not None
        speed = speed or near.get((cell.task, cell.backbone, cell.profile))
        if speed is None:
            continue
        found, related = found + same, related + (not same)
        epochs = dict(cell.overrides).get("trainer.epochs", speed.epochs)
        scale = int(epochs) / max(speed.epochs, 1)
        total += speed.seconds_stage1 + (speed.seconds_stage2 + speed.seconds_other) * scale
        devices[speed.device] = None
    return Cost(len(cells), found, related, len(cells) - found - related, total, tuple(devices))


def _folder(store: Store) -> Path:
    return store.folder / "work" / "speeds"
