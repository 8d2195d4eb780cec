"""Linear transfer: the pretrained encoder does not move at all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.contract import Method, TargetModel

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Linear(Method):
    """Move the embedder and the predictor around an encoder that keeps its pretrained weights bit for bit."""

    name = "linear"
    title = "Frozen encoder"
    citation = "García-de-Herreros et al., What explains the success of cross-modal fine-tuning with ORCA?, 2024"

    def trainable(self, model: TargetModel) -> Iterable[nn.Parameter]:
        """e and h."""
        return [*model.embedder.parameters(), *model.predictor.parameters()]
