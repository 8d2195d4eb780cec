"""What a score costs: the score against the seconds of training, one small picture per task, one mark per method."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from bench.report.figures import pictures
from bench.report.figures.drawing import MUTED, Drawing, drawing_of, looks, title_of
from bench.report.frame import Panel
from bench.words import counted


def price_figure(panel: Panel) -> Drawing | None:
    """Score against training seconds of every cell that has both, with the trivial predictor as a line; None without any."""
    cells = panel.cells.assign(seconds=panel.cells[["seconds_stage1", "seconds_stage2"]].fillna(0).sum(axis=1))
    cells = cells[(cells["status"] == "done") & cells["score"].notna() & (cells["seconds"] > 0)]
    data = cells[["task", "row", "seed", "seconds", "score", "id"]].rename(columns={"id": "record"})
    threads = " or ".join(
        counted(n, "thread") for n in sorted({record["threads"] or 0 for record in cells["record"]}) if n
    )
    caption = (
        "Score on test against the seconds that both stages of training took (logarithmic): mean over seeds, with the lowest "
        "and highest seed as bars. Dotted: the trivial predictor, which takes none. Seconds are wall-clock time on "
        f"{', '.join(sorted(cells['device'].unique()))}{threads and f', {threads} a cell'}; cells that ran side by side, or beside other work, shared its "
        "cores, so they are upper bounds, and a factor below two says little."
    )
    return drawing_of(panel, "price", title_of("Score against price", panel), caption, data, _draw)


def _draw(panel: Panel, data: pd.DataFrame) -> Figure:
    alone = data["task"].nunique() == 1
    figure, parts = pictures.per_task(panel, data, 3.6 if alone else 2.4)
    if alone:  # many arms crowd in one picture
        figure.set_figwidth(pictures.WIDTH)
    for axis, task, here in parts:
        for row in pictures.in_order(panel.rows, here["row"]):
            mine = here[here["row"] == row]
            seconds, score = (mine[column].agg(["mean", "min", "max"]) for column in ("seconds", "score"))
            # The mean of equal numbers may be off by a rounding, and bars must not be negative.
            spread = [
                [[max(0.0, of["mean"] - of["min"])], [max(0.0, of["max"] - of["mean"])]] for of in (seconds, score)
            ]
            style = {**looks(panel)[row].line2d, "ls": ""}
            axis.errorbar(seconds["mean"], score["mean"], *reversed(spread), label=row, elinewidth=0.9, **style)
        trivial = panel.of(task=task)["trivial"].mean()
        if pd.notna(trivial):
            axis.axhline(trivial, color=MUTED, ls=":", lw=1, label="trivial predictor")
        pictures.log_where_wide(axis, [*here["score"], *([trivial] if pd.notna(trivial) else [])])
        axis.set_xscale("log")
        pictures.log_ticks(axis.xaxis, list(here["seconds"]))
        axis.set(title=task, xlabel="training time [s]", ylabel=pictures.score_label(panel, task))
    pictures.legend_below(figure)
    return figure
