"""Embedder warm-up (Emb): stage 1 minimises the task's loss over the embedder alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from methods.contract import Context, Method, MethodError, TorchBatch, option

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class EmbedderWarmup(Method):
    """Fit the embedder to the frozen encoder with the task's loss, then fine-tune everything."""

    name = "embedder_warmup"
    title = "Embedder warm-up"
    citation = "Ma et al., Learning Modality Knowledge Alignment for Cross-Modality Transfer, ICML 2024 (ablation)"

    epochs: int | None = option(None, "epochs of the warm-up; None: the task's stage-1 epochs")
    lr: float | None = option(None, "learning rate of the warm-up; None: that of stage 2")
    train_predictor: bool = option(False, "also move the predictor (the paper does not)")

    def align(self, context: Context) -> None:
        """Stage 1: min_φ ℓ(h(f(e_φ(x))), y)."""
        epochs = context.stage1.epochs if self.epochs is None else self.epochs
        warm_up_embedder(context, epochs, context.lr if self.lr is None else self.lr, self.train_predictor)

    def stage1_cost(self, stage1: Any, batch_size: int, samples: int) -> tuple[float, float]:
        """Its epochs, each at most one of stage 2."""
        epochs = float(stage1.epochs if self.epochs is None else self.epochs)
        return epochs, epochs

    def check(self) -> None:
        """Refuse negative epochs and learning rates that are not positive."""
        if self.epochs is not None and self.epochs < 0:
            raise MethodError(f"embedder_warmup: epochs={self.epochs}, expected 0 or more")
        if self.lr is not None and self.lr <= 0:
            raise MethodError(f"embedder_warmup: lr={self.lr}, expected a positive number")


def warm_up_embedder(
    context: Context,
    epochs: int,
    lr: float,
    train_predictor: bool,
    name: str = "warmup",
    term: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> None:
    """Minimise the task's loss over e (and h with `train_predictor`) for `epochs`, everything else frozen.

    `term` gives a scalar that is added to the loss, from the embedded batch (B, N, D).
    """
    model = context.model
    parameters = [*model.embedder.parameters(), *(model.predictor.parameters() if train_predictor else ())]

    def gradient(batch: TorchBatch) -> Mapping[str, torch.Tensor]:
        if term is None:
            loss = context.loss(context.forward(batch.x), batch)
            loss.backward()
            return {"loss": loss.detach()}
        with context.autocast():
            tokens = model.embedder(batch.x)
            output = model.predictor(model.encoder(tokens))
        task, added = context.loss(output, batch), term(tokens)
        loss = task + added
        loss.backward()
        return {"loss": loss.detach(), "task": task.detach(), "term": added.detach()}

    context.fit(name, parameters, gradient, epochs=epochs, lr=lr)
