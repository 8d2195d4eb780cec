"""LoRA: the body stays frozen, and low-rank updates of its attention and MLP are trained beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.contract import Context, Method, MethodError, TargetModel, option

if TYPE_CHECKING:
    from torch import nn

LAYERS = ("qkv", "proj", "fc1", "fc2", "query", "key", "value", "dense")
"""Linear layers of attention and MLP: the first four as timm's Swin names them, the others as BERT and RoBERTa do."""


@dataclass(frozen=True)
class Lora(Method):
    """Every linear layer W of attention and MLP computes W x + (α / r) B A x; A, B, embedder and predictor move.

    A (r, in) starts from Kaiming's uniform distribution and B (out, r) from zero, so that the body begins as the pretrained
    one. Known from the paper: the form, the start, α fixed beside r. Choices of this project: r = 8 and α = 16, all layers
    of attention and MLP, no dropout, stage 2's learning rate for all. Needs peft.
    """

    name = "lora"
    title = "LoRA"
    citation = "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022"

    rank: int = option(8, "r, the rank of an update")
    alpha: float = option(16.0, "α: an update is scaled by α / r")

    def prepare(self, context: Context) -> None:
        """Put an adapter beside every layer of `LAYERS`."""
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError as error:
            raise MethodError(f"lora needs peft, which cannot be imported ({error}): pip install peft") from error
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=list(LAYERS))  # type: ignore[arg-type]
        encoder = context.model.encoder
        try:
            inject_adapter_in_model(config, encoder)
        except ValueError as error:
            raise MethodError(f"lora: {type(encoder).__name__} has no layer named {', '.join(LAYERS)}") from error

    def trainable(self, model: TargetModel) -> Iterable[nn.Parameter]:
        """e, h, and A and B of every adapter."""
        adapters = [p for name, p in model.encoder.named_parameters() if ".lora_" in name]
        return [*model.embedder.parameters(), *adapters, *model.predictor.parameters()]

    def check(self) -> None:
        """Refuse ranks and scales that make no sense."""
        if self.rank < 1:
            raise MethodError(f"lora: rank={self.rank}, expected at least 1")
        if self.alpha <= 0:
            raise MethodError(f"lora: alpha={self.alpha}, expected a positive number")
