"""Learning curves: the score by epoch of stage 2, one small picture per task, one line per method."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.report import points
from bench.report.evidence import CurvesOf
from bench.report.figures import pictures
from bench.report.figures.drawing import MUTED, Drawing, drawing_of, looks, title_of
from bench.report.frame import Panel


def learning_curves(panel: Panel, curves_of: CurvesOf) -> Drawing | None:
    """Validation score by epoch (test score under the paper protocol, which has no validation); None without curves."""
    data = points.curves(panel, curves_of)
    split = "val" if (data["split"] == "val").any() else "test"
    data = data[data["split"] == split].reset_index(drop=True)
    caption = (
        f"Score on the {points.SPLITS[split]} split after each epoch of stage 2: mean over seeds, and as a band the range from "
        "the lowest to the highest seed. The dotted line is the trivial predictor's score on the test split."
    )
    return drawing_of(panel, "curves", title_of("Learning curves", panel), caption, data, _draw)


def _draw(panel: Panel, data: pd.DataFrame) -> Figure:
    figure, parts = pictures.per_task(panel, data)
    for axis, task, here in parts:
        for row in pictures.in_order(panel.rows, here["row"]):
            mine = here[here["row"] == row]
            mean, low, high = pictures.spread(mine.groupby("epoch")["score"])
            style = looks(panel)[row]
            every = max(1, len(mean) // 6)
            axis.plot(mean.index, mean, markevery=every, label=row, **style.line2d)
            if mine["seed"].nunique() > 1:
                axis.fill_between(mean.index, low, high, color=style.colour, alpha=0.15, lw=0)
        trivial = panel.of(task=task)["trivial"].mean()
        if pd.notna(trivial):
            axis.axhline(trivial, color=MUTED, ls=":", lw=1, label="trivial predictor")
        pictures.log_where_wide(axis, [*here["score"], *([trivial] if pd.notna(trivial) else [])])
        axis.set_title(task)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axis.set_xlabel("epoch of stage 2")
        axis.set_ylabel(f"{pictures.score_label(panel, task)}\non {points.SPLITS[here['split'].iloc[0]]}")
    pictures.legend_below(figure)
    return figure
