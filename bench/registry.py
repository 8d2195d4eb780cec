"""Where tasks and methods are found: their own folder, and the entry points of installed packages; whose code they are.

A plug-in that cannot be imported is reported by name and hides nothing else. Only files that define a plug-in are
imported, so that looking stays instant and never loads torch.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import methods as methods_package
import tasks as tasks_package
from bench.errors import UsageError, unknown
from bench.standins import default_dir
from methods.contract import Method
from tasks import source
from tasks.contract import Task
from tasks.own import stored

T = TypeVar("T")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
"""Names stand in file names, tables and terminals."""


@dataclass(frozen=True)
class Broken:
    """A plug-in that could not be used: its name, where it is, and why."""

    name: str
    where: str
    reason: str


@dataclass(frozen=True)
class Found(Generic[T]):
    """What was found of one kind: plug-ins by name, where each is from, the module it is in, and the broken ones."""

    kind: str
    items: Mapping[str, T]
    origin: Mapping[str, str]
    module: Mapping[str, str]
    broken: tuple[Broken, ...]

    def __getitem__(self, name: str) -> T:
        if name in self.items:
            return self.items[name]
        for broken in self.broken:
            if broken.name == name:
                raise UsageError(f"{self.kind} {name!r} in {broken.where} cannot be used: {broken.reason}")
        raise unknown(self.kind, name, self.items)

    def select(self, patterns: Iterable[str]) -> list[str]:
        """Names matched by the patterns, as `match` has it; a broken plug-in that is named says why it is broken."""
        names = list(patterns)
        for name in {broken.name for broken in self.broken}.intersection(names):
            self[name]
        return match(self.kind, names, self.items)


def one(kind: str, given: str, known: Iterable[str]) -> str:
    """The known name that was given, in any case; UsageError if there is none."""
    names = list(known)
    found = [name for name in names if name == given] or [n for n in names if n.casefold() == given.casefold()]
    if not found:
        raise unknown(kind, given, names)
    return found[0]


def match(kind: str, patterns: Iterable[str], known: Iterable[str]) -> list[str]:
    """The known names that the patterns match, in the order given, each once; one that matches nothing is an error.

    A pattern that matches in another case alone is taken, too.
    """
    chosen, names = dict[str, None](), list(known)
    for pattern in patterns:
        matched = [name for name in names if name == pattern or fnmatch.fnmatchcase(name, pattern)] or [
            name for name in names if fnmatch.fnmatchcase(name.casefold(), pattern.casefold())
        ]
        if not matched:
            raise unknown(kind, pattern, names)
        chosen.update(dict.fromkeys(matched))
    return list(chosen)


def tasks() -> Found[Task]:
    """Every task: `TASK` of the files in tasks/, entry points of group `bench.tasks`, own data in the data folder."""
    return _tasks(default_dir())


@functools.cache
def _tasks(data_dir: Path) -> Found[Task]:
    folder = Path(tasks_package.__file__ or "").parent
    own = [
        (name, str(path), functools.partial(stored.load_task, path)) for name, path in stored.tasks_in(data_dir).items()
    ]
    return _find("task", folder, "tasks", r"^TASK\s*[:=]", _tasks_in, own)


def forget_tasks() -> None:
    """Look anew at the next call of `tasks`: a task was imported."""
    _tasks.cache_clear()


@functools.cache
def methods() -> Found[type[Method]]:
    """Every method: `Method` subclasses in the files of methods/, then entry points of group `bench.methods`."""
    folder = Path(methods_package.__file__ or "").parent
    # A method may also derive from another one, so its name gives it away; a forgotten name is reported on import.
    marker = r"^class \w+\(Method\)|^    name\b.*= [\"']"
    return _find("method", folder, "methods", marker, _methods_in)


def broken() -> list[Broken]:
    """Every plug-in that could not be used."""
    return [*tasks().broken, *methods().broken]


def _tasks_in(thing: Any) -> list[Task]:
    if isinstance(thing, Task):
        return [thing]
    task = getattr(thing, "TASK", None)
    if not isinstance(task, Task):
        raise TypeError(f"TASK is a {type(task).__name__}, expected tasks.contract.Task")
    return [task]


def _methods_in(thing: Any) -> list[type[Method]]:
    candidates = [thing] if inspect.isclass(thing) else [v for v in vars(thing).values() if inspect.isclass(v)]
    own = [c for c in candidates if issubclass(c, Method) and c is not Method and getattr(c, "name", None)]
    own = [c for c in own if inspect.isclass(thing) or c.__module__ == thing.__name__]
    if not own:
        raise TypeError("defines no subclass of methods.contract.Method with a name")
    return own


def _find(
    kind: str,
    folder: Path,
    package: str,
    marker: str,
    extract: Callable[[Any], list[Any]],
    more: Iterable[tuple[str, str, Callable[[], Any]]] = (),
) -> Found[Any]:
    items: dict[str, Any] = {}
    origin: dict[str, str] = {}
    module: dict[str, str] = {}
    broken: list[Broken] = []

    def add(name: str, where: str, home: str, load: Callable[[], Any]) -> None:
        try:
            found = extract(load())
        # A plug-in is somebody else's code: whatever it raises is reported under its name, and the others go on.
        except (Exception, SystemExit) as error:
            broken.append(Broken(name, where, f"{type(error).__name__}: {error}"))
            return
        for item in found:
            if not NAME.fullmatch(str(item.name)):
                reason = f"its name {str(item.name)[:80]!r} is not made of letters, digits, _, - and . (at most 64)"
                broken.append(Broken(name, where, reason))
            elif item.name in items:
                broken.append(Broken(item.name, where, f"the name is taken by {origin[item.name]}"))
            else:
                items[item.name] = item
                origin[item.name], module[item.name] = where, home

    for path in sorted(folder.glob("*.py")):
        if re.search(marker, path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
            home = f"{package}.{path.stem}"
            add(path.stem, f"{package}/{path.name}", home, functools.partial(importlib.import_module, home))
    for point in importlib.metadata.entry_points(group=f"bench.{package}"):
        where = f"{point.value} ({point.dist.name if point.dist else 'entry point'})"
        add(point.name, where, point.module, point.load)
    for name, where, load in more:
        add(name, where, "tasks.own.stored", load)
    return Found(kind, items, origin, module, tuple(broken))


def suites() -> dict[str, list[str]]:
    """Suite name -> its tasks, in the published order where there is one."""
    out: dict[str, list[str]] = {name: [] for name in ORDER}
    for name, task in tasks().items.items():
        for suite in task.suites:
            out.setdefault(suite, []).append(name)
    for suite, order in ORDER.items():
        out[suite].sort(key=lambda name: order.index(name) if name in order else len(order))
    return {suite: names for suite, names in out.items() if names}


ORDER = {
    "nas_bench_360": [
        "cifar100",
        "spherical",
        "darcy_nb360",
        "psicov",
        "cosmic",
        "ninapro",
        "fsd50k",
        "ecg",
        "satellite",
        "deepsea",
    ],
    "pdebench": [
        "advection",
        "burgers",
        "diffusion_reaction_1d",
        "diffusion_sorption",
        "cfd_1d",
        "darcy_pdebench",
        "shallow_water",
        "diffusion_reaction_2d",
    ],
    "quick": ["advection", "darcy_pdebench", "spherical", "ecg"],
    "evidence": ["diffusion_reaction_2d", "ecg"],
}
"""The order in which the papers list their tasks; a new suite needs no entry."""


SCORING = ("tasks.losses", "tasks.metrics", "tasks.trivial")
"""Modules that a task names things of without importing them: its loss, its metrics, its trivial predictor."""


def code_of(task: str, method: str, origin: str) -> dict[str, str]:
    """{task, method}: hashes of the source behind a cell (`tasks.source`); a record holds them to be told when stale.

    Records of official data do not depend on the generators of stand-ins.
    """
    read = tasks().module[task], *SCORING
    return {
        "task": source.digest(*read, generators=origin == "generated"),
        "method": source.digest(methods().module[method]),
    }
