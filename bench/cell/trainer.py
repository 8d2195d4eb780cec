"""The one training loop, and the state that it can save and resume.

Both stages of every method go through `Trainer.fit`. It checkpoints on a cadence, beside the training and never in a signal
handler; a resumed run equals the uninterrupted one bit for bit on a CPU with the same number of threads. Losses stay on the device within
an epoch; the host looks at them when the epoch ends.
"""

from __future__ import annotations

import itertools
import math
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from bench import machine
from bench.cell.batches import Loader, order, torch_seed
from bench.cell.checkpoint import UNREADABLE, Checkpoints, State, Unfit, first_line, refuse_other_shapes
from bench.cell.memory import Memory
from bench.cell.phase import Phase, Span, optimizer_for
from bench.cell.steps import Gradient, Group, Steps, accumulate
from bench.settings import TrainerSettings
from methods.contract import MethodError, Position

Elapsed = Callable[[int], float]
"""Optimiser steps of an epoch that are over -> the part of the epoch that they are, 0 to 1."""

TALK_SECONDS = 2.0
"""How often the loop says where it is, unless checkpoints are more frequent."""
SAVING = 0.02
"""The part of the time that the loop may stand still for checkpoints."""


class Diverged(ArithmeticError):
    """The training loss stopped being a finite number: in which phase, at which epoch."""


@dataclass(frozen=True)
class Live:
    """A phase that is under way."""

    phase: Phase
    span: Span
    moving: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    gradient: Gradient
    """The phase's, cut into pieces where memory runs out."""


class Trainer:
    """Trains one model on one device, phase after phase."""

    def __init__(
        self, model: nn.Module, train: Loader, settings: TrainerSettings, seed: int, checkpoints: Checkpoints,
        progress: Callable[[Mapping[str, Any]], None],
    ):  # fmt: skip
        self.model, self.train, self.settings, self.seed = model, train, settings, seed
        self.steps = Steps.of(settings, len(train))
        self.checkpoints, self.progress = checkpoints, progress
        self.state = State()
        self.best_weights: dict[str, torch.Tensor] | None = None
        self._optimizer_state: Mapping[str, Any] | None = None
        self._sums: dict[str, torch.Tensor] = {}
        self._live: tuple[Live, Elapsed] | None = None
        self._last_save = self._last_word = time.monotonic()
        self._stood_still = 0.0
        self._meter = machine.Meter(train.device)
        self.memory = Memory(settings.retry_out_of_memory)
        clock = time.perf_counter()
        self._restore()
        self.state.seconds["checkpoints"] += time.perf_counter() - clock

    def fit(self, phase: Phase) -> None:
        """Run a phase, or what is left of it. Raises `Diverged`, and `Unfit` for a checkpoint of other phases."""
        state = self.state
        if phase.name in state.finished:
            return
        if state.phase not in (None, phase.name):
            raise self._unfit(f"it is inside of phase {state.phase!r}, and {phase.name!r} comes first")
        live = self._begin(phase)
        try:
            while not (self._over(live) or (phase.enough is not None and phase.enough())):
                row = {**self._epoch(live), "done": self.position.done}
                if phase.after_epoch is not None:
                    phase.after_epoch(state.epoch, row)
                state.curves[phase.stage].append(row)
                if self._save_is_due():
                    self.save(live.optimizer)
        finally:
            # Whatever ends the phase: nobody may meet a checkpoint that is still being written.
            with state.timed("checkpoints"):
                self.checkpoints.wait()
        self._live = None
        state.finished.append(phase.name)
        state.phase, state.epoch, state.group, state.phase_steps, state.phase_seconds = None, 0, 0, 0, 0.0
        for parameter in live.moving:
            parameter.grad = None

    def solve(self, name: str, work: Callable[[], Mapping[str, float]]) -> None:
        """A stage 1 without steps: its time and its scalars are booked, and nothing is saved."""
        clock = time.perf_counter()
        found = work()
        seconds = time.perf_counter() - clock
        self.state.seconds["stage1"] += seconds
        row = {"phase": name, "epoch": 1, "steps": 0, "seconds": seconds, "lr": 0.0, **found}
        self.state.curves["stage1"].append(row)

    def _begin(self, phase: Phase) -> Live:
        """Freeze all but what the phase moves; its optimiser, as the checkpoint left it if it is inside of the phase."""
        state, settings = self.state, self.settings
        moving = self._freeze_all_but(phase.parameters)
        optimizer = optimizer_for(settings, moving, phase.rate(0.0))
        if state.phase == phase.name and self._optimizer_state is not None:
            self._restore_optimizer(optimizer, self._optimizer_state)
        self._optimizer_state, state.phase = None, phase.name
        span = Span(phase.epochs)
        if phase.stage == "stage2":
            used_steps = sum(state.steps.values()) - state.phase_steps
            used_seconds = state.seconds["stage1"] + state.seconds["stage2"] - state.phase_seconds
            span = span.within(settings.budget_steps, settings.budget_seconds, used_steps, used_seconds)
        return Live(
            phase, span, moving, optimizer, self.memory.sparing(phase.gradient, moving, self.model, phase.coupled)
        )

    def _epoch(self, live: Live) -> dict[str, Any]:
        """One epoch, or what is left of it; returns its row of the curves."""
        state, phase = self.state, live.phase
        groups, elapsed = self._groups(phase)
        self._live = live, elapsed
        self.model.train()
        self._meter.start()
        clock = time.perf_counter()
        for group in itertools.islice(groups, state.group, None):
            self._step(live, group)
            if phase.stage == "stage2":
                state.samples += sum(len(batch.x) for batch, _ in group)
            clock = self._book(phase.stage, clock)
            self._say(live)
            if self._save_is_due():
                self.save(live.optimizer)
                clock = time.perf_counter()
            if self._over(live):
                break  # a budget may end within an epoch
        return self._close_epoch(phase.stage, self._rate(live), clock)

    def _step(self, live: Live, group: Group) -> None:
        """One optimiser step."""
        state, clip = self.state, self.settings.clip
        for part in live.optimizer.param_groups:
            part["lr"] = self._rate(live)
        logged = accumulate(group, live.moving, live.gradient, clip if self.steps.published else None)
        for key, value in logged.items():
            self._sums[key] = self._sums.get(key, torch.zeros((), dtype=torch.float64, device=value.device)) + value
        if clip is not None:
            nn.utils.clip_grad_norm_(live.moving, clip)
        live.optimizer.step()
        state.group += 1
        state.phase_steps += 1
        state.steps[live.phase.stage] += 1

    def _over(self, live: Live) -> bool:
        """Whether the phase's length, by epochs or budget, is over."""
        return live.span.over(self.state.epoch, self.state.phase_steps, self.state.phase_seconds)

    def _rate(self, live: Live) -> float:
        """The learning rate now. That of a method's own batches goes by whole epochs: their number may be unknown."""
        own = live.phase.epoch_batches is not None
        return live.phase.rate(self._position(live.span, (lambda steps: 0.0) if own else self.steps.elapsed))

    def _close_epoch(self, stage: str, lr: float, clock: float) -> dict[str, Any]:
        state = self.state
        # Here the host waits for the device, once an epoch; the wait is training time too.
        means = {key: float(value) / max(state.group, 1) for key, value in self._sums.items()}
        self._book(stage, clock)
        load = self._meter.load() if stage == "stage2" else None
        if load is not None:
            state.metered_seconds += state.epoch_seconds
            state.busy_seconds += load * state.epoch_seconds
        bad = {key: value for key, value in means.items() if not math.isfinite(value)}
        if bad:
            what = ", ".join(f"{key} = {value}" for key, value in bad.items())
            raise Diverged(
                f"{state.phase}, epoch {state.epoch + 1}: {what}; a lower trainer.lr or trainer.clip may help"
            )
        state.epoch += 1
        row: dict[str, Any] = {
            "epoch": state.epoch,
            "steps": state.phase_steps,
            "seconds": state.epoch_seconds,
            "lr": lr,
            **means,
        }
        if stage == "stage1":
            row = {"phase": state.phase, **row}
        state.group, state.epoch_seconds, self._sums = 0, 0.0, {}
        return row

    # -- batches -----------------------------------------------------------------------------------------------

    def _groups(self, phase: Phase) -> tuple[Iterator[Group], Elapsed]:
        """The optimiser steps of the current epoch, and which part of it they are; those that are over may be empty."""
        if phase.epoch_batches is None:
            return self._shuffled(phase.name), self.steps.elapsed
        items = phase.epoch_batches(self.state.epoch)
        return ([(item, 1.0)] for item in items), self._elapsed(items)

    def _shuffled(self, name: str) -> Iterator[Group]:
        """The task's batches from `state.group` on; the steps before are yielded empty."""
        epoch, done = self.state.epoch, self.state.group
        steps = self.steps.cut(order(self.seed, name, epoch, len(self.train)))
        flat = [micro for step in steps[done:] for micro in step]
        base = sum(len(step) for step in steps[:done])
        seeds = [torch_seed(self.seed, name, epoch, base + k) for k in range(len(flat))]
        batches = self.train.batches(flat, seeds)
        yield from ([] for _ in range(done))
        for step in steps[done:]:
            yield [(next(batches), weight) for weight in self.steps.weights(step)]

    def _freeze_all_but(self, parameters: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        moving = list(parameters)
        chosen = {id(p) for p in moving}
        for parameter in self.model.parameters():
            parameter.requires_grad_(id(parameter) in chosen)
            parameter.grad = None
        return moving

    # -- time, progress, checkpoints -----------------------------------------------------------------------------

    def _book(self, stage: str, since: float) -> float:
        """Add the time since `since` to the stage; returns now."""
        now = time.perf_counter()
        self.state.seconds[stage] += now - since
        self.state.phase_seconds += now - since
        self.state.epoch_seconds += now - since
        return now

    def _elapsed(self, items: Iterator[Any]) -> Elapsed:
        """steps -> part of an epoch over a method's own `items`, which need not tell their number.

        As many as in the epochs before; in the first one as many as they say, else one for each batch of the task's.
        """
        state = self.state
        steps = operator.length_hint(items, math.ceil(len(self.train) / self.settings.batch_size))
        if state.epoch:
            steps = round((state.phase_steps - state.group) / state.epoch)
        return lambda done: min(1.0, done / max(steps, 1))

    def _position(self, span: Span, elapsed: Elapsed) -> float:
        """Where the phase is, in epochs."""
        state = self.state
        return span.position(state.epoch + elapsed(state.group), state.phase_steps, state.phase_seconds)

    @property
    def position(self) -> Position:
        """Where the phase under way is; MethodError if there is none."""
        if self._live is None:
            raise MethodError("no training is under way: `context.position` is for losses and gradients")
        (live, elapsed), epochs = self._live, self._live[0].span.epochs
        return Position(self.state.epoch, epochs, min(1.0, self._position(live.span, elapsed) / max(epochs, 1)))

    def _say(self, live: Live) -> None:
        now = time.monotonic()
        if now - self._last_word < min(TALK_SECONDS, self.settings.checkpoint_seconds):
            return
        self._last_word = now
        self._meter.look()
        state, stage, epochs = self.state, live.phase.stage, live.span.epochs
        speed = state.samples / state.seconds["stage2"] if stage == "stage2" else None
        word: dict[str, Any] = {"stage": stage, "phase": state.phase, "epoch": state.epoch + 1, "epochs": epochs}
        word |= {"steps": state.phase_steps, "done": self.position.done}
        # Evaluations and analyses go on between the epochs that are left, too.
        around = state.seconds["eval"] + state.seconds["analysis"] if stage == "stage2" else 0.0
        self.progress({**word, "seconds": state.phase_seconds + around, "samples_per_second": speed})

    def _save_is_due(self) -> bool:
        """By the clock, but not while one is being written, nor before the last one's cost is 2 % of the time since."""
        seconds = self.settings.checkpoint_seconds
        if seconds == 0:
            return True
        apart = max(seconds, self._stood_still / SAVING)
        return time.monotonic() - self._last_save >= apart and not self.checkpoints.busy

    def save(self, optimizer: torch.optim.Optimizer) -> None:
        """Save everything that the next step depends on, while training goes on; with checkpoints after every step, it waits."""
        device, clock = self.train.device, time.monotonic()
        with self.state.timed("checkpoints"):
            content = {
                "state": asdict(self.state),
                "model": self.model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "sums": self._sums,
                "rng": torch.get_rng_state(),
                "rng_device": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
                "retries": dict(self.memory.retries),
            }
            save = self.checkpoints.save_beside if self.settings.checkpoint_seconds else self.checkpoints.save
            save(content, self.best_weights)
        self._last_save = time.monotonic()
        self._stood_still = self._last_save - clock

    def _restore(self) -> None:
        loaded = self.checkpoints.load()
        if loaded is None:
            return
        content, self.best_weights = loaded
        try:
            self.state = State.of(content["state"])
            self.model.load_state_dict(content["model"])
            if self.best_weights is not None:
                refuse_other_shapes(self.best_weights, self.model.state_dict())
            self._optimizer_state, self._sums = content["optimizer"], dict(content["sums"])
            self.memory.retries |= {name: int(size) for name, size in content["retries"].items()}
            torch.set_rng_state(content["rng"])
            if self.train.device.type == "cuda" and content["rng_device"] is not None:
                torch.cuda.set_rng_state(content["rng_device"], self.train.device)
        except UNREADABLE as error:
            raise self._unfit(first_line(error)) from error

    def _restore_optimizer(self, optimizer: torch.optim.Optimizer, plain: Mapping[str, Any]) -> None:
        try:
            optimizer.load_state_dict(dict(plain))
            for parameter, of_parameter in optimizer.state.items():
                tensors = {name: t for name, t in of_parameter.items() if isinstance(t, torch.Tensor) and t.ndim}
                refuse_other_shapes(tensors, dict.fromkeys(tensors, parameter))
        except UNREADABLE as error:
            raise self._unfit(f"optimiser: {first_line(error)}") from error

    def continue_as(self, made_of: str, commit: str | None) -> None:
        """Note what the run is made of and the commit that it goes on with. Raises Unfit for a state made of others."""
        if self.state.made_of not in (None, made_of):
            raise self._unfit("it was made with other data, code or weights")
        self.state.made_of = made_of
        self.state.commits = list(dict.fromkeys([*self.state.commits, *([commit] if commit else [])]))

    def _unfit(self, reason: str) -> Exception:
        """The error for what a checkpoint holds; without one, it is the method that is wrong."""
        path = self.checkpoints.loaded
        return RuntimeError(reason) if path is None else Unfit(path, reason)
