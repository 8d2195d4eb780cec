"""The frozen pretrained transformer (FPT): only LayerNorms, embedder and predictor move."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from methods.contract import Method, MethodError, TargetModel

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Frozen(Method):
    """Keep attention and MLP weights of the encoder; move its LayerNorms, the embedder and the predictor."""

    name = "frozen"
    title = "Frozen pretrained transformer"
    citation = "Lu et al., Frozen Pretrained Transformers as Universal Computation Engines, AAAI 2022"

    def trainable(self, model: TargetModel) -> Iterable[nn.Parameter]:
        """e, h and the affine parameters of every normalisation layer of f.

        Raises `MethodError` when f has none: the arm would silently be `linear`.
        """
        norms = [p for module in model.encoder.modules() if _normalises(module) for p in module.parameters(False)]
        if not norms:
            kind = type(model.encoder).__name__
            raise MethodError(f"frozen moves the LayerNorms of the encoder, and {kind} has none; use linear instead")
        return [*model.embedder.parameters(), *norms, *model.predictor.parameters()]


def _normalises(module: Any) -> bool:
    # Bodies bring norms of their own (timm's LayerNorm2d, RMSNorm of text models): the name is what they share.
    return "norm" in type(module).__name__.lower() and bool(list(module.parameters(False)))
