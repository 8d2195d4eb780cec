"""What a user asks for, typed or from Python, becomes cells and settings; what would have no effect is refused.

Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from bench import registry, studies
from bench import standins as data
from bench.backbones import BACKBONES
from bench.errors import SetupError, UsageError
from bench.plan import EMBEDDED, Cell, Places, Planned, Selection, cells, plan, planned_as, resolve, split_roles, to_run
from bench.records.record import Record
from bench.records.store import Problem, Store, ensure_writable
from bench.search.space import is_trial, parse
from bench.search.trials import Known, Search, arms, known
from bench.sources.load import standin_serves

CHOOSING = ("tasks", "suite", "methods", "backbones", "seeds")
"""What names cells. With a study it says which of its cells."""
CHANGING = ("protocol", "profile", "grid", "budget", "search")
"""What says what a cell computes. A study says it itself."""
SEARCHING = ("trials", "then_seeds", "sampler")
"""What says how a search goes on."""
CONDITIONS = ("set", "official_only", "allow_random_weights")
ANALYSES = ("probe", "tsne", "discrepancy", "similarity")
OWN_FILE = "a file of your own: --study ./mine.toml"
T = TypeVar("T")


@dataclass(frozen=True)
class Wanted:
    """What a user asks for; where nothing was said, it is None, False or empty. Names take wildcards and any case."""

    tasks: Sequence[str] | None = None
    suite: Sequence[str] | None = None
    """Suites by name."""
    methods: Sequence[str] | None = None
    backbones: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    protocol: str | None = None
    profile: str | None = None
    set: Sequence[tuple[str, Any]] = ()
    """Settings with their values."""
    grid: Sequence[tuple[str, Sequence[Any]]] = ()
    """Settings with values, each of which makes a cell; the values of a name that stands here twice are joined."""
    budget: tuple[str, Any] | None = None
    """("steps", N) or ("seconds", S): what both stages may take together."""
    search: Sequence[tuple[str, str]] = ()
    """Settings with ranges, e.g. ("trainer.lr", "loguniform(1e-4,1e-2)"); the other three say how they are searched."""
    trials: int | None = None
    then_seeds: int | None = None
    sampler: str | None = None
    official_only: bool = False
    allow_random_weights: bool = False
    study: str | None = None
    """Name or TOML file of a study; the first five fields choose of its cells."""
    size: str | None = None
    """Of the study; None: quick."""
    probe: bool | None = None
    probe_epochs: Sequence[int] | None = None
    tsne: bool = False
    discrepancy: bool = False
    similarity: bool = False


def given(options: object, names: Iterable[str]) -> list[str]:
    """Those of the options that say something, as they are typed."""
    values = {name: getattr(options, name, None) for name in names}
    return [f"--{name.replace('_', '-')}" for name, v in values.items() if v not in (None, False, [], ())]


def refuse(options: object, names: Sequence[str], reason: str) -> None:
    """UsageError if any of the options says something: here it would have no effect."""
    if found := given(options, names):
        raise UsageError(f"{' and '.join(found)}: {reason}")


def chosen(wanted: Wanted, data_dir: Path) -> list[Cell] | None:
    """The cells that are wanted, or None if nothing says which."""
    said = given(wanted, ("study", "size", *CHOOSING, *CHANGING, *CONDITIONS))
    return cells_of(wanted, data_dir) if said else None


def cells_of(wanted: Wanted, data_dir: Path) -> list[Cell]:
    """The cells that are wanted: of a study, or every combination of what was named."""
    if not wanted.search:
        refuse(wanted, SEARCHING, "say what is to be searched too: --search 'trainer.lr=loguniform(1e-4,1e-2)'")
    if wanted.study is None:
        refuse(wanted, ["size"], "sizes are those of a study: say --study NAME too")
        return cells(_selection(wanted), data_dir)
    said = "the study says that itself; copy its TOML file, change the copy, and run that"
    refuse(wanted, CHANGING, f"{said} ({OWN_FILE})")
    if changed := ", ".join(name for name, _ in split_roles(_settings(wanted))[0]):
        raise UsageError(
            f"--set {changed}: with --study only settings that change no result; others go into {OWN_FILE}"
        )
    conditions = wanted.official_only, wanted.allow_random_weights
    found = studies.cells_of(studies.find(wanted.study), wanted.size or "quick", data_dir, *conditions)
    return _of_study(found, wanted)


def _of_study(found: Sequence[Cell], wanted: Wanted) -> list[Cell]:
    """Those cells of a study that have the tasks, suites, methods, backbones and seeds that were named."""
    where = f"in study {wanted.study}, size {wanted.size or 'quick'}"
    any_backbone = wanted.backbones is None or "auto" in wanted.backbones
    patterns: dict[str, Sequence[Any] | None] = {
        "task": wanted.tasks if wanted.suite is None else [*(wanted.tasks or ()), *tasks_of((), wanted.suite)],
        "method": wanted.methods,
        "backbone": None if any_backbone else wanted.backbones,
        "seed": wanted.seeds,
    }
    kept = fitting(found, Cell.key, patterns, where)
    if not kept:
        raise UsageError(f"no cell {where} has all that was named; `plan --study {wanted.study}` lists its cells")
    return kept


def tasks_of(tasks: Iterable[str], suites: Iterable[str]) -> list[str]:
    """The tasks that fit the patterns, and those of the suites that do, each once."""
    known = registry.suites()
    named = registry.tasks().select(tasks)
    return list(
        dict.fromkeys([*named, *(task for suite in registry.match("suite", suites, known) for task in known[suite])])
    )


def fitting(
    things: Iterable[T], key: Callable[[T], Mapping[str, Any]], patterns: Mapping[str, Sequence[Any] | None], where: str
) -> list[T]:
    """The cells or records whose task, method, ... fit the patterns of that kind, None being all.

    `key` gives the names of one; a pattern that fits none of them is a UsageError that says `where` it was looked for.
    """
    left = every = list(things)
    for kind, of_kind in patterns.items():
        if of_kind is not None:
            known = dict.fromkeys(str(key(thing)[kind]) for thing in every)
            named = registry.match(f"{kind} {where}", map(str, of_kind), known)
            left = [thing for thing in left if str(key(thing)[kind]) in named]
    return left


def _selection(wanted: Wanted) -> Selection:
    """The same for `bench.plan.cells`, which checks the names."""
    named: dict[str, Any] = {"suites" if name == "suite" else name: getattr(wanted, name) for name in CHOOSING}
    grid: dict[str, dict[Any, None]] = {}
    for name, values in wanted.grid:
        grid.setdefault(name, {}).update(dict.fromkeys(values))
    return Selection(
        **{name: tuple(values) for name, values in named.items() if values is not None},
        protocol=wanted.protocol or "strict",
        profile=wanted.profile,
        set=tuple(split_roles(_settings(wanted))[0]),
        grid=tuple((name, tuple(values)) for name, values in grid.items()),
        official_only=wanted.official_only,
        allow_random_weights=wanted.allow_random_weights,
    )


def _settings(wanted: Wanted) -> list[tuple[str, Any]]:
    """Every setting with its value, those of the budget too; UsageError where one has two values."""
    pairs = list(wanted.set)
    if wanted.budget is not None:
        kind, value = wanted.budget
        if kind not in ("steps", "seconds"):
            raise UsageError(f"--budget {kind}={value}: expected steps=N or seconds=S")
        pairs.append((f"trainer.budget_{kind}", value))
    out: dict[str, Any] = {}
    for name, value in pairs:
        if out.setdefault(name, value) != value:
            raise UsageError(f"--set {name}={value}: {name} has the value {out[name]} already; --grid runs several")
    return [*out.items()]


def runtime_of(wanted: Wanted) -> dict[str, Any]:
    """Settings that change no cell: those of the study, those given, and the analyses asked for or forbidden."""
    found = studies.runtime_of(studies.find(wanted.study)) if wanted.study else {}
    found |= split_roles(_settings(wanted))[1]
    if wanted.probe_epochs is not None:
        if wanted.probe is False:
            raise UsageError("--probe-epochs with --no-probe: say one of them")
        found |= {"analysis.probe": True, "analysis.probe_epochs": tuple(wanted.probe_epochs)}
    asked = {f"analysis.{name}": getattr(wanted, name) for name in ANALYSES}
    return found | {name: on for name, on in asked.items() if on or (on is False and name == "analysis.probe")}


@dataclass(frozen=True)
class Todo:
    """What a run of what is wanted has to do."""

    planned: list[Planned]
    """Every cell with what the store knows of it."""
    cells: list[Cell]
    """Those that are to run."""
    runtime: dict[str, Any]
    """Settings of the run that change no cell."""
    said: list[str]
    """Sentences on where the data are from, on the recipe where no option chose it, and on searches."""
    problems: list[Problem]
    """Files of the store that are no records; their cells count as missing."""
    searches: Sequence[Known] = ()

    @property
    def failed(self) -> list[Planned]:
        """The cells that failed before and are not run again; a trial that failed is an answer."""
        runs = set(self.cells)
        bad = [p for p in self.planned if p.status not in ("done", "missing") and p.cell not in runs]
        return [p for p in bad if not is_trial(p.cell)]


def todo(wanted: Wanted, places: Places, retry: Iterable[str] = ()) -> Todo:
    """Which of the cells are to run: the missing ones, those named by `retry`, and done ones that lack an analysis."""
    every, runtime = cells_of(wanted, places.data_dir), runtime_of(wanted)
    problems: list[Problem] = []
    store = Store(places.results_dir)
    searches: list[Known] = []
    said: list[str] = []
    if wanted.search:
        searches, said = _searches(wanted, every, store, retry)
        every = [cell for known in searches for cell in (*known.trials, *known.repeats)]
    planned = plan(every, store, problems)
    asked = {name.removeprefix("analysis."): on for name, on in runtime.items() if name.startswith("analysis.")}
    runs = to_run(planned, retry, asked)
    if _embedded_default(wanted, every):  # it is there to show everything; done cells need not run again for it
        runtime = {"analysis.probe": True, **runtime}
    # The records about to be replaced hold analyses: a run for another one loses none.
    replaced = set(runs)
    held = [p.record["analysis"] for p in planned if p.record and p.status == "done" and p.cell in replaced]
    runtime |= {f"analysis.{name}": True for analysis in held for name in analysis}
    taken = [*_data_taken(wanted, every, places.data_dir), *_source_taken(wanted, every, places.data_dir)]
    return Todo(planned, runs, runtime, [*taken, *said], problems, searches)


def passes(wanted: Wanted, places: Places, retry: Iterable[str] = ()) -> Iterator[Todo]:
    """What a run has to do; of a search again and again, since its next cells follow from the records of those before.

    Each Todo is to be run before the next is asked for. The last one of a search has nothing to run.
    """
    found = todo(wanted, places, retry)
    yield found
    tried: set[Cell] = set()
    while wanted.search and found.cells:
        tried |= set(found.cells)
        found = todo(wanted, places)
        found = replace(found, cells=[cell for cell in found.cells if cell not in tried])
        yield found


def _searches(
    wanted: Wanted, bases: Sequence[Cell], store: Store, retry: Iterable[str]
) -> tuple[list[Known], list[str]]:
    """What is known of the search of every cell, and that in words; records that are to be replaced answer nothing."""
    if len({cell.seed for cell in bases}) > 1:
        raise UsageError(
            "--search with several --seeds: a search has one; --then-seeds says how many repeat its choice"
        )
    space = [(name, parse(name, text)) for name, text in wanted.search]
    if len(dict(space)) < len(space):
        raise UsageError(f"--search {' '.join(name for name, _ in space)}: one range for each setting")
    named: dict[str, Any] = {"trials": wanted.trials, "repeats": wanted.then_seeds, "sampler": wanted.sampler}
    search = Search(tuple(sorted(space)), **{name: value for name, value in named.items() if value is not None})

    def record_of(cell: Cell) -> Record | None:
        record = store.get(cell.key())
        return None if record is None or to_run([planned_as(cell, record)], retry) else record

    found = [known(arm, record_of) for arm in arms(search, bases)]
    return found, [search.sentence(len(bases)), *filter(None, (one.sentence(record_of) for one in found))]


def _embedded_default(wanted: Wanted, every: Sequence[Cell]) -> bool:
    """Whether nothing was named, and the suite of stand-ins runs since no official data are here."""
    return not (wanted.tasks or wanted.suite or wanted.study) and all(cell.origin == "generated" for cell in every)


def _data_taken(wanted: Wanted, every: Sequence[Cell], data_dir: Path) -> list[str]:
    tasks = list(dict.fromkeys(cell.task for cell in every if cell.origin == "generated"))
    if not tasks:
        return []
    quick = wanted.profile is None and wanted.study is None and any(cell.profile == "quick" for cell in every)
    recipe = ", with the quick recipe (--profile published: the published one, far longer)" if quick else ""
    said = f"no official data here for {', '.join(tasks)}: stand-ins are generated{recipe}, and every table says so"
    if _embedded_default(wanted, every):
        where = f"nothing was named and no official data are in {data_dir}: the embedded default, suite {EMBEDDED}"
        return [f"{where} (`python -m bench data status` lists what official data would go where)", said]
    return [said]


def _source_taken(wanted: Wanted, every: Sequence[Cell], data_dir: Path) -> list[str]:
    """Sentences on source data for which a stand-in serves; SetupError where official data alone were asked for."""
    readers: dict[str, set[str]] = {}
    for cell in {replace(cell, seed=0) for cell in every}:
        reads = {cell.method} if registry.methods()[cell.method].needs_source else set()
        readers.setdefault(resolve(cell).source.name, set()).update(reads)
    out = []
    for name, methods in sorted(readers.items()):
        if message := standin_serves(name, data_dir):
            if wanted.official_only and methods:
                raise SetupError(
                    f"--official-only: {', '.join(sorted(methods))} would read a stand-in, for {message}; "
                    "or take other source data: --set source.name=topics"
                )
            out.append(f"{message}. Until then whatever reads it (a method, a probe) reads a generated stand-in, and every table says so")  # fmt: skip
    return out


def refuse_without_room(runs: Sequence[Cell], places: Places, at_once: int = 1) -> None:
    """SetupError before any work if a folder cannot be written, or the disk has no room for `at_once` checkpoints."""
    largest = max(BACKBONES[cell.backbone].checkpoint_bytes() for cell in runs)
    Store(places.results_dir).ensure_writable(at_once * largest + (16 << 20))
    if any(cell.origin == "generated" and not _standin_here(cell, places.data_dir) for cell in runs):
        ensure_writable(places.data_dir, "data folder, where stand-ins are to be generated,", "--data-dir")


def _standin_here(cell: Cell, data_dir: Path) -> bool:
    samples = dict(cell.overrides).get("data.samples")
    return data.standin_here(registry.tasks()[cell.task], data_dir, cell.profile, samples)
