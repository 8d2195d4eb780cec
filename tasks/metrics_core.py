"""What a metric is: a name, a function of arrays, and everything a table needs to print it correctly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Score = Callable[["np.ndarray", "np.ndarray", "Mapping[str, np.ndarray]"], float]


@dataclass(frozen=True)
class Metric:
    """One number per split, with its unit and direction."""

    name: str
    """Unique and explicit: two formulas never share a name."""
    function: Score
    """`function(pred, target, extra)`: `pred` (n, *output_shape) is the model's output in physical units (logits for
    classes and labels), `target` is the split's y, `extra` its per-sample arrays; all numpy, over the whole split."""
    unit: str
    """Unit of the value, e.g. "%", "Å"; "1" where it has none."""
    higher_is_better: bool
    range: tuple[float, float]
    formula: str
    """The formula in one line of plain text."""
    source: str
    """Where the definition comes from."""

    def __call__(self, pred: np.ndarray, target: np.ndarray, extra: Mapping[str, np.ndarray] | None = None) -> float:
        """The score as a Python float; NaN predictions give NaN or the worst value, never a silent skip."""
        return float(self.function(pred, target, extra or {}))
