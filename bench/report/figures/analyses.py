"""Figures of what happened to the source knowledge: probe error, t-SNE panels, discrepancy, and how they relate."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from bench.report import points
from bench.report.evidence import ArraysOf
from bench.report.figures import pictures
from bench.report.figures.drawing import COLOURS, INK, MARKERS, MUTED, PAPER, Drawing, drawing_of, looks, title_of
from bench.report.frame import Panel
from bench.words import printable

CLASS_COLOURS = tuple(COLOURS.values())
PER_CLASS = 40
"""Points of each class that a t-SNE panel shows; all are in the arrays beside the records."""


def analysis_figures(panel: Panel, arrays_of: ArraysOf) -> list[Drawing]:
    """Every figure that the analyses in this panel allow."""
    made = [_probe(panel), *_tsne(panel, points.tsne(panel, arrays_of)), _discrepancy(panel)]
    made += [_drop(panel), _score(panel), _movement(panel)]
    return [drawing for drawing in made if drawing is not None]


def _probe(panel: Panel) -> Drawing | None:
    caption = (
        "Error of a linear probe on source data the body never saw, by epoch of fine-tuning on each target task; mean "
        "over seeds with the lowest and highest seed as bars (one seed: the 95 % interval over test samples). Dashed: "
        "the untouched pretrained body. Lower means that more source knowledge was kept."
    )
    return drawing_of(panel, "probe", title_of("Linear probe", panel), caption, points.probe(panel), _draw_probe)


def _draw_probe(panel: Panel, data: pd.DataFrame) -> Figure:
    figure, parts = pictures.per_task(panel, data)
    rows = pictures.in_order(panel.rows, data["row"])
    for axis, task, here in parts:
        axis.axhline(here["pretrained_error"].mean(), color=INK, ls=(0, (6, 3)), lw=1.1, label="pretrained body")
        for k, row in enumerate(rows):
            mine = here[here["row"] == row]
            if mine.empty:
                continue
            by_epoch = mine.groupby("epoch")
            mean, low, high = pictures.spread(by_epoch["error"])
            if mine["seed"].nunique() == 1:
                low, high = by_epoch["low"].min(), by_epoch["high"].max()
            # Methods stand side by side, so that bars stay apart.
            x = mean.index + 0.012 * here["epoch"].max() * (k - (len(rows) - 1) / 2)
            axis.errorbar(
                x, mean, yerr=pictures.bars(mean, low, high), label=row, elinewidth=0.8, **looks(panel)[row].line2d
            )
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axis.set(title=f"{task}\n({here['backbone'].iloc[0]})", xlabel="epoch of stage 2")
        on = f"\non {here['source'].iloc[0]}" if here["source"].iloc[0] else ""
        axis.set_ylabel(f"probe error [%] ↓{on}")
    pictures.legend_below(figure)
    return figure


def _tsne(panel: Panel, data: pd.DataFrame) -> list[Drawing | None]:
    """One figure per backbone: the pretrained body beside one panel per task, a line of panels per method."""
    out = []
    for backbone in sorted(data["backbone"].unique()):
        here = data[data["backbone"] == backbone]
        here = here[here["seed"] == here.groupby(["task", "row"])["seed"].transform("min")]
        shown = here.groupby(["record", "body", "class"]).head(PER_CLASS).reset_index(drop=True)
        caption = (
            f"t-SNE of source features (coordinates without unit), backbone {backbone}: the pretrained body, and the "
            "same body after fine-tuning on each task; same samples, classes and seed in every panel, at most "
            f"{PER_CLASS} points of each class drawn. Lowest seed of each cell."
        )
        title = title_of(f"t-SNE of source features, {backbone}", panel)
        out.append(drawing_of(panel, f"tsne_{backbone}", title, caption, shown, _draw_tsne))
    return out


def _draw_tsne(panel: Panel, data: pd.DataFrame) -> Figure:
    rows, tasks = pictures.in_order(panel.rows, data["row"]), pictures.in_order(panel.tasks, data["task"])
    classes = sorted(data["class"].unique())
    figure = Figure(figsize=(min(pictures.WIDTH, 2.3 * (len(tasks) + 1)), 1.9 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), len(tasks) + 1, squeeze=False)
    for i, row in enumerate(rows):
        mine = data[data["row"] == row]
        panels = [("pretrained", mine[(mine["body"] == "pretrained") & (mine["task"] == mine["task"].iloc[0])])]
        panels += [(task, mine[(mine["body"] == "last") & (mine["task"] == task)]) for task in tasks]
        for axis, (title, here) in zip(axes[i], panels, strict=True):
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[["top", "right"]].set_visible(True)
            for c, name in enumerate(classes):
                chosen = here[here["class"] == name]
                colour = CLASS_COLOURS[c % len(CLASS_COLOURS)]
                marker = MARKERS[(c + c // len(MARKERS)) % len(MARKERS)]
                axis.plot(chosen["x"], chosen["y"], ls="", marker=marker, ms=2.6, mew=0, color=colour, label=name)
            if here.empty:
                axis.text(0.5, 0.5, "not run", ha="center", va="center", transform=axis.transAxes, color=MUTED)
            if i == 0:
                axis.set_title(title)
        axes[i][0].set_ylabel(row)
    pictures.legend_below(figure, columns=min(len(classes), 6))
    for handle in figure.legends[0].get_lines() if figure.legends else ():
        handle.set_markersize(6)
    return figure


def _discrepancy(panel: Panel) -> Drawing | None:
    caption = (
        "Modality semantic knowledge discrepancy D between source and target (without renormalisation, 0 to 1), mean "
        "over seeds with the lowest and highest seed as bars; the dash above is D with shuffled target labels."
    )
    title = title_of("Modality semantic knowledge discrepancy", panel)
    return drawing_of(panel, "discrepancy", title, caption, points.discrepancy(panel), _draw_discrepancy)


HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "---")


def _draw_discrepancy(panel: Panel, data: pd.DataFrame) -> Figure:
    rows, tasks = pictures.in_order(panel.rows, data["row"]), pictures.in_order(panel.tasks, data["task"])
    width = 0.8 / len(rows)
    need = 1.6 + 0.35 * len(tasks) * (len(rows) + 1)
    figure = Figure(figsize=(max(4.5, min(pictures.WIDTH, need)), 2.9), layout="constrained")
    axis = figure.add_subplot()
    for k, row in enumerate(rows):
        for t, task in enumerate(tasks):
            here = data[(data["row"] == row) & (data["task"] == task)]
            if here.empty:
                continue
            mean, low, high = pictures.spread(here["unnormalised"])
            x = t + (k - (len(rows) - 1) / 2) * width
            colour, hatch = looks(panel)[row].colour, HATCHES[k % len(HATCHES)]
            axis.bar(x, mean, width * 0.92, label=row, lw=0, color=colour, hatch=hatch, edgecolor=PAPER)
            if here["seed"].nunique() > 1:
                axis.errorbar(x, mean, yerr=[[max(0, mean - low)], [max(0, high - mean)]], color=INK, lw=1)
            axis.plot([x - width / 2, x + width / 2], [here["chance"].mean()] * 2, color=INK, lw=1.4, label="chance")
    axis.set_xticks(range(len(tasks)), tasks, rotation=20 if len(tasks) > 5 else 0)
    axis.set(ylabel="discrepancy D (no unit)", ylim=(0, 1), xlim=(-0.6, len(tasks) - 0.4))
    axis.grid(axis="x", visible=False)
    pictures.legend_below(figure)
    return figure


def _drop(panel: Panel) -> Drawing | None:
    """Probe drop (error after the last epoch minus the pretrained body's) against D, cell by cell."""
    data = points.drop(panel)
    caption = (
        "Each point is a cell: discrepancy D against the source knowledge lost, the probe error after the last epoch "
        f"minus that of the pretrained body. {_correlation(data['unnormalised'], data['drop'])} Points of one task "
        "are not independent."
    )
    title = title_of("Source knowledge lost against discrepancy", panel)
    return drawing_of(panel, "drop", title, caption, data, _draw_drop)


def _draw_drop(panel: Panel, data: pd.DataFrame) -> Figure:
    """One picture per backbone; task names stand at the mean of their points."""
    names = int(data.groupby("backbone")["task"].nunique().max())  # each may need a line of its own
    figure, parts = pictures.side_by_side(
        data, "backbone", sorted(data["backbone"].unique()), 2.6 + 0.125 * max(0, names - 3)
    )
    for axis, backbone, here in parts:
        _scatter(axis, panel, here, "unnormalised", "drop")
        axis.axhline(0, color=INK, lw=0.8, ls=(0, (6, 3)))
        axis.set(title=backbone, xlabel="discrepancy D (no unit)", ylabel="probe error gained [%-points]")
        axis.margins(0.12, 0.2)
        _name_groups(axis, here.groupby("task"), "unnormalised", "drop", figure.get_figwidth() / min(3, len(parts)))
        axis.xaxis.set_major_locator(MaxNLocator(5))
    pictures.legend_below(figure)
    return figure


def _score(panel: Panel) -> Drawing | None:
    """Target score against probe error after the last epoch, cell by cell, one picture per task."""
    caption = (
        "Each point is a cell: the source knowledge left after fine-tuning (probe error) against the target score. "
        "Within a task, points towards the lower left (upper left where higher is better) keep more and do better."
    )
    title = title_of("Target score against source knowledge", panel)
    return drawing_of(panel, "score_probe", title, caption, points.probe_and_score(panel), _draw_score)


def _draw_score(panel: Panel, data: pd.DataFrame) -> Figure:
    figure, parts = pictures.per_task(panel, data, 2.6)
    for axis, task, here in parts:
        _scatter(axis, panel, here, "error", "score")
        axis.set(title=task, xlabel="probe error [%] ↓", ylabel=pictures.score_label(panel, task))
        axis.margins(0.12, 0.2)
        axis.xaxis.set_major_locator(MaxNLocator(5))
    pictures.legend_below(figure)
    return figure


def _movement(panel: Panel) -> Drawing | None:
    caption = (
        "How far fine-tuning has moved the weights of each block of the body, ‖θ − θ₀‖ / ‖θ₀‖, from the input on the left "
        "to the output on the right: mean over seeds, with the lowest and highest seed as a band. The point "
        "apart is the whole body."
    )
    title = title_of("Weight movement by block", panel)
    return drawing_of(panel, "movement", title, caption, points.movement(panel), _draw_movement)


def _draw_movement(panel: Panel, data: pd.DataFrame) -> Figure:
    figure, parts = pictures.per_task(panel, data, 2.7)
    for axis, task, here in parts:
        blocks = list(dict.fromkeys(here["block"]))
        end = len(blocks) - ("all" in blocks)
        for row in panel.rows:
            values = here[here["row"] == row].groupby("block")["movement"]
            if not len(values):
                continue
            mean, low, high = (found.reindex(blocks) for found in pictures.spread(values))
            style = looks(panel)[row]
            axis.plot(range(end), mean[:end], label=row, **style.line2d)
            axis.plot(range(end, len(blocks)), mean[end:], **{**style.line2d, "ls": ""})
            axis.fill_between(range(end), low[:end], high[:end], color=style.colour, alpha=0.15, lw=0)
        every = max(1, round(len(blocks) / 12))
        names = [
            short if place % every == 0 or short == "all" else "" for place, short in enumerate(map(_short, blocks))
        ]
        axis.set_xticks(range(len(blocks)), names, rotation=90, fontsize=8)
        axis.set(title=f"{task}\n({here['backbone'].iloc[0]})", xlabel="block", ylabel="weight movement\n(no unit)")
        axis.set_ylim(bottom=0)
    pictures.legend_below(figure)
    return figure


def _short(block: str) -> str:
    """`1.2` of `layers.1.blocks.2`, `1.down` of `layers.1.downsample`: what is left without the names of lists."""
    parts = [p for p in block.split(".") if p not in ("encoder", "layers", "layer", "blocks", "block", "h")]
    return printable(".".join(parts).replace("downsample", "down"))


def _correlation(x: pd.Series, y: pd.Series) -> str:
    if len(x) < 4 or x.nunique() < 2 or y.nunique() < 2:
        return f"{len(x)} points are too few for a correlation."
    rho = float(stats.spearmanr(x, y).statistic)
    return f"Spearman's rank correlation is {rho:.2f} over {len(x)} points."


def _scatter(axis: Axes, panel: Panel, here: pd.DataFrame, x: str, y: str) -> None:
    """Cells as points, in the look of their row."""
    for row in pictures.in_order(panel.rows, here["row"]):
        mine = here[here["row"] == row]
        axis.plot(mine[x], mine[y], label=row, **{**looks(panel)[row].line2d, "ls": ""})


def _name_groups(axis: Axes, groups: Iterable[tuple[Any, pd.DataFrame]], x: str, y: str, inches: float) -> None:
    """The name of each group of points above its middle, lifted until it covers no other; `inches` wide is the axis."""
    line, letter = 9.0, 4.8  # points, at this size of font
    across, up = (
        72 * 0.8 * inches / (1.24 * axis.dataLim.width or 1.0),
        60 / (axis.dataLim.height or 1.0),
    )  # points to a unit
    placed: list[tuple[float, float, float]] = []
    for name, group in sorted(groups, key=lambda named: (named[1][y].max(), str(named[0]))):
        middle, level = float(group[x].mean()), float(group[y].max())
        half, lift = letter * len(str(name)) / 2, 0.0
        while any(abs(middle * across - c) < half + h and abs(level * up + lift - v) < line for c, v, h in placed):
            lift += line
        placed.append((middle * across, level * up + lift, half))
        text = axis.annotate(str(name), (middle, level), (0, 5 + lift), textcoords="offset points", color=MUTED)
        text.set(fontsize=8, ha="center", va="bottom")
    axis.set_ylim(top=max(axis.get_ylim()[1], (max(v for _, v, _ in placed) + 2 * line) / up))
