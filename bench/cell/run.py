"""One cell under way: what the steps of its story share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench import machine, plan, registry
from bench.cell.draft import Draft
from bench.cell.scoring import loss_name, metric_names
from bench.plan import Cell, Places
from bench.records.store import Store
from bench.settings import Settings
from tasks.contract import Task

Progress = Callable[[Mapping[str, Any]], None]
"""Is told now and then where the cell is."""


@dataclass(frozen=True)
class Run:
    """A cell, its settings, its folders, its device, the record that it is making, and who is told how it goes."""

    cell: Cell
    config: Settings
    places: Places
    draft: Draft
    device: torch.device
    progress: Progress

    @classmethod
    def of(cls, cell: Cell, places: Places, runtime: Mapping[str, Any], draft: Draft, progress: Progress) -> Run:
        """The run of a cell with its settings resolved; SetupError for a device or precision that is not here."""
        config = plan.resolve(cell, runtime)
        device = machine.choose_device(config.trainer.device)
        machine.choose_precision(config.trainer.precision, device)  # what cannot be is said before anything is read
        return cls(cell, config, places, draft, device, progress)

    @classmethod
    def reading(cls, cell: Cell, places: Places, runtime: Mapping[str, Any] | None = None) -> Run:
        """The run of a cell that is looked at and not run: its attempts are not counted, it leaves no record."""
        draft = Draft(cell, Store(places.results_dir).work(cell.id), runtime or {})
        return cls.of(cell, places, runtime or {}, draft, lambda word: None)

    @property
    def task(self) -> Task:
        """The cell's task."""
        return registry.tasks()[self.cell.task]

    @property
    def store(self) -> Store:
        """Where its record goes."""
        return Store(self.places.results_dir)

    @property
    def work(self) -> Path:
        """The folder of its checkpoints."""
        return self.store.work(self.cell.id)

    @property
    def loss(self) -> str:
        """The name of the loss that stage 2 minimises."""
        return loss_name(self.task, self.cell.protocol)

    @property
    def metrics(self) -> list[str]:
        """The names of its metrics, the score's first."""
        return metric_names(self.task, self.cell.protocol)
