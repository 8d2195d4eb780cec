"""Figures that compare methods over the tasks of a panel: critical-difference diagram and performance profile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter

from bench.report import points
from bench.report.figures import pictures
from bench.report.figures.drawing import INK, Drawing, looks
from bench.report.frame import Panel
from bench.report.statistics import Friedman, friedman, performance_profile, performance_ratios

MIN_TASKS_FOR_PROFILE = 3
"""With fewer, a profile has at most two steps and shows less than the table."""


def ranking_figures(panel: Panel) -> list[Drawing]:
    """The figures that this number of tasks and methods allows, possibly none."""
    m = points.matrix(panel)
    if len(m.rows) < 2 or not m.tasks:
        return []
    out = []
    if (found := friedman(m.scores, m.higher)) is not None:
        out.append(_critical_difference(panel, m, found))
    if len(m.tasks) >= MIN_TASKS_FOR_PROFILE and not (m.scores < 0).any():
        out.append(_profile(panel, m))
    return out


def _records(panel: Panel, m: points.Matrix) -> list[str]:
    cells = panel.cells[panel.cells["task"].isin(m.tasks)]
    return [" ".join(cells.loc[cells["row"] == row, "id"]) for row in m.rows]


def cliques(average: np.ndarray, distance: float) -> list[tuple[int, int]]:
    """Maximal runs of methods, sorted by rank, whose first and last differ by less than `distance`: (first, last)."""
    order = np.sort(average)
    runs = [(i, int(np.searchsorted(order, order[i] + distance, side="left")) - 1) for i in range(len(order))]
    return [r for i, r in enumerate(runs) if r[1] > r[0] and (i == 0 or runs[i - 1][1] < r[1])]


def _critical_difference(panel: Panel, m: points.Matrix, found: Friedman) -> Drawing:
    data = pd.DataFrame({"row": m.rows, "average_rank": found.average_ranks, "records": _records(panel, m)})
    data["critical_difference"], data["tasks"], data["friedman_p"] = found.critical_difference, found.n, found.p
    caption = (
        f"Average ranks over {found.n} tasks, better to the left (Demšar, 2006). A bar joins methods whose ranks "
        f"differ by less than the critical difference {found.critical_difference:.2f} (Nemenyi, 5 %): the test does "
        "not tell them apart."
    )
    title = f"Critical difference, suite {panel.suite}"
    return Drawing(
        f"critical_difference_{panel.name}", title, caption, data, lambda: _draw_difference(panel, m.rows, found)
    )


def _draw_difference(panel: Panel, rows: Sequence[str], found: Friedman) -> Figure:
    styles = looks(panel)
    average = np.asarray(found.average_ranks)
    order = np.argsort(average, kind="stable")
    k, half = len(rows), (len(rows) + 1) // 2
    runs = cliques(average, found.critical_difference)
    depth = 0.6 + 0.28 * len(runs)
    figure = Figure(figsize=(pictures.WIDTH, 0.6 + 0.26 * (half + len(runs))), layout="constrained")
    axis = figure.add_subplot()
    axis.set(xlim=(0.2, k + 0.8), ylim=(-(depth + 0.5 * half), 1.0))
    axis.grid(False)
    axis.spines[["left", "bottom"]].set_visible(False)
    axis.set_yticks([])
    axis.set_xticks([])
    axis.plot([1, k], [0, 0], color=INK, lw=1.2)
    for rank in range(1, k + 1):
        axis.plot([rank, rank], [0, 0.15], color=INK, lw=1)
        axis.text(rank, 0.22, str(rank), ha="center", va="bottom")
    axis.text((1 + k) / 2, 0.72, "average rank (best is left)", ha="center", va="bottom", fontsize=8.5)
    for place, index in enumerate(order):
        left = place < half
        y = -(depth + 0.5 * (place if left else k - 1 - place))
        end, side = (0.95, "right") if left else (k + 0.05, "left")
        style = styles[rows[index]]
        axis.plot([average[index], average[index], end], [0, y, y], color=style.colour, lw=1.1)
        axis.plot(average[index], 0, marker=style.marker, color=style.colour, ls="", ms=6)
        axis.text(end + (-0.05 if left else 0.05), y, f"{rows[index]} ({average[index]:.2f})", ha=side, va="center")
    ranks = np.sort(average)
    for level, (first, last) in enumerate(runs):
        y = -(0.35 + 0.28 * level)
        axis.plot([ranks[first] - 0.03, ranks[last] + 0.03], [y, y], color=INK, lw=3.5, solid_capstyle="butt")
    return figure


def _profile(panel: Panel, m: points.Matrix) -> Drawing:
    ratios = performance_ratios(m.scores, m.higher)
    finite = ratios[np.isfinite(ratios)]
    end = max(1.5, 1.1 * finite.max(initial=1.0))
    parts = []
    for i, (row, records) in enumerate(zip(m.rows, _records(panel, m), strict=True)):
        own = ratios[np.isfinite(ratios[:, i]), i]
        tau = np.unique([1.0, *own, end])
        share = performance_profile(ratios[:, [i]], tau)[:, 0]
        parts.append(pd.DataFrame({"row": row, "tau": tau, "share": share, "records": records}))
    data = pd.concat(parts, ignore_index=True)
    caption = (
        f"Share of the {len(m.tasks)} tasks on which a method is within a factor τ of the best one (Dolan and Moré, "
        "2002); higher is better. At τ = 1 it is the share of tasks won; a failed cell never counts."
    )
    title = f"Performance profile, suite {panel.suite}"
    return Drawing(f"profile_{panel.name}", title, caption, data, lambda: _draw_profile(panel, data))


def ticks(end: float, least: float = 0.09) -> list[float]:
    """Round factors from 1 to `end` for a logarithmic axis, each at least the share `least` of it from the one before."""
    found = [1.0]
    for tick in (1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 10_000, 100_000):
        if tick <= end and np.log(tick / found[-1]) >= least * np.log(end):
            found.append(tick)
    return found


def _draw_profile(panel: Panel, data: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(0.8 * pictures.WIDTH, 2.8), layout="constrained")
    axis = figure.add_subplot()
    for row in pictures.in_order(panel.rows, data["row"]):
        here = data[data["row"] == row]
        axis.plot(here["tau"], 100 * here["share"], drawstyle="steps-post", label=row, **looks(panel)[row].line2d)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter(lambda tau, _: f"{tau:g}")
    axis.xaxis.set_major_locator(FixedLocator(ticks(float(data["tau"].max()))))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set(xlabel="factor τ to the best score of the task", ylabel="share of tasks [%]", ylim=(-3, 103))
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right center", handlelength=3.2)
    return figure
