"""How long a phase lasts: by epochs, or within a budget of steps or seconds that both stages share."""

from __future__ import annotations

from dataclasses import dataclass

from methods.contract import MethodError


@dataclass(frozen=True)
class Span:
    """The length of a phase, and where in it a run is.

    Under a budget the learning-rate schedule is stretched or squeezed to what the budget leaves, so that an arm with a
    long stage 1 still ends its decay where a plain one does.
    """

    epochs: int
    """Nominal length, on which the schedule is defined."""
    steps: int | None = None
    """Optimiser steps of this phase, if the budget is in steps."""
    seconds: float | None = None
    """Seconds of this phase, if the budget is in seconds."""

    def position(self, epoch: float, steps: int, seconds: float) -> float:
        """Where the schedule is, in epochs: `epoch` itself, or the part of the budget that is used times `epochs`."""
        if self.steps is not None:
            return self.epochs * steps / self.steps
        if self.seconds is not None:
            return self.epochs * min(1.0, seconds / self.seconds)
        return epoch

    def over(self, epoch: int, steps: int, seconds: float) -> bool:
        """Whether the phase has ended, after whole `epoch`s, `steps` and `seconds` of its own."""
        if self.steps is not None:
            return steps >= self.steps
        if self.seconds is not None:
            return seconds >= self.seconds
        return epoch >= self.epochs

    def within(self, budget_steps: int | None, budget_seconds: float | None, steps: int, seconds: float) -> Span:
        """The same in what a budget leaves after `steps` and `seconds` of stage 1; MethodError if that is nothing."""
        cure = "raise --budget or shorten stage 1"
        if budget_steps is not None:
            if steps >= budget_steps:
                raise MethodError(f"stage 1 took {steps} steps, the whole budget of {budget_steps}: {cure}")
            return Span(self.epochs, steps=budget_steps - steps)
        if budget_seconds is not None:
            if seconds >= budget_seconds:
                took = f"{seconds:.1f} s, the whole budget of {budget_seconds:.1f} s"
                raise MethodError(f"stage 1 took {took}: {cure}")
            return Span(self.epochs, seconds=budget_seconds - seconds)
        return self
