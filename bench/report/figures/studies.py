"""Figures that only a study has: its verdicts, the score along a scanned setting, the points of a correlation."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import partial

import pandas as pd
from matplotlib.figure import Figure

from bench.report.figures import pictures
from bench.report.figures.drawing import INK, MARKERS, MUTED, Drawing, colour_of, drawing_of, looks
from bench.report.floors import data_of
from bench.report.frame import Panel
from bench.report.verdict import CONTRADICTED, FEWEST_TASKS, NEGLIGIBLE, SUPPORTED, UNDECIDED, Verdict, points
from bench.studies.study import MEASURES, Rule, Study

LOOKS = {
    SUPPORTED: ("#009e73", "o"),
    CONTRADICTED: ("#d55e00", "X"),
    NEGLIGIBLE: ("#0072b2", "D"),
    UNDECIDED: (MUTED, "s"),
}


def verdict_figure(name: str, verdicts: Sequence[Verdict]) -> Drawing | None:
    """Effect and interval of every rule that has one, in shares of the smallest effect that would matter."""
    rows = [
        {
            "rule": v.rule.says,
            "outcome": v.outcome,
            "unit": v.unit,
            "margin": v.rule.margin,
            "effect": v.estimate.effect,
            "low": v.estimate.low,
            "high": v.estimate.high,
            "low_over_tasks": v.over_tasks and v.over_tasks.low,
            "high_over_tasks": v.over_tasks and v.over_tasks.high,
            "n": v.estimate.n,
            "records": " ".join(v.records),
        }
        for v in verdicts
        if v.estimate is not None and v.estimate.low is not None
    ]
    if not rows:
        return None
    data = pd.DataFrame(rows)
    caption = (
        "Effect of each rule with its interval, divided by the smallest effect that would matter (dotted lines at ±1); "
        "positive is as claimed. The scale is linear between -2 and 2 and logarithmic beyond. Circle: supported; cross: "
        "contradicted; diamond: negligible; square: undecided. The thin line below is the interval over tasks, where there "
        f"are {FEWEST_TASKS} or more."
    )
    return Drawing(f"verdicts_{name}", "Verdicts", caption, data, lambda: _draw_verdicts(data))


def _draw_verdicts(data: pd.DataFrame) -> Figure:
    names = ["\n".join(textwrap.wrap(text, 46)) for text in data["rule"][::-1]]
    lines = 1 + max(name.count("\n") for name in names)
    figure = Figure(figsize=(pictures.WIDTH, 0.9 + (0.15 + 0.13 * lines) * len(data)), layout="constrained")
    axis = figure.subplots()
    for y, line in enumerate(data[::-1].to_dict("records")):
        colour, marker = LOOKS[line["outcome"]]
        low, effect, high = (line[key] / line["margin"] for key in ("low", "effect", "high"))
        axis.plot([low, high], [y, y], color=colour, lw=1.8)
        axis.plot(effect, y, marker=marker, color=colour, ls="")
        if pd.notna(line["low_over_tasks"]):
            ends = [line[f"{end}_over_tasks"] / line["margin"] for end in ("low", "high")]
            axis.plot(ends, [y - 0.2, y - 0.2], color=colour, lw=0.8)
    axis.axvline(0, color=INK, lw=0.8)
    for side in (-1, 1):
        axis.axvline(side, color=MUTED, ls=":", lw=1)
    axis.set_xscale("symlog", linthresh=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_yticks(range(len(data)), names, fontsize=8)
    axis.set_xlabel("effect / smallest effect that would matter (linear to ±2, then logarithmic)")
    axis.margins(y=0.5 / len(data))
    return figure


def trend_figure(study: Study, panel: Panel) -> Drawing | None:
    """The score against the setting that the arms with a place (`at`) scan; None with fewer than two of them."""
    places = {arm.name: arm.at for arm in study.arms if arm.at is not None}
    # A floor that learned from as much data as the arms of one place stands at that place, too.
    amounts = {
        data_of(record): places[row] for row in panel.rows if row in places for record in panel.of(row)["record"]
    }
    scans_data = len(amounts) == len(set(places.values())) > 1
    places |= {row: amounts[data_of(panel.of(row)["record"].iloc[0])] for row in panel.floors if scans_data}
    cells = panel.cells[panel.cells["row"].isin(places) & panel.cells["score"].notna()]
    data = cells[["task", "row", "method", "seed", "score", "id"]].rename(columns={"id": "record", "row": "arm"})
    data.insert(3, "at", data["arm"].map(places))
    if data["at"].nunique() < 2:
        return None
    caption = (
        "Test score of the arms that differ in one scanned setting, evenly spaced and not to scale: mean over seeds, "
        "with the lowest and highest seed as bars; a line joins the arms of one method."
    )
    several = data["method"].nunique() > 1
    names = [a for a in sorted(places, key=lambda arm: (places[arm], arm)) if a in set(data["arm"])]
    title = "Score along the scanned setting, by method" if several else f"Score along {', '.join(names)}"
    scanned = dict.fromkeys(
        name if several else f"{arm.method}: {name.partition('.')[2].rstrip('_')}"
        for arm in study.arms
        if arm.name in places
        for name, value in arm.set
        if value == arm.at  # what changes along with it has other values
    )
    return drawing_of(panel, "trend", title, caption, data, partial(_draw_trend, ", ".join(scanned)))


def _draw_trend(label: str, panel: Panel, data: pd.DataFrame) -> Figure:
    figure, parts = pictures.per_task(panel, data)
    several = data["method"].nunique() > 1
    for axis, task, here in parts:
        at = sorted(here["at"].unique())
        for method, mine in here.groupby("method", sort=False):
            mean, low, high = pictures.spread(mine.groupby("at")["score"])
            x = [at.index(place) for place in mean.index]
            arms = {str(arm): one for arm, one in mine.groupby("arm", sort=False)}
            whole = looks(panel)[next(iter(arms))].line2d | {"color": colour_of(str(method)), "label": str(method)}
            bar = {"elinewidth": 0.9, "lw": 1, **(whole if several else {"color": MUTED})}
            axis.errorbar(x, mean, yerr=pictures.bars(mean, low, high), **bar)
            for arm, one in () if several else arms.items():
                axis.plot(at.index(one["at"].iloc[0]), one["score"].mean(), **{**looks(panel)[arm].line2d, "ls": ""})
        axis.set_xticks(range(len(at)), [f"{value:g}" for value in at])
        axis.set(title=task, xlabel=label)
        axis.set_ylabel(pictures.score_label(panel, task))
    pictures.legend_below(figure)
    return figure


def correlation_figure(panel: Panel, verdict: Verdict, table: pd.DataFrame, number: int) -> Drawing | None:
    """The points behind a correlation: of arms, each task a picture, or of tasks; None without points."""
    rule, data = verdict.rule, points(verdict.rule, table)
    data = data.assign(records=data["records"].map(" ".join))
    within = "means over seeds, one point per task" if rule.unit == "tasks" else "one point per run"
    caption = f"{MEASURES[rule.x]} (x) and {MEASURES[rule.y]} (y), both turned so that lower is better; {within}."
    return drawing_of(panel, f"points_{number}", rule.says, caption, data, partial(_draw_points, rule))


def _draw_points(rule: Rule, panel: Panel, data: pd.DataFrame) -> Figure:
    if rule.unit == "tasks":
        figure = Figure(figsize=(pictures.NARROW, 3.2), layout="constrained")
        axis = figure.subplots()
        parts = [(axis, task, data[data["task"] == task]) for task in panel.tasks]
    else:
        figure, parts = pictures.per_task(panel, data)
    xlabel, ylabel = ("\n".join(textwrap.wrap(f"{MEASURES[name]} ↓", 34)) for name in (rule.x, rule.y))
    for number, (axis, task, here) in enumerate(parts):
        axis.set(xlabel=xlabel, ylabel=ylabel)
        if rule.unit == "tasks":
            axis.plot(here["x"], here["y"], ls="", label=task, color=INK, marker=MARKERS[number % len(MARKERS)])
            continue
        axis.set_title(task)
        for arm, mine in here.groupby("arm", sort=False):
            axis.plot(mine["x"], mine["y"], label=arm, **{**looks(panel)[str(arm)].line2d, "ls": ""})
    pictures.legend_below(figure)
    return figure
