"""A method in a package of its own: BitFit, found by the entry point in pyproject.toml."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.contract import Method, MethodError, TargetModel, option

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class BitFit(Method):
    """Fine-tune the biases of the encoder, with the embedder and the predictor."""

    name = "bitfit"
    title = "Bias-only fine-tuning"
    citation = "Ben Zaken et al., BitFit, ACL 2022"

    norms: bool = option(False, "also move the weights of one dimension, which are those of LayerNorms")

    def trainable(self, model: TargetModel) -> Iterable[nn.Parameter]:
        """e, h, and of f every bias (with `norms`: every parameter of one dimension)."""
        named = model.encoder.named_parameters()
        chosen = [p for key, p in named if key.endswith("bias") or (self.norms and p.ndim == 1)]
        if not chosen:
            raise MethodError("bitfit moves the biases of the encoder, and this encoder has none; use linear instead")
        return [*model.embedder.parameters(), *chosen, *model.predictor.parameters()]
