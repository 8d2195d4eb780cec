"""Joint alignment as UPS has it: stage 1 minimises the task's loss and a distance to the source features together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from methods.contract import Context, Method, MethodError, option
from methods.embedder_warmup import warm_up_embedder

if TYPE_CHECKING:
    import torch

MOST_EPOCHS = 20
"""Default stage 1 is the task's, but at most as long as UPS has it."""


@dataclass(frozen=True)
class MmdJoint(Method):
    """Stage 1: min_φ ℓ(h(f(e_φ(x))), y) + w · MMD²({s_i}, {t_j}); then fine-tune everything.

    t_j are the token means of e_φ over a batch, s_i those of the frozen source embedder. MMD² is the biased estimate with
    five Gaussian kernels whose widths are the mean squared distance times 1/4 to 4 (`methods/transport/kernels.py`).
    With w = 0 it is `embedder_warmup` bit for bit.

    Seen in a public file that matches UPS's embedder (the index names no repository for it): the sum of both losses with
    weight 1, the embedder as what moves. From a summary of the paper: 20 epochs. The kernels are those of ORCA's code.
    Not the same here: UPS has a Fourier neural operator in its embedder and takes the task's loss of that operator's
    output, where this embedder has no output of its own, so the loss goes through the frozen body and the predictor; UPS
    makes a step once it has gathered `max_samples`, and draws source samples anew, where this makes one per batch against
    the same samples. Not known: whether the weight was tuned.
    """

    name = "mmd_joint"
    title = "Joint task loss and MMD"
    citation = (
        "Shen et al., UPS: Efficiently Building Foundation Models for PDE Solving via Cross-Modal Adaptation, TMLR 2024"
    )
    needs_source = True
    couples = ("stage1",)

    weight: float = option(1.0, "weight w of the squared MMD")
    epochs: int | None = option(None, "epochs of stage 1; None: the task's stage-1 epochs, at most 20")
    lr: float | None = option(None, "learning rate of stage 1; None: that of stage 2")
    train_predictor: bool = option(False, "also move the predictor")
    source_samples: int = option(512, "source samples that every batch is compared with")

    def align(self, context: Context) -> None:
        """Stage 1: the embedder by both losses."""
        lr = context.lr if self.lr is None else self.lr
        epochs, term = self._epochs(context.stage1), self._distance(context) if self.weight else None
        warm_up_embedder(context, epochs, lr, self.train_predictor, term=term)

    def stage1_cost(self, stage1: Any, batch_size: int, samples: int) -> tuple[float, float]:
        """Its epochs, each about one of stage 2: the distance costs little beside the body."""
        epochs = float(self._epochs(stage1))
        return epochs, epochs

    def check(self) -> None:
        """Refuse weights, counts and rates that make no sense."""
        for name, least in (("weight", 0), ("epochs", 0), ("source_samples", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise MethodError(f"mmd_joint: {name}={value}, expected at least {least}")
        if self.lr is not None and self.lr <= 0:
            raise MethodError(f"mmd_joint: lr={self.lr}, expected a positive number")

    def _epochs(self, stage1: Any) -> int:
        return min(stage1.epochs, MOST_EPOCHS) if self.epochs is None else self.epochs

    def _distance(self, context: Context) -> Any:

        from methods.transport.kernels import mmd

        points, _ = context.source.features(min(self.source_samples, len(context.source)))
        points = points.to(context.device)

        def term(tokens: torch.Tensor) -> torch.Tensor:
            return self.weight * mmd(points, tokens.float().mean(1))

        return term
