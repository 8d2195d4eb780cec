"""Studies: named sets of cells, each with the question it answers and the rule that decides. One TOML file each."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bench import plan, registry, settings
from bench import standins as data
from bench.plan import Cell, Selection
from bench.records.record import Record
from bench.studies.study import Arm, Rule, Size, Study, read, where
from bench.words import counted

Key = tuple[str, str, int, str, str, tuple[tuple[str, Any], ...]]
"""What a cell computes, wherever its data and weights come from: task, method, seed, profile, protocol, overrides."""


@functools.cache
def all_studies() -> Mapping[str, Study]:
    """Every study of this folder by name, in alphabetical order."""
    files = sorted(Path(__file__).parent.glob("*.toml"))
    return MappingProxyType({path.stem: read(path) for path in files})


def find(name: str) -> Study:
    """The study of that name, in any case, or in the TOML file that is named; UsageError if there is none."""
    if name.endswith(".toml"):
        return read(Path(name).expanduser())
    return all_studies()[registry.one("study", name, all_studies())]


def cells_of(
    study: Study, size: str, data_dir: Path, official_only: bool = False, allow_random_weights: bool = False
) -> list[Cell]:
    """Every cell of a study at a size, each once, those of a task together (its data are loaded once)."""
    given: dict[str, Any] = {"official_only": official_only, "allow_random_weights": allow_random_weights}
    chosen = [replace(one, **given) for arm in study.arms_at(size) for one in selections(study, size, arm)]
    with where(f"study {study.reference}"):
        per_arm = [plan.cells(one, data_dir) for one in chosen]
    unique = dict.fromkeys(itertools.chain.from_iterable(per_arm))
    order = list(dict.fromkeys(cell.task for cell in unique))
    return sorted(unique, key=lambda cell: order.index(cell.task))


def runtime_of(study: Study) -> dict[str, Any]:
    """The analyses that a study's cells need, as settings."""
    return {f"analysis.{key}": value for key, value in study.analysis}


def selections(study: Study, size: str, arm: Arm) -> list[Selection]:
    """The cells of one arm: one selection, or one for each task where the arm's epochs depend on the task's."""
    chosen = study.size(size)
    one = Selection(
        tasks=chosen.tasks,
        suites=chosen.suites,
        methods=(arm.method,),
        seeds=chosen.seeds,
        protocol=chosen.protocol,
        profile=chosen.profile,
        set=(*chosen.set, *arm.set),
        grid=arm.grid,
    )
    if arm.times == 1.0:
        return [one]
    tasks = [task for task, _ in plan.choose_tasks(one, data.default_dir())]
    return [replace(one, tasks=(task,), suites=(), set=(*one.set, *_longer(task, chosen, arm))) for task in tasks]


def _longer(task: str, chosen: Size, arm: Arm) -> list[tuple[str, Any]]:
    """The settings that make stage 2 of a task's recipe `arm.times` as long."""
    layers = plan.base_layers(task, arm.method, chosen.profile, chosen.protocol)
    trainer = settings.resolve(registry.methods()[arm.method], *layers, dict((*chosen.set, *arm.set))).trainer
    longer: list[tuple[str, Any]] = [("trainer.epochs", round(trainer.epochs * arm.times))]
    if trainer.decay_epochs is not None:
        longer.append(("trainer.decay_epochs", trainer.decay_epochs * arm.times))
    return longer


def key_of(thing: Cell | Record) -> Key:
    """What a cell or the record of one computes, without origin and backbone."""
    plain = thing if isinstance(thing, dict) else asdict(thing)
    overrides = plain["overrides"].items() if isinstance(plain["overrides"], dict) else plain["overrides"]
    frozen = tuple(sorted((k, tuple(v) if isinstance(v, list) else v) for k, v in overrides))
    return plain["task"], plain["method"], plain["seed"], plain["profile"], plain["protocol"], frozen


def arms_of(study: Study, size: str) -> dict[str, set[Key]]:
    """What each arm of a study consists of, so that records made on any machine, of any origin, find their arm."""
    folder = data.default_dir()

    # Whether data and weights are here is no matter for a reader of records.
    def keys(arm: Arm) -> set[Key]:
        anywhere = [replace(one, allow_random_weights=True) for one in selections(study, size, arm)]
        return {key_of(cell) for one in anywhere for cell in plan.cells(one, folder)}

    return {arm.name: keys(arm) for arm in study.arms_at(size)}


def describe(name: str) -> dict[str, Any]:
    """Everything about a study, as plain data."""
    study = find(name)
    smallest = "quick" if "quick" in study.sizes else next(iter(study.sizes))
    return {
        "study": study.name,
        "question": study.question,
        "claims": ", ".join(map(str, study.claims)),
        "source": study.source,
        "arms": [_arm(arm) for arm in study.arms],
        "analyses": dict(study.analysis),
        "sizes": {size: _size(study, size) for size in study.sizes},
        "answered by": study.answer,
        "decided by": [_rule(rule) for rule in study.rules],
        "commands": [
            f"python -m bench plan --study {study.reference} --size {smallest}",
            f"python -m bench run --study {study.reference} --size {smallest}",
            f"python -m bench report --study {study.reference} --size {smallest}",
        ],
    }


def _arm(arm: Arm) -> str:
    changed = [f"{key}={value}" for key, value in arm.set]
    if arm.times != 1.0:
        changed.append(f"{arm.times:g} times the epochs")
    tuned = [f"{key} tuned on validation over {', '.join(map(str, values))}" for key, values in arm.grid]
    return "; ".join([f"{arm.name}: {arm.method}", *changed, *tuned])


def _size(study: Study, size: str) -> str:
    chosen = study.size(size)
    keys: set[Key] = set().union(*arms_of(study, size).values())
    where = ", ".join((*chosen.tasks, *(f"suite {suite}" for suite in chosen.suites)))
    changed = "".join(f", {key}={value}" for key, value in chosen.set)
    seeds = counted(len(chosen.seeds), "seed")
    return f"{counted(len(keys), 'cell')} ({where}; {seeds}; {chosen.profile} profile{changed}). {chosen.cost}"


def _rule(rule: Rule) -> str:
    claim = f"claim {rule.claim}: " if rule.claim else ""
    return (
        f"{claim}{rule.says} ({rule.kind}, smallest effect that matters {rule.margin:g}, at least {rule.least} units)"
    )
