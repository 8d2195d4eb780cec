"""A search as a function of records: which trials there are, which one is chosen, and the cells that repeat it.

The store is the only state. What is drawn is a function of the search's seed, the arm and the records of the trials
before, so whoever asks again after a kill gets the same cells. Optuna draws; nothing of it is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench import plan, registry
from bench.errors import SetupError, UsageError, unknown
from bench.plan import MAX_SEED, Cell
from bench.records.record import Record
from bench.search.space import Range, Searched
from bench.words import counted

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

SAMPLERS = ("random", "tpe", "halving")
ROUND = 4
"""Trials that TPE draws at once, whatever runs them: more at once is faster, fewer learn more from each other."""
KEPT = 3
"""Of so many trials of a rung, halving lets one go on, and so many times as long."""
RUNGS = 3
RecordOf = Callable[[Cell], Record | None]
"""Gives the record that answers a cell, None if it is still to be run."""


@dataclass(frozen=True)
class Search:
    """What a user asks for."""

    space: tuple[tuple[str, Range], ...]
    trials: int = 12
    """Of every arm on every task."""
    repeats: int = 5
    """Fresh seeds with which the choice is repeated."""
    sampler: str = "random"

    def sentence(self, arms: int) -> str:
        """What is done, in words, with so many arms."""
        each = (
            f"{counted(self.trials, 'trial')} for each of {counted(arms, 'arm')}"
            if arms > 1
            else counted(self.trials, "trial")
        )
        then = (
            f"its choice repeated with {counted(self.repeats, 'fresh seed')}"
            if self.repeats
            else "no repeats of its choice"
        )
        return f"search by {self.sampler}: {each}, chosen on validation; {then}"

    def check(self) -> None:
        """UsageError for numbers and names that mean nothing."""
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        if self.trials < 1 or self.repeats < 0:
            raise UsageError(f"--trials {self.trials} --then-seeds {self.repeats}: expected at least 1 and at least 0")


@dataclass(frozen=True)
class Arm:
    """One cell's search: the cell as it is without, and the ranges that are for its method."""

    base: Cell
    search: Search
    space: tuple[tuple[str, Range], ...]

    @property
    def mark(self) -> Searched:
        """The mark of its trials, with the settings as the cell's overrides name them."""
        said = sorted((_own(name, self.base.method), str(values)) for name, values in self.space)
        return Searched(tuple(said), self.search.sampler, self.base.seed)

    def distributions(self) -> dict[str, BaseDistribution]:
        """The ranges for Optuna."""
        return {name: values.distribution() for name, values in self.space}

    def trial(self, drawn: Mapping[str, Any]) -> Cell:
        """The cell with these values, rounded."""
        given = tuple((name, values.rounded(drawn[name])) for name, values in self.space)
        return self.changed(self.base, *given)

    def changed(self, cell: Cell, *given: tuple[str, Any]) -> Cell:
        """A cell of this arm with other settings, as a trial; UsageError where a setting may not have such a value."""
        where = (cell.task, cell.method, cell.profile, cell.protocol)
        return replace(cell, overrides=plan.overrides_of(*where, (*cell.overrides, *given)), search=self.mark)


@dataclass(frozen=True)
class Known:
    """What the records say of one arm's search."""

    arm: Arm
    trials: tuple[Cell, ...]
    """Every trial that is known so far, each once."""
    over: bool
    """Whether all trials have ended."""
    choice: Cell | None
    """The trial with the best validation score; None before all have ended, or where none has a score."""

    @property
    def repeats(self) -> list[Cell]:
        """The choice with fresh seeds: those after the search's own."""
        if self.choice is None:
            return []
        search, first = self.arm.search, self.choice.seed + 1
        mark = replace(self.arm.mark, trials=search.trials)
        return [replace(self.choice, seed=first + i, search=mark) for i in range(search.repeats)]

    def sentence(self, record_of: RecordOf) -> str | None:
        """What was chosen, in words; None while trials are left."""
        base = self.arm.base
        where = f"{base.task} / {base.method} / {base.backbone}"
        if not self.over:
            return None
        if self.choice is None:
            return f"search: {where}: no trial has a validation score, so nothing is chosen or repeated"
        record = record_of(self.choice)
        assert record is not None
        values = {name: record["settings"][name] for name, _ in self.arm.mark.space}
        said = ", ".join(f"{name}={value}" for name, value in values.items())
        ranges = {_own(name, base.method): values for name, values in self.arm.space}
        edges = [name for name, value in values.items() if ranges[name].at_edge(value)]
        edge = (
            f"; {' and '.join(edges)} at an edge of what was searched: a wider range may hold better" if edges else ""
        )
        score = f"{record['metric']} {record['val_score']:.3g} on validation"
        return f"search: {where}: {said} chosen from {counted(self.arm.search.trials, 'trial')} ({score}){edge}"


def arms(search: Search, bases: Sequence[Cell]) -> list[Arm]:
    """The search of every cell; UsageError where it has no meaning, or not the same budget, for one of them."""
    search.check()
    return [_arm(search, base) for base in bases]


def _arm(search: Search, base: Cell) -> Arm:
    methods = registry.methods().items
    meant = tuple((n, r) for n, r in search.space if (s := n.partition(".")[0]) == base.method or s not in methods)
    if not meant:
        raise UsageError(
            f"--search {' '.join(name for name, _ in search.space)}: none of it is a setting of {base.method}, which would "
            f"have no search beside the others; leave {base.method} out, or search trainer.lr too"
        )
    if base.protocol == "paper":
        raise UsageError("--search chooses on validation, and protocol paper has none: use --protocol strict")
    if base.seed + search.repeats > MAX_SEED:
        raise UsageError(f"--seeds {base.seed} --then-seeds {search.repeats}: seeds end at {MAX_SEED}")
    arm = Arm(base, search, meant)
    given = dict(base.overrides)
    for name, values in meant:
        if _own(name, base.method) in given:
            raise UsageError(f"{name}: --search draws it, and --set or --grid gives it a value; say one of them")
        for value in values.values:
            arm.changed(base, (name, value))
        if values.fractional:
            _refuse_whole(arm, name, values)
    if search.sampler == "halving":
        _refuse_halving(arm)
    return arm


def _refuse_whole(arm: Arm, name: str, values: Range) -> None:
    low, high = values.values
    try:
        arm.changed(arm.base, (name, low + (high - low) / math.pi))
    except UsageError as error:
        raise UsageError(f"--search {name}={values}: {error}; search it in int({low:g},{high:g})") from None


def _refuse_halving(arm: Arm) -> None:
    trainer = plan.resolve(arm.base).trainer
    if trainer.budget_steps is not None or trainer.budget_seconds is not None:
        raise UsageError(
            "--sampler halving compares trainings of few epochs, which a budget of steps or seconds changes"
        )
    if any(name == "trainer.epochs" for name, _ in arm.space):
        raise UsageError("--sampler halving sets trainer.epochs itself: search it with --sampler random or tpe")


def known(arm: Arm, record_of: RecordOf) -> Known:
    """All that the records say of an arm's search: its trials so far, and when they have ended the choice."""
    trials: dict[Cell, None] = {}
    rounds = _halving(arm) if arm.search.sampler == "halving" else _drawn(arm)
    cells = next(rounds)
    while True:
        trials |= dict.fromkeys(cells)
        losses = [loss_of(record) for cell in cells if (record := record_of(cell)) is not None]
        if len(losses) < len(cells):
            return Known(arm, tuple(trials), False, None)
        try:
            cells = rounds.send(losses)
        except StopIteration as end:
            loss, choice = end.value
            return Known(arm, tuple(trials), True, choice if loss < math.inf else None)


Rounds = Generator[list[Cell], list[float], tuple[float, Cell]]
"""Cells that may run at once, for their losses; at the end the best loss with its cell, of equal ones the first."""


def _drawn(arm: Arm) -> Rounds:
    """Trials of the whole training: `random` knows all of them at once, `tpe` learns from round to round."""
    study, left = _study(arm), arm.search.trials
    seen: list[tuple[float, Cell]] = []
    while left:
        asked = [
            study.ask(arm.distributions()) for _ in range(min(left, ROUND if arm.search.sampler == "tpe" else left))
        ]
        cells = [arm.trial(trial.params) for trial in asked]
        losses = yield cells
        for trial, loss in zip(asked, losses, strict=True):
            study.tell(trial, loss)
        seen += zip(losses, cells, strict=True)
        left -= len(asked)
    return min(seen, key=_first)


def _halving(arm: Arm) -> Rounds:
    """Successive halving: all trials for a few epochs, one in `KEPT` of them for `KEPT` times as many, up to the whole.

    ASHA's rungs without its haste: whom it lets go on depends on who ends first, and that no store can tell again.
    """
    study = _study(arm)
    alive = [arm.trial(study.ask(arm.distributions()).params) for _ in range(arm.search.trials)]
    ranked: list[tuple[float, Cell]] = []
    for epochs in rungs(plan.resolve(arm.base).trainer.epochs):
        cells = [arm.changed(cell, ("trainer.epochs", epochs)) for cell in alive]
        losses = yield cells
        ranked = sorted(zip(losses, cells, strict=True), key=_first)
        alive = [cell for _, cell in ranked[: math.ceil(len(ranked) / KEPT)]]
    return ranked[0]


def rungs(epochs: int) -> list[int]:
    """The lengths of training of halving, from the shortest to the whole."""
    return sorted({math.ceil(epochs / KEPT**i) for i in range(RUNGS)})


def _first(pair: tuple[float, Cell]) -> float:
    return pair[0]


def _study(arm: Arm) -> optuna.Study:
    """An empty study in memory, whose draws follow from the arm's cell: its task, method, settings and seed."""
    try:
        import optuna
    except ImportError:
        raise SetupError(
            "--search needs optuna, which is not installed: pip install 'cross-modality-bench[search]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = int(arm.base.id[:8], 16)
    if arm.search.sampler == "tpe":
        sampler: optuna.samplers.BaseSampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=ROUND)
    else:
        sampler = optuna.samplers.RandomSampler(seed)
    return optuna.create_study(sampler=sampler)


def loss_of(record: Record) -> float:
    """The validation score of a trial, lower being better; infinity where it failed, diverged, or has none."""
    if record["status"] != "done" or record["val_score"] is None:
        return math.inf
    return -record["val_score"] if record["higher_is_better"] else record["val_score"]


def _own(name: str, method: str) -> str:
    """The name that a setting has among a cell's overrides: `mona.lambda_` is `method.lambda_` to a cell of mona."""
    section, _, key = name.partition(".")
    return f"method.{key}" if section == method else name
