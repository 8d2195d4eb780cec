"""The parts that figures are built from: small pictures beside each other, one per task, with one legend below."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bench.report.frame import Panel

WIDTH = 8.0
"""Inches: as wide as a page of markdown shows without shrinking."""
NARROW = 0.62 * WIDTH
"""Inches: of a picture that stands alone."""
Parts = list[tuple[Axes, str, pd.DataFrame]]
"""Axes of each picture, what it is of (a task, say), and the lines of data that belong into it."""


def score_label(panel: Panel, task: str) -> str:
    """What an axis of scores says: metric, unit and direction."""
    metric, unit, higher = panel.metric_of(task)
    return f"{metric}{'' if unit in ('', '1') else f' [{unit}]'} {'↑' if higher else '↓'}"


def spread(values: Any) -> tuple[Any, Any, Any]:
    """Mean, lowest and highest of a column, or of every group of a grouped one."""
    return values.mean(), values.min(), values.max()


def bars(mean: pd.Series, low: pd.Series, high: pd.Series) -> list[pd.Series]:
    """`yerr` of bars from `low` to `high`; the mean of equal numbers may be off by a rounding, bars must not be negative."""
    return [(mean - low).clip(0), (high - mean).clip(0)]


def log_where_wide(axis: Axes, values: Sequence[float]) -> None:
    """A logarithmic y axis where positive values span a factor of more than 30, with plain numbers at its ticks."""
    if not 0 < 30 * min(values) < max(values):
        return
    axis.set_yscale("log")
    log_ticks(axis.yaxis, values)


def log_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Plain numbers at the ticks of a logarithmic axis, within decades only where these are few: they would cover each other."""
    width = max(values) / min(values)
    subs = (1, 1.5, 2, 3, 5, 7) if width < 5 else (1, 2, 5) if width < 300 else (1,)
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def in_order(names: Sequence[str], column: pd.Series) -> list[str]:
    """The names that a column has, in their order."""
    there = set(column.unique())
    return [name for name in names if name in there]


def per_task(panel: Panel, data: pd.DataFrame, height: float = 2.4) -> tuple[Figure, Parts]:
    """A figure with one picture per task, in the order of the panel."""
    return side_by_side(data, "task", in_order(panel.tasks, data["task"]), height)


def side_by_side(data: pd.DataFrame, by: str, values: Sequence[str], height: float) -> tuple[Figure, Parts]:
    """A figure with one picture for each of the values of a column, two or three beside each other."""
    columns = 2 if len(values) in (2, 4) else min(3, len(values))
    rows = math.ceil(len(values) / columns)
    figure = Figure(figsize=(WIDTH if columns > 1 else NARROW, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for extra in axes[len(values) :]:
        extra.remove()
    return figure, [(axis, value, data[data[by] == value]) for axis, value in zip(axes, values)]


def legend_below(figure: Figure, columns: int = 4) -> None:
    """One legend for all axes of a figure, below them, in at most `columns` columns that fit the figure's width.

    The figure grows by the lines of the legend beyond two, so that long names do not take the room of the axes.
    """
    found: dict[str, Any] = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if not found:
        return
    # Inches: about 0.065 for a letter, and 0.75 for the sample of the line with its gaps.
    widest = 0.75 + 0.065 * max(map(len, found))
    columns = max(1, min(columns, int(figure.get_figwidth() / widest)))
    lines = math.ceil(len(found) / columns)
    figure.set_figheight(figure.get_figheight() + 0.19 * max(0, lines - 2))
    figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=columns, handlelength=3.2)
