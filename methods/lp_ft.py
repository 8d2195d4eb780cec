"""LP-FT: linear probing of embedder and predictor around the frozen body, then fine-tuning of everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from methods.contract import Context, Method, MethodError, option
from methods.embedder_warmup import warm_up_embedder
from methods.mona import MOST_EPOCHS, Mona


@dataclass(frozen=True)
class LpFt(Method):
    """Stage 1: min_{φ,ψ} ℓ(h_ψ(f(e_φ(x))), y) with the body f as pretrained; stage 2: everything.

    The control of MoNA: its stage 1 without the outer loss, at the same length. Bit for bit `embedder_warmup` with
    `train_predictor` at as many epochs, and `vanilla` at none. Known from the paper: the two steps, and that the first
    leaves the pretrained features undistorted. Not known: how long the probe shall be where an embedder has to be
    learned too (the paper has none, and probes to convergence), and its rate.
    Preset `default`: as long as the default of MoNA's stage 1, at stage 2's rate; `mona_paper`: as MoNA's `paper`.
    """

    name = "lp_ft"
    title = "Linear probing, then fine-tuning"
    citation = (
        "Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, ICLR 2022"
    )
    presets = {"default": {}, "mona_paper": {"epochs": 15, "lr": 3e-5, "model.dense_head": "pooled"}}

    epochs: int | None = option(None, "epochs of linear probing; None: as many as MoNA's stage 1 has by default")
    lr: float | None = option(None, "learning rate of linear probing; None: that of stage 2")

    def align(self, context: Context) -> None:
        """Stage 1: embedder and predictor by the task's loss."""
        lr = context.lr if self.lr is None else self.lr
        warm_up_embedder(context, self._epochs(context.stage1), lr, train_predictor=True)

    def stage1_cost(self, stage1: Any, batch_size: int, samples: int) -> tuple[float, float]:
        """Its epochs, each at most one of stage 2."""
        epochs = float(self._epochs(stage1))
        return epochs, epochs

    def _epochs(self, stage1: Any) -> int:
        like_mona = Mona.warmup_epochs + min(stage1.epochs, MOST_EPOCHS)
        return like_mona if self.epochs is None else self.epochs

    def check(self) -> None:
        """Refuse negative epochs and learning rates that are not positive."""
        if self.epochs is not None and self.epochs < 0:
            raise MethodError(f"lp_ft: epochs={self.epochs}, expected 0 or more")
        if self.lr is not None and self.lr <= 0:
            raise MethodError(f"lp_ft: lr={self.lr}, expected a positive number")
