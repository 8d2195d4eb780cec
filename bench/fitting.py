"""Which methods, tasks and settings of a selection fit together; what fits nothing is refused, with what would."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench import registry
from bench.errors import UsageError


def takes(method: str, task: str) -> bool:
    """Whether the task is of a kind that the method is for."""
    return registry.tasks()[task].kind in registry.methods()[method].kinds


def refuse_machinery(names: Iterable[str]) -> None:
    """Raise for a task that has no converged recipe."""
    having = [name for name, task in registry.tasks().items.items() if task.converged is not None]
    for name in names:
        if name not in having:
            raise UsageError(
                f"task {name!r} has no recipe of profile 'converged': its stand-in tests the machinery, and no run of "
                f"it was shown to converge to more than a line or a constant. Tasks that have one: {', '.join(having)}"
            )


def refuse_methods_without_task(named: Sequence[str], tasks: Sequence[str]) -> None:
    """UsageError for a method that was named, and is for none of the tasks; one that a wildcard found is left out."""
    for method in named:
        if not any(takes(method, task) for task in tasks):
            fitting = [task for task in registry.tasks().items if takes(method, task)]
            raise UsageError(
                f"{method} is for tasks of kind {' or '.join(registry.methods()[method].kinds)}, and none of "
                f"{', '.join(tasks)} is; choose among {', '.join(fitting)}"
            )


def refuse_without_effect(changed: Sequence[str], scanned: Sequence[str], methods: Sequence[str]) -> None:
    """UsageError for a setting that could change no cell: of a method that does not run, or set and scanned at once."""
    for name in (*changed, *scanned):
        section = name.partition(".")[0]
        if section in registry.methods().items and section not in methods:
            raise UsageError(f"{name}: method {section} is not among those to run ({', '.join(methods)})")
    if both := set(changed) & set(scanned):
        raise UsageError(f"{', '.join(sorted(both))}: --set gives one value and --grid several; say one of them")
