"""Learning curves: the score by epoch of stage 2, one small picture per task, one line per method."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from bench.report.evidence import CurvesOf
from bench.report.figures.drawing import MUTED, Drawing, grid, legend_below, looks
from bench.report.frame import Panel
from bench.report.points import SPLITS, curve_points


def learning_curves(panel: Panel, curves_of: CurvesOf) -> Drawing | None:
    """Validation score by epoch (test score under the paper protocol, which has no validation); None without curves."""
    data = curve_points(panel, curves_of)
    split = "val" if (data["split"] == "val").any() else "test"
    data = data[data["split"] == split].reset_index(drop=True)
    if data.empty:
        return None
    where = SPLITS[split]
    caption = (
        f"Score on the {where} split after each epoch of stage 2: mean over seeds, and as a band the range from "
        "the lowest to the highest seed. The dotted line is the trivial predictor's score on the test split."
    )
    title = f"Learning curves, suite {panel.suite} ({panel.profile}, {panel.protocol}, {panel.origin})"
    return Drawing(f"curves_{panel.name}", title, caption, data, lambda: _draw(panel, data, where))


def _draw(panel: Panel, data: pd.DataFrame, where: str) -> Figure:
    tasks = [t for t in panel.tasks if (data["task"] == t).any()]
    figure, axes = grid(len(tasks), 2 if len(tasks) in (2, 4) else 3)
    for axis, task in zip(axes, tasks, strict=True):
        metric, unit, higher = panel.metric_of(task)
        here = data[data["task"] == task]
        for row in panel.rows:
            by_epoch = here[here["row"] == row].groupby("epoch")["score"]
            if not len(by_epoch):
                continue
            mean, low, high = by_epoch.mean(), by_epoch.min(), by_epoch.max()
            style = looks(panel)[row]
            every = max(1, len(mean) // 6)
            axis.plot(mean.index, mean, markevery=every, label=row, **style.line2d)
            if here[here["row"] == row]["seed"].nunique() > 1:
                axis.fill_between(mean.index, low, high, color=style.colour, alpha=0.15, lw=0)
        trivial = panel.of(task=task)["trivial"].mean()
        values = [*here["score"], trivial] if pd.notna(trivial) else list(here["score"])
        if pd.notna(trivial):
            axis.axhline(trivial, color=MUTED, ls=":", lw=1, label="trivial predictor")
        if min(values) > 0 and max(values) > 30 * min(values):
            axis.set_yscale("log")
            # Ticks within decades only where decades are few: they would cover each other.
            few = max(values) < 300 * min(values)
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
            axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.yaxis.set_minor_formatter(NullFormatter())
        axis.set_title(task)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axis.set_xlabel("epoch of stage 2")
        axis.set_ylabel(f"{metric}{'' if unit in ('', '1') else f' [{unit}]'} {'↑' if higher else '↓'}\non {where}")
    legend_below(figure, axes)
    return figure
