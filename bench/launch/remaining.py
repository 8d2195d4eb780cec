"""How long a run still takes: its cells by what is known of their cost, better with every cell that ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.launch.progress import time_left
from bench.plan import Cell
from bench.words import counted, duration


class Remaining:
    """The cells of a run that wait, run and have ended, `jobs` at a time."""

    def __init__(
        self, cells: Sequence[Cell], expected: Mapping[str, float], jobs: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ):  # fmt: skip
        self.total, self.ended = len(cells), 0
        self._cells = {cell.id: cell for cell in cells}
        self._expected, self._jobs, self._clock = expected, jobs, clock
        self._took: dict[tuple[str, ...], float] = {}
        """Seconds of the last cell of a kind that ended well in this run."""
        self._waiting = dict.fromkeys(self._cells)
        self._begun: dict[str, float] = {}
        self._left: dict[str, float | None] = {}
        """Seconds that each running cell still takes, None where that is not known."""

    def expected(self, key: str) -> float | None:
        """Seconds that a cell is expected to take in all; None if nothing is known of its kind."""
        return self._took.get(_kind(self._cells[key]), self._expected.get(key))

    def start(self, key: str) -> None:
        """A cell begins."""
        self._waiting.pop(key, None)
        self._begun[key], self._left[key] = self._clock(), self.expected(key)

    def update(self, key: str, event: Mapping[str, Any]) -> None:
        """A cell has said where it is."""
        self._left[key] = time_left(event, self.expected(key))

    def end(self, key: str, outcome: str) -> None:
        """A cell has ended."""
        self.ended += 1
        self._left.pop(key, None)
        if outcome == "done":
            self._took[_kind(self._cells[key])] = self._clock() - self._begun[key]

    def words(self) -> str:
        """`3/12 cells, 2.1 h left`; says how many cells the time leaves out, and no time where none is known."""
        running = tuple(self._left.values())
        all_left = [*running, *map(self.expected, tuple(self._waiting))]
        known = [left for left in all_left if left is not None]
        text = f"{self.ended}/{counted(self.total, 'cell')}"
        if not known:
            return text
        left = max(sum(known) / self._jobs, *(left or 0.0 for left in running), 0.0)
        unknown = (
            f" and {counted(len(all_left) - len(known), 'cell')} of unknown cost" if len(known) < len(all_left) else ""
        )
        return f"{text}, {duration(left)} left{unknown}"


def _kind(cell: Cell) -> tuple[str, ...]:
    return cell.task, cell.method, cell.backbone, cell.profile
