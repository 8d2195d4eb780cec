"""A selection becomes cells; a cell's identity; what of it is done, failed or missing. Imports nothing heavy.

Two cells are the same exactly if they would compute the same numbers: the id is the SHA-256 of what a cell's result
depends on, without what is at its default, so that a new option changes no old id.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from bench import protocols, registry, settings
from bench import standins as data
from bench.errors import UsageError, unknown
from bench.fitting import refuse_machinery, refuse_methods_without_task, refuse_without_effect, takes
from bench.here import what_is_here
from bench.records.record import Record
from bench.records.store import Problem, Store
from bench.search.space import Searched, is_trial


@dataclass(frozen=True)
class Places:
    """The folders that cells read from and write to."""

    data_dir: Path
    results_dir: Path


PROFILES = ("published", "quick", "converged", "tiny")
"""published: as published. quick: stand-ins, minutes on two cores. converged: stand-ins that a transfer can be shown on,
trained until validation stops improving; the tasks of suite `evidence` have it. tiny: for tests, it learns nothing."""
STANDINS = ("quick", "converged", "tiny")
"""Profiles whose recipes are for the sizes of stand-ins."""
EMBEDDED = "quick"
"""The suite, and its profile, that run where nothing was named and no official data are here."""
MAX_SEED = 2**32 - 1
"""The largest that every random generator in use takes."""

TINY: Mapping[str, Any] = {
    "trainer.epochs": 2,
    "trainer.batch_size": 8,
    "trainer.accumulation": 1,
    "trainer.warmup_epochs": 0,
    "stage1.epochs": 1,
    "stage1.max_samples": 16,
    "model.target_seq_len": 8,
}
"""What the tiny profile adds to a task's quick recipe: for tests and `bench check`, it learns nothing."""


@dataclass(frozen=True)
class Cell:
    """One (task, method, backbone, seed, settings): the unit that runs, resumes and fails on its own."""

    task: str
    method: str
    backbone: str
    seed: int = 0
    profile: str = "published"
    protocol: str = "strict"
    origin: str = "official"
    random_weights: bool = False
    """The body starts from random weights because the pretrained ones are not here (`--allow-random-weights`)."""
    overrides: tuple[tuple[str, Any], ...] = ()
    """Identity settings that differ from what task, profile and protocol say, sorted by name."""
    search: Searched | None = None

    @functools.cached_property
    def id(self) -> str:
        """First 16 hex digits of the SHA-256 of the identity in canonical JSON."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        if "overrides" in given:
            given["overrides"] = dict(self.overrides)
        text = json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=Searched.to_dict)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def key(self) -> dict[str, Any]:
        """What file names and tables need: task, method, backbone, seed, id."""
        return {"task": self.task, "method": self.method, "backbone": self.backbone, "seed": self.seed, "id": self.id}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for a manifest or a job."""
        searched = self.search and self.search.to_dict()
        return asdict(self) | {"overrides": [list(o) for o in self.overrides], "search": searched}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Cell:
        """The inverse of `to_dict`."""
        frozen = {"overrides": _frozen(plain["overrides"]), "search": Searched.of(plain.get("search"))}
        return cls(**{**plain, **frozen})

    def __str__(self) -> str:
        changed = " ".join(f"{k}={v}" for k, v in self.overrides)
        trial = ", a trial" if is_trial(self) else ""
        where = f"{self.task} / {self.method} / {self.backbone} / seed {self.seed}{trial}"
        return f"{where} [{changed}]" if changed else where


def _frozen(pairs: Iterable[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
    """Settings that JSON has held: its lists are tuples again."""
    return tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in pairs)


def cell_of(record: Record) -> Cell:
    """The cell that a record is of."""
    names = ("task", "method", "backbone", "seed", "profile", "protocol", "origin")
    changed, searched = _frozen(sorted(record["overrides"].items())), Searched.of(record["search"])
    cell = Cell(**{name: record[name] for name in names}, overrides=changed, search=searched)
    return cell if cell.id == record["id"] else replace(cell, random_weights=True)


@dataclass(frozen=True)
class Selection:
    """What a command line or a study asks for; `cells` makes it concrete."""

    tasks: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("vanilla",)
    backbones: tuple[str, ...] = ("auto",)
    seeds: tuple[int, ...] = (0,)
    protocol: str = "strict"
    profile: str | None = None
    """None: published for tasks whose official data are here, quick for the others and for suite `quick`."""
    set: tuple[tuple[str, Any], ...] = ()
    grid: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    official_only: bool = False
    allow_random_weights: bool = False


def base_layers(task: str, method: str, profile: str, protocol: str) -> list[Mapping[str, Any]]:
    """The layers of settings that a cell has before anybody overrides anything."""
    spec = registry.tasks()[task]
    layers = [protocols.recipe(spec, protocol)]
    if profile in STANDINS:
        layers.append(spec.quick)
    if profile == "converged":
        layers.append(spec.converged or {})
    if profile == "tiny":
        layers.append(TINY)
    return [*layers, protocols.layer(spec, registry.methods()[method], protocol)]


def resolve(cell: Cell, runtime: Mapping[str, Any] | None = None) -> settings.Settings:
    """All settings of a cell; `runtime` adds settings that change no id."""
    method = registry.methods()[cell.method]
    layers = base_layers(cell.task, cell.method, cell.profile, cell.protocol)
    return settings.resolve(method, *layers, dict(cell.overrides), runtime or {})


def overrides_of(
    task: str, method: str, profile: str, protocol: str, given: tuple[tuple[str, Any], ...]
) -> tuple[tuple[str, Any], ...]:
    """`given` settings reduced to the identity settings that really differ from the cell's base, sorted."""
    own = tuple(
        ("method." + name.partition(".")[2] if name.partition(".")[0] == method else name, value)
        for name, value in given
        if name.partition(".")[0] == method or name.partition(".")[0] not in registry.methods().items
    )
    before, after = (_identity_settings(task, method, profile, protocol, changed) for changed in ((), own))
    return _frozen((name, value) for name, value in after.items() if value != before[name])


def split_roles(given: Iterable[tuple[str, Any]]) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """--set pairs as (identity pairs, runtime mapping); unknown names are errors."""
    identity_pairs, runtime = [], {}
    for name, value in given:
        section, _, key = name.partition(".")
        cls = settings.SECTIONS.get(section)
        if cls is None and section != "method" and section not in registry.methods().items:
            raise unknown("setting", name, [*settings.all_names(), *(f"{m}.*" for m in registry.methods().items)])
        role = "identity"
        if section in registry.methods().items:
            options = [f.name for f in fields(registry.methods()[section])]
            if key not in (*options, "preset"):
                raise unknown(f"option of {section}", key, options)
        if cls is not None:
            by_name = {f.name: f for f in fields(cls)}
            if key not in by_name:
                raise unknown("setting", name, settings.all_names())
            role = by_name[key].metadata["role"]
        if role == "runtime":
            runtime[name] = getattr(settings.apply(section, cls(), {key: value}), key)  # type: ignore[misc]
        else:
            identity_pairs.append((name, value))
    return identity_pairs, runtime


def choose_tasks(selection: Selection, data_dir: Path) -> list[tuple[str, str]]:
    """(task, profile) pairs of a selection. Naming nothing means every task whose official data are here, else `EMBEDDED`."""
    suites, tasks = registry.suites(), registry.tasks()

    def official(name: str) -> bool:
        return data.official_here(tasks[name], data_dir) and data.origin_here(tasks[name], data_dir) == "official"

    def with_profile(names: Iterable[str], short: bool = False) -> dict[tuple[str, str], None]:
        return {(n, selection.profile or ("published" if not short and official(n) else "quick")): None for n in names}

    chosen: dict[tuple[str, str], None] = {}
    for suite in registry.match("suite", selection.suites, suites):
        chosen |= with_profile(suites[suite], suite == EMBEDDED)
    chosen |= with_profile(tasks.select(selection.tasks))
    if not selection.tasks and not selection.suites:
        chosen = with_profile(filter(official, tasks.items)) or with_profile(suites[EMBEDDED])
    return list(chosen)


def cells(selection: Selection, data_dir: Path) -> list[Cell]:
    """Every cell of a selection, in a fixed order: by task (their data are loaded once), method, backbone, grid, seed."""
    if selection.protocol not in protocols.PROTOCOLS:
        raise unknown("protocol", selection.protocol, protocols.PROTOCOLS)
    if selection.profile is not None and selection.profile not in PROFILES:
        raise unknown("profile", selection.profile, PROFILES)
    if selection.profile == "converged":
        refuse_machinery([task for task, _ in choose_tasks(selection, data_dir)])
    for seed in selection.seeds:
        if not 0 <= seed <= MAX_SEED:
            raise UsageError(f"seed {seed}: expected a whole number from 0 to {MAX_SEED}")
    method_names = registry.methods().select(selection.methods)
    pairs, _ = split_roles(selection.set)
    refuse_without_effect([name for name, _ in pairs], [name for name, _ in selection.grid], method_names)
    axes = [[(name, value) for value in values] for name, values in selection.grid]
    if any(split_roles(axis)[1] for axis in axes):
        raise UsageError("--grid takes settings that change the result; give runtime settings with --set")
    combos = [(*pairs, *combo) for combo in itertools.product(*axes)]
    chosen = choose_tasks(selection, data_dir)
    refuse_methods_without_task([m for m in method_names if m in selection.methods], [task for task, _ in chosen])
    # Names and values first: a typo is answered before the machine is asked what it has.
    overrides = {
        (task, profile, method, combo): overrides_of(task, method, profile, selection.protocol, combo)
        for (task, profile), method, combo in itertools.product(chosen, method_names, combos)
    }
    here = what_is_here(
        [task for task, _ in chosen],
        selection.backbones,
        data_dir,
        selection.official_only,
        selection.allow_random_weights,
    )
    out: dict[Cell, None] = {}
    for task, profile in chosen:
        origin, fitting = here[task]
        meant = [name for name in method_names if takes(name, task)]
        for method, (backbone, random), combo in itertools.product(meant, fitting, combos):
            changed = overrides[task, profile, method, combo]
            for seed in selection.seeds:
                out[Cell(task, method, backbone, seed, profile, selection.protocol, origin, random, changed)] = None
    return list(out)


def stale_reason(cell: Cell, record: Record) -> str | None:
    """Why a finished record no longer says what the cell would compute now, or None."""
    code = registry.code_of(cell.task, cell.method, cell.origin)
    for kind, name in (("method", cell.method), ("task", cell.task)):
        if record["code"].get(kind) != code[kind]:
            return f"{kind} {name}, or a module that it imports, was edited since"
    now = _identity_settings(cell.task, cell.method, cell.profile, cell.protocol, cell.overrides)
    changed = [k for k, v in now.items() if record["settings"].get(k, v) != v]
    return f"settings changed since: {', '.join(changed[:5])}" if changed else None


@functools.lru_cache(maxsize=65536)
def _identity_settings(
    task: str, method: str, profile: str, protocol: str, overrides: tuple[tuple[str, Any], ...]
) -> Mapping[str, Any]:
    """The settings on which a cell's numbers depend, whatever its backbone and seed; UsageError for a wrong one."""
    found = resolve(Cell(task, method, "", profile=profile, protocol=protocol, overrides=overrides))
    found.method.check()
    if found.trainer.patience and protocol == "paper":
        raise UsageError(
            f"trainer.patience={found.trainer.patience}: protocol paper has no validation split to stop by, and reports "
            "the last epoch; leave it out, or use --protocol strict"
        )
    return settings.flatten(found, "identity")


@dataclass(frozen=True)
class Planned:
    """A cell and what the store knows of it."""

    cell: Cell
    status: str
    """A record's status, or `missing`."""
    record: Record | None = None
    stale: str | None = None


RETRY = ("failed", "diverged", "out_of_memory", "timeout", "lost", "stale", "all")
"""What `--retry` may name; `failed` means every status but done."""


READ = ("id", "status", "code", "settings", "analysis")
"""Keys of a record that tell whether its cell is done."""


def plan(chosen: Sequence[Cell], store: Store, aside: list[Problem] | None = None) -> list[Planned]:
    """Each cell with its status in the store, whose records are reduced to `READ`.

    A cell whose file cannot be read counts as missing, and the file joins `aside`.
    """
    found, problems = store.scan(READ, {store.path(cell.key()).name for cell in chosen})
    records = {record["id"]: record for record in found}
    if aside is not None:
        aside += problems
    return [planned_as(cell, records.get(cell.id)) for cell in chosen]


def planned_as(cell: Cell, record: Record | None) -> Planned:
    """A cell of which the store has this record."""
    if record is None:
        return Planned(cell, "missing")
    stale = stale_reason(cell, record) if record["status"] == "done" else None
    return Planned(cell, record["status"], record, stale)


def to_run(
    planned: Sequence[Planned], retry: Iterable[str] = (), analyses: Mapping[str, Any] | None = None
) -> list[Cell]:
    """The cells that a run would start: the missing ones, those named by `retry`, and done ones that lack an analysis."""
    wanted = set(retry)
    lacking = [name for name in ("probe", "tsne", "discrepancy", "similarity") if (analyses or {}).get(name)]
    out = []
    for item in planned:
        held = item.record["analysis"] if item.record is not None else {}
        reasons = {item.status, "all"}
        reasons |= {"failed"} if item.status not in ("done", "missing") else set()
        reasons |= {"stale"} if item.stale is not None else set()
        lacks = item.status == "done" and any(name not in held for name in lacking)
        if item.status == "missing" or lacks or reasons & wanted:
            out.append(item.cell)
    return out
