"""Figures of what happened to the source knowledge: probe error, t-SNE panels, discrepancy, and how they relate."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats

from bench.report.evidence import ArraysOf
from bench.report.figures.drawing import COLOURS, INK, MARKERS, MUTED, PAPER, WIDTH, Drawing, grid, legend_below, looks
from bench.report.frame import Panel
from bench.report.points import discrepancy_points, movement_points, probe_points, tsne_points
from bench.words import printable

CLASS_COLOURS = tuple(COLOURS.values())
PER_CLASS = 40
"""Points of each class that a t-SNE panel shows; all are in the arrays beside the records."""


def analysis_figures(panel: Panel, arrays_of: ArraysOf) -> list[Drawing]:
    """Every figure that the analyses in this panel allow."""
    probes, distances = probe_points(panel), discrepancy_points(panel)
    made = [_probe(panel, probes), *_tsne(panel, tsne_points(panel, arrays_of)), _discrepancy(panel, distances)]
    made += [_drop(panel, probes, distances), _score(panel, probes), _movement(panel, movement_points(panel))]
    return [drawing for drawing in made if drawing is not None]


def _title(what: str, panel: Panel) -> str:
    return f"{what}, suite {panel.suite} ({panel.profile}, {panel.protocol}, {panel.origin})"


def _probe(panel: Panel, data: pd.DataFrame) -> Drawing | None:
    if data.empty:
        return None
    caption = (
        "Error of a linear probe on source data the body never saw, by epoch of fine-tuning on each target task; mean "
        "over seeds with the lowest and highest seed as bars (one seed: the 95 % interval over test samples). Dashed: "
        "the untouched pretrained body. Lower means that more source knowledge was kept."
    )
    title = _title("Linear probe", panel)
    return Drawing(f"probe_{panel.name}", title, caption, data, lambda: _draw_probe(panel, data))


def _draw_probe(panel: Panel, data: pd.DataFrame) -> Figure:
    tasks = [t for t in panel.tasks if (data["task"] == t).any()]
    figure, axes = grid(len(tasks), 2 if len(tasks) in (2, 4) else 3)
    rows = [r for r in panel.rows if (data["row"] == r).any()]
    for axis, task in zip(axes, tasks, strict=True):
        here = data[data["task"] == task]
        epochs = sorted(here["epoch"].unique())
        axis.axhline(here["pretrained_error"].mean(), color=INK, ls=(0, (6, 3)), lw=1.1, label="pretrained body")
        for k, row in enumerate(rows):
            mine = here[here["row"] == row]
            if mine.empty:
                continue
            by_epoch = mine.groupby("epoch")
            mean = by_epoch["error"].mean()
            single = mine["seed"].nunique() == 1
            low = by_epoch["low" if single else "error"].min()
            high = by_epoch["high" if single else "error"].max()
            # Methods stand side by side, so that bars stay apart.
            x = mean.index + 0.012 * epochs[-1] * (k - (len(rows) - 1) / 2)
            style = looks(panel)[row].line2d
            axis.errorbar(
                x, mean, yerr=[(mean - low).clip(0), (high - mean).clip(0)], label=row, elinewidth=0.8, **style
            )
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axis.set(title=f"{task}\n({here['backbone'].iloc[0]})", xlabel="epoch of stage 2")
        on = f"\non {here['source'].iloc[0]}" if here["source"].iloc[0] else ""
        axis.set_ylabel(f"probe error [%] ↓{on}")
    legend_below(figure, axes)
    return figure


def _tsne(panel: Panel, data: pd.DataFrame) -> list[Drawing]:
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
        name, title = f"tsne_{backbone}_{panel.name}", _title(f"t-SNE of source features, {backbone}", panel)
        out.append(Drawing(name, title, caption, shown, partial(_draw_tsne, panel, shown)))
    return out


def _draw_tsne(panel: Panel, data: pd.DataFrame) -> Figure:
    rows = [r for r in panel.rows if (data["row"] == r).any()]
    tasks = [t for t in panel.tasks if (data["task"] == t).any()]
    classes = sorted(data["class"].unique())
    figure = Figure(figsize=(min(WIDTH, 2.3 * (len(tasks) + 1)), 1.9 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), len(tasks) + 1, squeeze=False)
    for i, row in enumerate(rows):
        mine = data[data["row"] == row]
        panels = [("pretrained", mine[(mine["body"] == "pretrained") & (mine["task"] == mine["task"].iloc[0])])]
        panels += [(task, mine[(mine["body"] == "last") & (mine["task"] == task)]) for task in tasks]
        for axis, (title, points) in zip(axes[i], panels, strict=True):
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[["top", "right"]].set_visible(True)
            for c, name in enumerate(classes):
                chosen = points[points["class"] == name]
                colour = CLASS_COLOURS[c % len(CLASS_COLOURS)]
                marker = MARKERS[(c + c // len(MARKERS)) % len(MARKERS)]
                axis.plot(chosen["x"], chosen["y"], ls="", marker=marker, ms=2.6, mew=0, color=colour, label=name)
            if points.empty:
                axis.text(0.5, 0.5, "not run", ha="center", va="center", transform=axis.transAxes, color=MUTED)
            if i == 0:
                axis.set_title(title)
        axes[i][0].set_ylabel(row)
    legend_below(figure, axes.ravel().tolist(), columns=min(len(classes), 6))
    for handle in figure.legends[0].get_lines() if figure.legends else ():
        handle.set_markersize(6)
    return figure


def _discrepancy(panel: Panel, data: pd.DataFrame) -> Drawing | None:
    if data.empty:
        return None
    caption = (
        "Modality semantic knowledge discrepancy D between source and target (without renormalisation, 0 to 1), mean "
        "over seeds with the lowest and highest seed as bars; the dash above is D with shuffled target labels."
    )
    title = _title("Modality semantic knowledge discrepancy", panel)
    return Drawing(f"discrepancy_{panel.name}", title, caption, data, lambda: _draw_discrepancy(panel, data))


HATCHES = ("", "///", "...", "xxx", "\\\\\\", "+++", "ooo", "---")


def _draw_discrepancy(panel: Panel, data: pd.DataFrame) -> Figure:
    tasks = [t for t in panel.tasks if (data["task"] == t).any()]
    rows = [r for r in panel.rows if (data["row"] == r).any()]
    width = 0.8 / len(rows)
    need = 1.6 + 0.35 * len(tasks) * (len(rows) + 1)
    figure = Figure(figsize=(max(4.5, min(WIDTH, need)), 2.9), layout="constrained")
    axis = figure.add_subplot()
    for k, row in enumerate(rows):
        for t, task in enumerate(tasks):
            here = data[(data["row"] == row) & (data["task"] == task)]
            if here.empty:
                continue
            mean, low, high = (getattr(here["unnormalised"], f)() for f in ("mean", "min", "max"))
            x = t + (k - (len(rows) - 1) / 2) * width
            colour, hatch = looks(panel)[row].colour, HATCHES[k % len(HATCHES)]
            axis.bar(x, mean, width * 0.92, label=row, lw=0, color=colour, hatch=hatch, edgecolor=PAPER)
            if here["seed"].nunique() > 1:
                axis.errorbar(x, mean, yerr=[[max(0, mean - low)], [max(0, high - mean)]], color=INK, lw=1)
            axis.plot([x - width / 2, x + width / 2], [here["chance"].mean()] * 2, color=INK, lw=1.4, label="chance")
    axis.set_xticks(range(len(tasks)), tasks, rotation=20 if len(tasks) > 5 else 0)
    axis.set(ylabel="discrepancy D (no unit)", ylim=(0, 1), xlim=(-0.6, len(tasks) - 0.4))
    axis.grid(axis="x", visible=False)
    legend_below(figure, [axis])
    return figure


def _drop(panel: Panel, probes: pd.DataFrame, distances: pd.DataFrame) -> Drawing | None:
    """Probe drop (error after the last epoch minus the pretrained body's) against D, cell by cell."""
    if probes.empty or distances.empty:
        return None
    last = _last(probes)
    data = last.merge(distances[["record", "unnormalised"]], on="record")
    if data.empty:
        return None
    data["drop"] = data["error"] - data["pretrained_error"]
    caption = (
        "Each point is a cell: discrepancy D against the source knowledge lost, the probe error after the last epoch "
        f"minus that of the pretrained body. {_correlation(data['unnormalised'], data['drop'])} Points of one task "
        "are not independent."
    )
    title = _title("Source knowledge lost against discrepancy", panel)
    axes = ("discrepancy D (no unit)", "probe error gained [%-points]")
    name = f"drop_{panel.name}"
    draw = partial(_scatter, panel, data, ("unnormalised", "drop"), axes, "backbone")
    return Drawing(name, title, caption, data, draw)


def _score(panel: Panel, probes: pd.DataFrame) -> Drawing | None:
    """Target score against probe error after the last epoch, cell by cell, one picture per task."""
    scores = panel.cells[["id", "score"]].rename(columns={"id": "record"}).dropna()
    data = _last(probes).merge(scores, on="record") if len(probes) else probes
    if len(data) < 2:
        return None
    caption = (
        "Each point is a cell: the source knowledge left after fine-tuning (probe error) against the target score. "
        "Within a task, points towards the lower left (upper left where higher is better) keep more and do better."
    )
    title = _title("Target score against source knowledge", panel)
    axes = ("probe error [%] ↓", "")
    name = f"score_probe_{panel.name}"
    return Drawing(name, title, caption, data, partial(_scatter, panel, data, ("error", "score"), axes, "task"))


def _movement(panel: Panel, data: pd.DataFrame) -> Drawing | None:
    if data.empty:
        return None
    caption = (
        "How far fine-tuning has moved the weights of each block of the body, ‖θ − θ₀‖ / ‖θ₀‖, from the input on the left "
        "to the output on the right: mean over seeds, with the lowest and highest seed as a band. The point "
        "apart is the whole body."
    )
    title = _title("Weight movement by block", panel)
    return Drawing(f"movement_{panel.name}", title, caption, data, lambda: _draw_movement(panel, data))


def _draw_movement(panel: Panel, data: pd.DataFrame) -> Figure:
    tasks = [t for t in panel.tasks if (data["task"] == t).any()]
    figure, axes = grid(len(tasks), 2 if len(tasks) in (2, 4) else 3, height=2.7)
    for axis, task in zip(axes, tasks, strict=True):
        here = data[data["task"] == task]
        blocks = list(dict.fromkeys(here["block"]))
        end = len(blocks) - ("all" in blocks)
        for row in panel.rows:
            values = here[here["row"] == row].groupby("block")["movement"]
            if not len(values):
                continue
            mean, low, high = (getattr(values, f)().reindex(blocks) for f in ("mean", "min", "max"))
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
    legend_below(figure, axes)
    return figure


def _short(block: str) -> str:
    """`1.2` of `layers.1.blocks.2`, `1.down` of `layers.1.downsample`: what is left without the names of lists."""
    parts = [p for p in block.split(".") if p not in ("encoder", "layers", "layer", "blocks", "block", "h")]
    return printable(".".join(parts).replace("downsample", "down"))


def _last(probes: pd.DataFrame) -> pd.DataFrame:
    """The probe of each cell at its last epoch."""
    return probes[probes["epoch"] == probes.groupby("record")["epoch"].transform("max")].copy()


def _correlation(x: pd.Series, y: pd.Series) -> str:
    if len(x) < 4 or x.nunique() < 2 or y.nunique() < 2:
        return f"{len(x)} points are too few for a correlation."
    rho = float(stats.spearmanr(x, y).statistic)
    return f"Spearman's rank correlation is {rho:.2f} over {len(x)} points."


def _scatter(panel: Panel, data: pd.DataFrame, xy: tuple[str, str], labels: tuple[str, str], by: str) -> Figure:
    """Cells as points, one picture for each value of `by`; task names stand at the mean of their points."""
    x, y = xy
    order: Sequence[str] = panel.tasks if by == "task" else sorted(data[by].unique())
    values = [v for v in order if (data[by] == v).any()]
    names = 0 if by == "task" else int(data.groupby(by)["task"].nunique().max())  # each may need a line of its own
    figure, axes = grid(len(values), 2 if len(values) in (2, 4) else 3, height=2.6 + 0.125 * max(0, names - 3))
    for axis, value in zip(axes, values, strict=True):
        here = data[data[by] == value]
        for row in panel.rows:
            mine = here[here["row"] == row]
            if len(mine):
                axis.plot(mine[x], mine[y], label=row, **{**looks(panel)[row].line2d, "ls": ""})
        if by != "task":
            axis.axhline(0, color=INK, lw=0.8, ls=(0, (6, 3)))
        metric = panel.metric_of(value) if by == "task" else None
        unit = "" if metric is None or metric[1] in ("", "1") else f" [{metric[1]}]"
        ylabel = labels[1] if metric is None else f"{metric[0]}{unit} {'↑' if metric[2] else '↓'}"
        axis.set(title=value, xlabel=labels[0], ylabel=ylabel)
        axis.margins(0.12, 0.2)
        if by != "task":
            _name_groups(axis, here.groupby("task"), x, y, figure.get_figwidth() / min(3, len(axes)))
        axis.xaxis.set_major_locator(MaxNLocator(5))
    legend_below(figure, axes)
    return figure


def _name_groups(axis: Axes, groups: Iterable[tuple[Any, pd.DataFrame]], x: str, y: str, inches: float) -> None:
    """The name of each group of points above its middle, lifted until it covers no other; `inches` wide is the axis."""
    line, letter = 9.0, 4.8  # points, at this size of font
    across, up = (
        72 * 0.8 * inches / (1.24 * axis.dataLim.width or 1.0),
        60 / (axis.dataLim.height or 1.0),
    )  # points to a unit
    placed: list[tuple[float, float, float]] = []
    for name, points in sorted(groups, key=lambda group: (group[1][y].max(), str(group[0]))):
        middle, level = float(points[x].mean()), float(points[y].max())
        half, lift = letter * len(str(name)) / 2, 0.0
        while any(abs(middle * across - c) < half + h and abs(level * up + lift - v) < line for c, v, h in placed):
            lift += line
        placed.append((middle * across, level * up + lift, half))
        text = axis.annotate(str(name), (middle, level), (0, 5 + lift), textcoords="offset points", color=MUTED)
        text.set(fontsize=8, ha="center", va="bottom")
    axis.set_ylim(top=max(axis.get_ylim()[1], (max(v for _, v, _ in placed) + 2 * line) / up))
