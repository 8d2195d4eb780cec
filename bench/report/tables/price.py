"""What an arm costs beside what it scores: training time of a cell, and how many times that of naive fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from bench.report.document.table import Column, Entry
from bench.report.frame import Panel

REFERENCE = "vanilla"


@dataclass(frozen=True)
class Prices:
    """The prices of the rows of a panel."""

    cells: dict[str, Entry]
    """Row -> its price."""
    reference: str | None
    """The row that costs 1: naive fine-tuning with the fewest settings; None where there is none."""
    devices: tuple[str, ...]

    @property
    def column(self) -> Column:
        """The head of the column."""
        return Column("price", f"× {self.reference}, s" if self.reference else "s", higher_is_better=False)

    @property
    def sentence(self) -> str:
        """`Price, as training time of a cell on cpu: vanilla: 1.0 × (24 s); mona: 2.4 × (57 s).`"""
        said = "; ".join(f"{row}: {cell.text}" for row, cell in self.cells.items() if cell.value is not None)
        return f"Price, as training time of a cell on {', '.join(self.devices)}: {said}." if said else ""

    @property
    def note(self) -> str:
        """How to read the column."""
        times = f", and how many times that of {self.reference} on the same tasks and device" if self.reference else ""
        return f"Price: seconds of both stages of training, mean over tasks{times}, on {', '.join(self.devices)}."


def prices(panel: Panel) -> Prices:
    """The prices of all rows, from cells that ended well; each task weighs the same."""
    done = panel.cells[panel.cells["status"] == "done"]
    seconds = done["seconds_stage1"].fillna(0) + done["seconds_stage2"].fillna(0)
    means = seconds.groupby([done["row"], done["task"], done["device"]]).mean().unstack("row")
    naive = [row for row, (method, _) in panel.arms.items() if method == REFERENCE and row in means]
    reference = min(naive, key=lambda row: len(panel.arms[row][1]), default=None)
    cells = {row: _cell(means, row, reference, done) if row in means else Entry() for row in panel.rows}
    return Prices(cells, reference, tuple(sorted(done["device"].unique())))


def _cell(means: pd.DataFrame, row: str, reference: str | None, done: pd.DataFrame) -> Entry:
    mean = float(means[row].mean())
    records = tuple(done.loc[done["row"] == row, "id"])
    times = None if reference is None else float((means[row] / means[reference]).mean())
    if times is None or not 0 < times < float("inf"):  # also NaN: no task and device in common
        return Entry(f"{mean:.3g} s", mean, n=len(records), records=records)
    return Entry(
        f"{times:{'.1f' if times >= 0.05 else '.1g'}} × ({mean:.3g} s)", times, n=len(records), records=records
    )
