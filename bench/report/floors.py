"""What any method should beat: ridge regression on the raw input, and the best trivial predictor of the task."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from bench.records.comparable import TASK
from bench.records.record import Record
from bench.report.frame import EVIDENCE, FLOOR, Panel
from bench.studies.study import MATTERS
from bench.words import counted

DATA = ("data.limit", "data.samples")
"""Settings that say from which samples a method learns: what learned from others is no floor."""


def data_of(record: Record) -> str:
    """The settings in `DATA` that are not at "all there are", in words; "" for none."""
    found = ((name, record["settings"].get(name)) for name in DATA)
    return ", ".join(f"{name} = {value}" for name, value in found if value is not None)


def own_data(data: str, amounts: Iterable[str]) -> str:
    """What of `data_of` is not the same in all the `amounts`: the rest goes without saying."""
    return ", ".join(part for part in data.split(", ") if not all(part in other.split(", ") for other in amounts))


def beside(records: Sequence[Record], cells: Sequence[Record]) -> list[Record]:
    """Of `records` those of ridge that belong beside the `cells` of a table, at most one for each task, seed and `DATA`.

    The fewer data the earlier. They are of the same task, backbone, seed, profile, protocol, origin and `DATA`, the same files and code of the task,
    and ridge as it comes. How long the others train is nothing to it.
    """
    wanted = {_place(record) for record in cells}
    fitting = [
        record
        for record in records
        if record["method"] == FLOOR and record["score"] is not None and _place(record) in wanted
        if not any(name.startswith("method.") for name in record["overrides"])
    ]
    latest = {_place(record): record for record in sorted(fitting, key=lambda r: (r["end"], r["id"]))}
    return sorted(latest.values(), key=lambda r: [r["settings"].get(name) or math.inf for name in DATA])


def _place(record: Record) -> tuple[object, ...]:
    keys = ("task", "backbone", "seed", "profile", "protocol", "origin")
    return (*(record[key] for key in keys), data_of(record), *(aspect.of(record) for aspect in TASK))


@dataclass(frozen=True)
class Standing:
    """How the methods of a panel stand to its floors on one task, with the data that they learned from."""

    task: str
    data: str
    """As `data_of` says it."""
    best: float
    """Mean score of the best method."""
    ridge: float | None
    """Mean score of ridge; None where there is none."""
    trivial: float | None
    """Score of the best trivial predictor."""
    higher: bool

    def beats(self, floor: float | None, margin: float = 0.0) -> bool:
        """Whether the best method is better than a floor by more than `margin` in % of the mean of both."""
        if floor is None:
            return True
        gain = (self.best - floor) * (1 if self.higher else -1)
        return gain > margin / 100 * (abs(self.best) + abs(floor)) / 2

    @property
    def solved_by(self) -> list[str]:
        """The floors that no method beats by the smallest effect that matters: the task tells little of methods."""
        floors = {FLOOR: self.ridge, "the trivial predictor": self.trivial}
        return [name for name, floor in floors.items() if not self.beats(floor, MATTERS)]


def standings(panel: Panel) -> list[Standing]:
    """One for each task (and amount of data) on which a method other than ridge has a score, in the panel's order."""
    done = panel.cells[panel.cells["status"] == "done"].dropna(subset=["score"])
    done = done.assign(data=[data_of(record) for record in done["record"]])
    return [
        found
        for task in panel.tasks
        for data, part in done[done["task"] == task].groupby("data", sort=False)
        if (found := _standing(panel, task, str(data), part)) is not None
    ]


def _standing(panel: Panel, task: str, data: str, cells: pd.DataFrame) -> Standing | None:
    higher = panel.metric_of(task)[2]
    is_ridge = cells["method"] == FLOOR
    methods, ridge = (part.groupby("row")["score"].mean() for part in (cells[~is_ridge], cells[is_ridge]))
    if methods.empty:
        return None
    best, floor = (float(means.max() if higher else means.min()) for means in (methods, ridge))
    trivial = float(cells["trivial"].mean())
    return Standing(task, data, best, None if ridge.empty else floor, None if pd.isna(trivial) else trivial, higher)


def sentences(panel: Panel, results_dir: object) -> Iterator[str]:
    """On how many tasks a floor beats every method, in plain words; where ridge was not run, the command that runs it."""
    found = standings(panel)
    amounts = dict.fromkeys(data_of(panel.of(row)["record"].iloc[0]) for row in panel.rows)
    for data in amounts:
        here = [one for one in found if one.data == data]
        own = own_data(data, amounts)
        when = f" with {own}" if own else ""
        if run := [one for one in here if one.ridge is not None]:
            yield f"**Ridge, a linear map of the raw input, beats every arm{when} on {_on([o.task for o in run if not o.beats(o.ridge)], len(run))}**"
        if known := [one for one in here if one.trivial is not None]:
            yield f"The trivial predictor beats every arm{when} on {_on([o.task for o in known if not o.beats(o.trivial)], len(known))}"
        if missing := [one.task for one in here if one.ridge is None]:
            yield f"Ridge has no record here{when} on {', '.join(missing)}; this makes them: `{_command(panel, data, missing, results_dir)}`."


def solved(panel: Panel) -> list[str]:
    """`advection (ridge)`, for every task of the panel on which no method beats a floor by the smallest effect that matters."""
    return [
        f"{one.task}{f' with {one.data}' if one.data else ''} ({' and '.join(by)})"
        for one in standings(panel)
        if (by := one.solved_by)
    ]


def machinery(panel: Panel) -> str:
    """What tests of the machinery are, and by which floors they are solved."""
    found = solved(panel)
    said = f" No method here beats a floor by {MATTERS:g} % on {', '.join(found)}." if found else ""
    return (
        f"Stand-ins that were not declared worth transferring to (suite `{EVIDENCE}`): {', '.join(panel.tasks)}. They show that "
        f"methods run and learn; they stand in no rank and carry no evidence.{said}"
    )


def _on(tasks: Sequence[str], of: int) -> str:
    return f"{len(tasks)} of {counted(of, 'task')}{': ' if tasks else ''}{', '.join(tasks)}."


def _command(panel: Panel, data: str, tasks: Sequence[str], results_dir: object) -> str:
    seeds = " ".join(map(str, sorted(set(panel.cells["seed"]))))
    chosen = f" --set {data.replace(' = ', '=').replace(', ', ' ')}" if data else ""
    where = f"--profile {panel.profile} --protocol {panel.protocol}{chosen} --results-dir {results_dir}"
    return f"python -m bench run --tasks {' '.join(tasks)} --methods {FLOOR} --seeds {seeds} {where}"
