"""What `import bench` offers Python: the same selections, records and pages as the command line.

Every function raises `bench.errors.BenchError` with the message that the command would print. Importing this module loads
nothing heavy.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from bench import registry, selection, standins
from bench.backbones import BACKBONES, Backbone
from bench.errors import UsageError, unknown
from bench.plan import PROFILES, RETRY, Cell, Places
from bench.protocols import PROTOCOLS
from bench.records import flat, store
from bench.records.record import Record
from bench.records.store import Problem, Store
from bench.words import say
from tasks.contract import Data, Request, Task

if TYPE_CHECKING:
    import pandas as pd

    from bench.cell.whole import Kept
    from bench.models.source import SourceModel

Folder = str | os.PathLike[str]
Names = str | Sequence[str]


class Options(TypedDict, total=False):
    """What `run` may be asked for: the options of `python -m bench run`. One name may stand for a list of one."""

    tasks: Names
    suite: Names
    methods: Names
    backbones: Names
    seeds: int | Sequence[int]
    protocol: Literal["strict", "paper"]
    profile: Literal["published", "quick", "converged", "tiny"]
    set: Mapping[str, Any]
    """Settings with their values, e.g. {"trainer.epochs": 3}."""
    grid: Mapping[str, Sequence[Any]]
    """Settings with values, each of which makes a cell."""
    budget: tuple[Literal["steps", "seconds"], float]
    official_only: bool
    allow_random_weights: bool
    search: Mapping[str, str]
    """Settings with ranges, e.g. {"trainer.lr": "loguniform(1e-4,1e-2)"}."""
    trials: int
    then_seeds: int
    sampler: Literal["random", "tpe", "halving"]
    study: str
    size: str
    probe: bool
    probe_epochs: Sequence[int]
    tsne: bool
    discrepancy: bool
    similarity: bool


def run(
    *,
    results_dir: Folder | None = None,
    data_dir: Folder | None = None,
    retry: Names = (),
    progress: bool = True,
    **options: Unpack[Options],
) -> pd.DataFrame:
    """Run cells in this process as `python -m bench run` does; what is done is not done again.

    Returns one row for each cell of the selection, in its order, with the columns of `load_records`: what a run gives can
    be put beside what a store holds. A failure is a row with its `status` and `error_message`; so is a cell that left no
    record (`taken` by another process, or `unwritten`). A row whose code was edited since is named in a warning. Ctrl-C,
    or a notebook's stop button, keeps the checkpoint of the cell that runs: the same call goes on from it.

    `options` are those of the command, see `Options`: tasks, suite, methods, backbones, seeds, protocol, profile, set,
    grid, budget, search, trials, then_seeds, sampler, official_only, allow_random_weights, study, size, probe, probe_epochs, tsne, discrepancy, similarity.
    `retry` names what is run again (`failed`, `stale`, `all`, ...). `progress=False` shows no progress.
    """
    from bench import launch
    from bench.launch.options import LaunchOptions

    places = Places(_folder(data_dir, standins.default_dir()), _folder(results_dir, store.default_dir()))
    again = _listed(retry)
    for status in again:
        if status not in RETRY:
            raise unknown("status to retry", status, RETRY)
    with standins.as_default(places.data_dir):
        results: dict[Cell, tuple[str, str]] = {}
        said: set[str] = set()
        for found in selection.passes(_wanted(options), places, again):
            _tell(found, [sentence for sentence in found.said if sentence not in said], progress)
            said |= set(found.said)
            if found.cells:
                selection.refuse_without_room(found.cells, places)
                how = LaunchOptions(quiet=not progress)
                outcome = launch.run(found.cells, places, found.runtime, options=how, command=_as_typed(options))
                results |= {result.cell: (result.outcome, result.message) for result in outcome.results}
    kept = {p.cell: Store(places.results_dir).get(p.cell.key()) for p in found.planned}
    rows = [_row(cell, record, *results.get(cell, ("missing", ""))) for cell, record in kept.items()]
    return _frame(rows, flat.columns([record for record in kept.values() if record is not None]))


def _tell(found: selection.Todo, sentences: Sequence[str], progress: bool) -> None:
    """Say which data, plug-ins and searches the cells have, and warn of scores that are not run again although they are stale."""
    if progress:
        for broken in registry.broken():
            say(f"{broken.name} ({broken.where}) is left out: {broken.reason}")
        for sentence in sentences:
            say(sentence)
    runs = set(found.cells)
    for item in found.planned:
        if item.stale and item.cell not in runs:
            warnings.warn(f"stale: {item.cell}: {item.stale} (retry='stale' runs it again)", stacklevel=3)


def _wanted(options: Mapping[str, Any]) -> selection.Wanted:
    """The options as the command line hands them on."""
    for name in options:
        if name not in Options.__annotations__:
            raise unknown("option of run", name, Options.__annotations__)
    lists = {name: _listed(options[name]) for name in (*selection.CHOOSING, "probe_epochs") if name in options}
    pairs = {name: tuple(options[name].items()) for name in ("set", "grid", "search") if name in options}
    return selection.Wanted(**{**options, **lists, **pairs})


def _as_typed(options: Mapping[str, Any]) -> str:
    """The call, for the records that it makes."""
    return f"bench.run({', '.join(f'{name}={value!r}' for name, value in options.items())})"


def _row(cell: Cell, record: Record | None, outcome: str, message: str) -> dict[str, Any]:
    """The record of a cell as a row; of a cell that left none its name and what became of it."""
    if record is not None:
        return flat.flatten(record)
    return {**cell.key(), "status": outcome, "error_message": message}


def load_records(path: Folder | None = None) -> pd.DataFrame:
    """Every record of a results folder (default: `$BENCH_RESULTS` or `results`), one row each.

    Columns are those of `python -m bench export`: what a record says in one value, then `metrics.NAME`, then every setting
    by its dotted name. Files that are no records are named in a warning.
    """
    folder = _existing(path)
    records, problems = Store(folder).scan(flat.READ)
    _warn(problems)
    return _frame(list(map(flat.flatten, records)), flat.columns(records))


def leaderboard(path: Folder | None = None, suite: Names | None = None) -> pd.DataFrame:
    """The scores of a results folder as `python -m bench report` averages them: one row for each method on each task.

    Only rows of one `panel` may be compared: one suite, profile, protocol and origin of data, and the same data, code and
    weights. `mean`, `std` and the 95 % interval `low` to `high` are over `n` seeds; `marks` says what is the matter with a
    score (`trivial`: no better than a predictor that learns nothing). `average_rank` and `win_rate` (%) are over those
    tasks of the panel that every method was run on.
    """
    import pandas as pd

    from bench.report import asked
    from bench.report.document.table import Entry
    from bench.report.frame import panels, to_frame
    from bench.report.tables.scores import score_table

    evidence, catalogue = asked.read(_existing(path)), asked.find_catalogue()
    _warn(evidence.problems)
    only = None if suite is None else registry.match("suite", _listed(suite), catalogue.suites)
    rows = []
    for panel in panels(to_frame(evidence.records), catalogue, only):
        of_panel = {name: getattr(panel, name) for name in ("suite", "profile", "protocol", "origin")}
        for method, (_, *entries) in score_table(panel, catalogue).rows:
            place = len(panel.tasks)
            rank, wins = (entry.value for entry in entries[place:] or [Entry(), Entry()])  # one method has none
            of_method = {"method": method, "average_rank": rank, "win_rate": wins}
            for task, entry in zip(panel.tasks, entries[:place], strict=True):
                metric, unit, higher = panel.metric_of(task)
                of_task = {"task": task, "metric": metric, "unit": unit, "higher_is_better": higher}
                found = {"mean": entry.value, "std": entry.spread, "low": entry.low, "high": entry.high, "n": entry.n}
                said = {"best": entry.best, "marks": list(entry.marks), "failures": dict(entry.failures)}
                rows.append({"panel": panel.name, **of_panel, **of_method, **of_task, **found, **said})
    return pd.DataFrame(rows)


class PageOptions(TypedDict, total=False):
    """What a page may be of: the options of `python -m bench report`."""

    results_dir: Folder
    suite: Names
    study: str
    size: str
    compare: Sequence[Folder]
    """Two stores."""
    against: Folder
    """A results folder, an archive of one, or `"reference"`: the page says first where the methods here land there."""


def write_report(out: Folder = "reports/latest", *, html: bool = True, **options: Unpack[PageOptions]) -> list[Path]:
    """Write the page of a results folder, of a study or of a comparison, as `python -m bench report` does.

    Returns the files to open. `options` are those of the command, see `PageOptions`: results_dir, suite, study, size,
    compare, against.
    """
    from bench.report.asked import Asked, page_of
    from bench.report.document.write import write

    for name in options:
        if name not in PageOptions.__annotations__:
            raise unknown("option of write_report", name, PageOptions.__annotations__)
    asked: dict[str, Any] = dict(options)
    asked |= {name: _folder(asked[name]) for name in ("results_dir", "against") if asked.get(name) is not None}
    asked |= {"suite": _listed(asked["suite"])} if asked.get("suite") is not None else {}
    asked |= {"compare": [_folder(store) for store in asked["compare"]]} if asked.get("compare") else {}
    page, problems = page_of(Asked(**asked))
    _warn(problems)
    return write(page, _folder(out), html=html)


@dataclass(frozen=True)
class TaskHere:
    """A task, and the way to its data on this machine."""

    name: str
    data_dir: Path

    @property
    def spec(self) -> Task:
        """Shapes, loss, metrics, splits, files, licence, citation, published settings."""
        with standins.as_default(self.data_dir):
            return registry.tasks()[self.name]

    def load(self, profile: str = "quick", protocol: str = "strict", limit: int | None = None, seed: int = 0) -> Data:
        """The three splits in the units of the task, from its official files, or else from a stand-in that is made now.

        `profile` is the size of the stand-in: `quick`, `converged`, `published`, or `tiny` for tests. `limit`: at most so many training
        samples, drawn by `seed` as for a cell of that seed. `protocol="paper"` merges validation into training.
        """
        spec = self.spec
        for kind, given, known in (("profile", profile, PROFILES), ("protocol", protocol, PROTOCOLS)):
            if given not in known:
                raise unknown(kind, given, known)
        origin = standins.origin_here(spec, self.data_dir)
        if origin == "generated":
            standins.generate(spec, self.data_dir, profile)
        root = standins.root_of(spec, self.data_dir, origin, profile, None)
        return spec.read(Request(root, protocol, limit, cache=self.data_dir / ".cache", seed=seed))  # type: ignore[arg-type]


def task(name: str, data_dir: Folder | None = None) -> TaskHere:
    """A task by name: `bench.task("ecg").load()` gives its data."""
    here = TaskHere(name, _folder(data_dir, standins.default_dir()))
    _ = here.spec  # an unknown name is answered here
    return here


@dataclass(frozen=True)
class BackboneHere:
    """A pretrained source model, and the way to its weights on this machine."""

    name: str
    spec: Backbone

    def load(self, random_weights: bool = False, seed: int = 0) -> SourceModel:
        """Embedder, encoder and head as a frozen torch module; SetupError that says how to get weights that are missing.

        With `random_weights` the body is initialised from `seed` instead.
        """
        from bench.models.source import load_source_model

        return load_source_model(self.spec, random_weights, seed)


def backbone(name: str) -> BackboneHere:
    """A backbone by name: `bench.backbone("minilm").load()` gives its torch module."""
    known = registry.one("backbone", name, BACKBONES)
    return BackboneHere(known, BACKBONES[known])


def load_model(path: Folder) -> Kept:
    """The whole model that a cell kept with `analysis.keep_weights`: a torch module in evaluation mode, on the CPU.

    It takes what `batch` of the task's splits gives, (B, C, *spatial), and gives outputs in the task's units; `normalised` makes
    such inputs of those in the files; `about` says what it was trained as. Nothing in the file runs, and no pretrained weights are needed.
    """
    from bench.cell.whole import load_model

    return load_model(_folder(path))


def evaluate(path: Folder, task: str | None = None, data_dir: Folder | None = None) -> dict[str, dict[str, Any]]:
    """Every metric of a kept model on the test split of its task, or of another one with the same shapes.

    {name: {value, unit, higher_is_better}}; on its own task and a CPU they are those of its record, digit for digit.
    """
    from bench.cell import whole

    folder = _folder(data_dir, standins.default_dir())
    with standins.as_default(folder):
        known = None if task is None else registry.one("task", task, registry.tasks().items)
        return whole.evaluate(_folder(path), known, folder)[1]


def _listed(given: Any) -> list[Any]:
    """One name or number as a list of one."""
    return [given] if isinstance(given, str | int) else list(given)


def _folder(given: Folder | None, default: Path = Path()) -> Path:
    return default if given is None else Path(given).expanduser()


def _existing(given: Folder | None) -> Path:
    folder = _folder(given, store.default_dir())
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: expected a results folder")
    return folder


def _warn(problems: Sequence[Problem]) -> None:
    """Name files that were set aside, as every verb does."""
    for problem in problems:
        warnings.warn(f"set aside: {problem.path}: {problem.reason}", stacklevel=3)


def _frame(rows: list[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns))
