"""Records as one table, and that table cut into panels: sets of cells that may stand side by side.

A panel holds cells of one suite, profile, protocol, origin and (where a task has several) backbone, each task's of the
same data, code, weights and precision (`bench.records.comparable`): nothing else may share a column. Its rows are methods; settings
that set two variants of a method apart are part of the row's name, and so is the method's code where it differs.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from bench.records import comparable
from bench.records.record import RECORD, Record
from bench.words import printable

SCORES = ("score", "score_last", "score_best_val", "score_best_test")
COSTS = (
    *("seconds_data", "seconds_stage1", "seconds_stage2", "seconds_eval", "seconds_total"),
    *("peak_memory_host", "peak_memory_device"),
)
KEPT = (
    *("id", "task", "method", "backbone", "seed", "profile", "protocol", "origin", "status"),
    *("metric", "unit", "higher_is_better", *SCORES, *COSTS, "device", "weights"),
)
READ = tuple(RECORD.keys() - {"runtime", "metrics", "metrics_last", "retries", "sidecars"})
"""Keys of a record that reports read."""
GROUP = ["profile", "protocol", "origin"]
EVIDENCE = "evidence"
"""The suite of tasks whose stand-ins are declared, before anything is run, to be worth transferring to; results choose none."""
FLOOR = "ridge"
"""The method that stands beside the trivial predictor: a linear map that no other should lose to."""
METHOD_ORDER = (
    FLOOR,
    "small_supervised",
    "fno",
    "scratch",
    "linear",
    "frozen",
    "lora",
    "vanilla",
    "embedder_warmup",
    "lp_ft",
    "mmd_joint",
    "orca",
    "recraft",
    "pare",
    "mona",
)
"""From no transfer to the most elaborate; other methods follow by name."""


@dataclass(frozen=True)
class Catalogue:
    """What the report knows of tasks beyond their records. Empty: tasks go by their record names, in one suite."""

    suites: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Suite -> its tasks in their order."""
    titles: Mapping[str, str] = field(default_factory=dict)
    """Task or method -> title for people."""
    backbones: Mapping[str, str] = field(default_factory=dict)
    """Task -> its published backbone."""

    def title(self, name: str) -> str:
        """The title of a task, or its name."""
        return self.titles.get(name, name)


@dataclass(frozen=True)
class Panel:
    """Cells that may be compared: one suite, profile, protocol and origin."""

    suite: str
    profile: str
    protocol: str
    origin: str
    backbone: str | None
    """The one backbone of all cells, where some task of the group has several; None: each task has one of its own."""
    cells: pd.DataFrame
    """As `to_frame` makes it, with the column `row`: the method, with the settings that tell variants apart."""
    tasks: tuple[str, ...]
    rows: tuple[str, ...]
    shared: Mapping[str, Any]
    """Overrides that every cell of the panel has; in a study those of its size, which an arm may set otherwise."""
    apart: int = 0
    """Number of a panel of cells that are not comparable with those of the same group; 0 is the main one."""
    differs: tuple[str, ...] = ()
    """In what the tasks of a panel apart differ from the main one; of the main one, what stands apart. In words."""
    floors: tuple[str, ...] = ()
    """The first of `rows`, which stand beside the others to be beaten and are ranked nowhere."""
    evidence: bool = True
    """Whether it may be read as evidence; False: stand-ins outside of the suite `evidence`, which test the machinery."""

    @property
    def name(self) -> str:
        """A file name part, unique among the panels of a report."""
        parts = [self.suite, self.profile, self.protocol, self.origin, self.backbone]
        parts += [f"apart{self.apart}"] if self.apart else []
        parts += [] if self.evidence else ["machinery"]
        return "_".join(p for p in parts if p)

    @functools.cached_property
    def arms(self) -> dict[str, tuple[str, str]]:
        """Row -> what it is on every page: its method, and its settings in words ("" as the method comes).

        Left out are settings that all cells of the panel share; one that varies within the row (tuned, or by task) is
        `varied`. Rows that this does not tell apart (by code or source data, say) have their name instead.
        """
        found: dict[str, tuple[str, str]] = {}
        for row in self.rows:
            cells = self.of(row)
            own = [
                {k: flat(v) for k, v in changes(record).items() if k not in self.shared or self.shared[k] != v}
                for record in cells["record"]
            ]
            values = {name: {o.get(name) for o in own} for name in sorted({n for o in own for n in o})}
            said = ", ".join(f"{k}={next(iter(v)) if len(v) == 1 else 'varied'}" for k, v in values.items())
            arm = (str(cells["method"].iloc[0]), said)
            found[row] = arm if arm not in found.values() else (arm[0], row)
        return found

    @functools.cached_property
    def _parts(self) -> dict[tuple[str | None, str | None], pd.DataFrame]:
        parts: dict[tuple[str | None, str | None], pd.DataFrame] = {(None, None): self.cells}
        parts |= {(str(row), None): group for row, group in self.cells.groupby("row", sort=False)}
        parts |= {(None, str(task)): group for task, group in self.cells.groupby("task", sort=False)}
        return parts | {(str(r), str(t)): group for (r, t), group in self.cells.groupby(["row", "task"], sort=False)}

    def of(self, row: str | None = None, task: str | None = None) -> pd.DataFrame:
        """The cells of a row, of a task, or of both; an empty frame if there are none."""
        return self._parts.get((row, task), self.cells.iloc[:0])

    def metric_of(self, task: str) -> tuple[str, str, bool]:
        """Metric, unit, and whether higher is better: of a task's records (all have the same)."""
        first = self.of(task=task).iloc[0]
        return str(first["metric"]), str(first["unit"]), bool(first["higher_is_better"])

    def backbone_of(self, task: str) -> str:
        """The backbone of a task in this panel (there is one)."""
        return str(self.of(task=task)["backbone"].iloc[0])


def best_at(record: Record) -> float | None:
    """The part of stage 2, 0 to 1, that was over at the end of the epoch best on validation; None where there is none.

    A record that does not say it (made by an older version) tells it by its epochs, if no budget ended them.
    """
    said, best, settings = record["epoch_best_val_at"], record["epoch_best_val"], record["settings"]
    planned = settings.get("trainer.epochs")
    if said is not None or not best or not planned:
        return said
    budget = settings.get("trainer.budget_steps") or settings.get("trainer.budget_seconds")
    return None if budget else best / planned


def to_frame(records: Sequence[Record]) -> pd.DataFrame:
    """One line per record: the keys in `KEPT`, `trivial` (score), `trivial_name`, `best_at`, and `record` whole."""
    columns: dict[str, list[Any]] = {key: [record[key] for record in records] for key in KEPT}
    columns["trivial"] = [record["trivial"].get("score") for record in records]
    columns["trivial_name"] = [record["trivial"].get("name") for record in records]
    columns["best_at"] = [best_at(record) for record in records]
    frame = pd.DataFrame(columns | {"record": list(records)})
    for column in (*SCORES, *COSTS, "trivial", "best_at"):
        frame[column] = pd.to_numeric(frame[column])
    return frame


def flat(value: Any) -> str:
    """A setting's value as it stands in a name."""
    return value if isinstance(value, str) else json.dumps(value)


def label(method: str, settings: Mapping[str, Any]) -> str:
    """`mona[lambda_=0]`: a method with the settings that set it apart. `method.` is left out, it is understood."""
    if not settings:
        return method
    inside = ",".join(f"{name.removeprefix('method.')}={flat(value)}" for name, value in sorted(settings.items()))
    return f"{method}[{printable(inside)}]"


def changes(record: Record) -> dict[str, Any]:
    """The overrides of a record; of one that repeats the choice of a search what was searched in place of what was chosen.

    So the choices of one search, which differ from task to task, are one row.
    """
    if record["search"] is None:
        return dict(record["overrides"])
    search = record["search"]
    kept = {name: value for name, value in record["overrides"].items() if name not in search["space"]}
    return {**kept, **search["space"], "search": f"{search['trials']} {search['sampler']}"}


def add_rows(cells: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Any]]:
    """`cells` with the column `row`, and the overrides that all of them share.

    In a row's name are: every override of a method's own option; further overrides that not all cells share; any
    setting or source data in which records that would else be averaged as seeds of one cell differ (made by different
    versions); and the hash of the method's code where the row would else hold several.
    """
    overrides = [changes(record) for record in cells["record"]]
    common = {k: v for k, v in overrides[0].items() if not k.startswith("method.")} if overrides else {}
    common = {k: v for k, v in common.items() if all(k in o and o[k] == v for o in overrides)}
    cells = cells.copy()
    own = dict(zip(cells.index, ({k: v for k, v in o.items() if k not in common} for o in overrides), strict=True))
    cells["row"] = [label(method, own[index]) for index, method in cells["method"].items()]
    extra: dict[Any, dict[str, Any]] = {index: {} for index in cells.index}
    for _, group in cells.groupby("row", sort=False):
        _tell_apart(group, extra, comparable.METHOD_CODE)
        for _, seeds in group.groupby("task", sort=False):
            _tell_apart(seeds, extra, comparable.SOURCE)
            for index, differ in zip(seeds.index, _differing([r["settings"] for r in seeds["record"]]), strict=True):
                extra[index] |= differ
    cells["row"] = [label(method, own[index] | extra[index]) for index, method in cells["method"].items()]
    return cells, common


def _tell_apart(group: pd.DataFrame, extra: Mapping[Any, dict[str, Any]], aspect: comparable.Aspect) -> None:
    """Add the aspect to what sets each record of the group apart, if they differ in it."""
    values = {index: aspect.of(record) for index, record in group["record"].items()}
    if len({v for v in values.values() if v is not None}) > 1:
        for index, value in values.items():
            extra[index] |= {} if value is None else {aspect.name: value}


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each mapping, the entries in which the mappings are not all the same."""
    if all(s == settings[0] for s in settings):
        return [{} for _ in settings]
    names = {name for s in settings for name in s}
    differ = sorted(name for name in names if len({flat(s.get(name)) for s in settings}) > 1)
    return [{name: s.get(name) for name in differ} for s in settings]


def place(name: str, order: Sequence[str]) -> tuple[int, str]:
    """The key by which names sort as `order` has them, those that it lacks last and by name."""
    return (order.index(name) if name in order else len(order)), name


def ordered(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """`names` as `order` has them; those that it lacks follow by name."""
    return sorted(names, key=lambda name: place(name, order))


def row_order(cells: pd.DataFrame) -> tuple[str, ...]:
    """Row names: methods in `METHOD_ORDER`, then the others by name; of a method the plain one first."""
    pairs = cells[["method", "row"]].drop_duplicates().itertuples(index=False)
    return tuple(row for _, row in sorted(pairs, key=lambda p: (place(p[0], METHOD_ORDER), len(p[1]), p[1])))


def suite_of(tasks: Sequence[str], suites: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Each task's suite in a group of cells: the smallest suite that holds them all, else the first that holds it."""
    covering = [suite for suite, members in suites.items() if set(tasks) <= set(members)]
    if covering:
        return dict.fromkeys(tasks, min(covering, key=lambda s: len(suites[s])))
    return {t: next((s for s, members in suites.items() if t in members), "other") for t in tasks}


def panels(frame: pd.DataFrame, catalogue: Catalogue, only: Sequence[str] | None = None) -> list[Panel]:
    """The panels of all cells, or of those in the suites `only`; official data first, then by suite and protocol."""
    out = []
    suites = {s: m for s, m in catalogue.suites.items() if (s != EVIDENCE if only is None else s in only)}
    for key, group in frame.groupby(GROUP, sort=True):
        profile, protocol, origin = map(str, key)
        if only is not None:
            group = group[group["task"].isin({t for members in suites.values() for t in members})]
        assigned = suite_of(list(group["task"].unique()), suites)
        for suite in dict.fromkeys(assigned.values()):
            for backbone, part in by_backbone(group[group["task"].map(assigned) == suite]):
                for apart, cells, differs in comparable_sets(part):
                    panel = _panel((suite, profile, protocol, origin, backbone), cells, suites.get(suite, ()))
                    out.append(replace(panel, apart=apart, differs=differs))
    origins, order = ("official", "generated"), tuple(catalogue.suites)
    # Sorting is stable: within a suite panels stay in the order of profile, protocol, backbone and apart.
    return sorted(out, key=lambda p: (place(p.origin, origins)[0], place(p.suite, order)))


def by_backbone(cells: pd.DataFrame) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """All cells under None; where some task was run on several backbones, the cells of each under its name."""
    if cells.groupby("task")["backbone"].nunique().max() == 1:
        yield None, cells
    else:
        yield from ((str(backbone), part) for backbone, part in cells.groupby("backbone"))


def shown_in(frame: pd.DataFrame, parts: Sequence[Panel]) -> pd.DataFrame:
    """The lines of `frame` that some of the panels show."""
    return frame[frame["id"].isin({i for panel in parts for i in panel.cells["id"]})]


def comparable_sets(
    cells: pd.DataFrame, by: str = "task", aspects: Sequence[comparable.Aspect] = comparable.COLUMN
) -> Iterator[tuple[int, pd.DataFrame, tuple[str, ...]]]:
    """(number, cells, in what they differ) of the parts of `cells` whose every task (or `by`) is comparable within.

    Part 0 has the largest set of every task, and says what stands apart; the others say in what they differ from it.
    """
    number: dict[Any, int] = {}
    differs: dict[int, list[str]] = {0: []}
    for name, group in cells.groupby(by, sort=False):
        found = comparable.variants(list(group["record"]), aspects)
        number |= dict(zip(group.index, found.numbers, strict=True))
        for n, said in enumerate(found.differs[1:], 1):
            differs.setdefault(n, []).append(f"{name}: {said}")
            count = found.numbers.count(n)
            stand = "1 record of it stands" if count == 1 else f"{count} records of it stand"
            differs[0].append(f"{name}: {stand} apart, in a section of their own ({said})")
    for n, part in cells.groupby(cells.index.map(number)):
        yield int(n), part, tuple(differs[int(n)])


def by_evidence(panel: Panel, catalogue: Catalogue) -> list[Panel]:
    """The panel; of generated data, where a suite `evidence` declares tasks, those of it, and the others as tests of the machinery."""
    declared = catalogue.suites.get(EVIDENCE)
    if panel.origin != "generated" or declared is None:
        return [panel]
    # A column may be named by its metric, too; the record always has the task alone.
    chosen = pd.Series([record["task"] in declared for record in panel.cells["record"]], index=panel.cells.index)
    return [_only(panel, chosen == kind, kind) for kind in (True, False) if (chosen == kind).any()]


def _only(panel: Panel, chosen: pd.Series, evidence: bool) -> Panel:
    cells = panel.cells[chosen].reset_index(drop=True)
    tasks, rows = (
        tuple(x for x in of if x in set(cells[key])) for of, key in ((panel.tasks, "task"), (panel.rows, "row"))
    )
    differs = tuple(said for said in panel.differs if said.partition(": ")[0] in set(cells["task"]))
    floors = tuple(row for row in panel.floors if row in rows)
    return replace(panel, cells=cells, tasks=tasks, rows=rows, differs=differs, floors=floors, evidence=evidence)


def _panel(key: tuple[str, str, str, str, str | None], cells: pd.DataFrame, order: Sequence[str]) -> Panel:
    """The panel of `cells`; `key` is its suite, profile, protocol, origin and backbone."""
    cells, shared = add_rows(cells)
    # A column has one metric: records of another (made by another version) get a column of their own.
    several = cells.groupby("task")["metric"].transform("nunique") > 1
    cells["task"] = cells["task"].where(~several, cells["task"] + " (" + cells["metric"] + ")")
    cells = cells.sort_values(["task", "row", "seed", "id"]).reset_index(drop=True)
    return Panel(*key, cells, tuple(ordered(cells["task"].unique(), order)), row_order(cells), shared)
