"""PaRe: during fine-tuning a gate swaps tokens of the target for tokens of source samples, fewer as time goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from methods.contract import Context, Method, MethodError, TorchBatch, option
from methods.source_head import new_source_head

if TYPE_CHECKING:
    import torch

SWIN_TOKENS = 56 * 56
"""Tokens of the published 2D body; published code states its curriculum as numbers of them."""
CLASSES_2D = (2000 / SWIN_TOKENS, 500 / SWIN_TOKENS, 1.0, 10)
DENSE_2D = (1000 / SWIN_TOKENS, 500 / SWIN_TOKENS, 0.3, 10)
ANY_1D = (1.0, 0.0, 0.1, 5)
"""`begin`, `end`, `weight` and `gumbel_epochs` of published code. In 1D it begins with all of the source's 32 tokens."""


@dataclass(frozen=True)
class Pare(Method):
    """Stage 2: min_θ ℓ(h(f(t)), y) + w · [(1 − μ) · ℓ(h(f(m)), y) + μ · CE(h_s(f(m)), y_s)], with t = e(x) and μ = k / N.

    The mixture m is t (N tokens) with k of its tokens replaced by k of a source sample's, s = e0(x_s): each target sample
    meets a source sample of its own. A gate σ(⟨a, token⟩ + b), the same for both, says which tokens are worth keeping.
    At first they are drawn: the N − k best of t and the k best of s by gate plus Gumbel noise; later without noise. k falls
    in proportion to the part of stage 2 that is over. Gate and source head h_s move with everything else. Without a
    `weight` it is `vanilla` bit for bit.

    From published code: the gate, the loss, k, w, τ, the epochs with noise. What the later phase replaces is not the same
    in both: by the paper's rule the worst target tokens, as at first, in its code the best (`deterministic`). The gate does
    not learn there. Not known: how far k, w and the epochs were tuned per task.
    Not the same here: the top k is drawn in one shot, with the gradient of k · softmax((gate + noise) / τ), where the code
    draws softly k times in a row, which is up to 3,136 softmaxes a step; for k = 1 both are the straight-through
    Gumbel-softmax. k falls step by step and not by the epoch, and counts the part of a budget under one. Numbers of tokens
    became shares of those that can be exchanged (the fewer of t and s), for other bodies have other numbers. Replaced and
    replacing tokens pair in their order in the sequence, where the code's later phase pairs them by rank. Source samples
    are drawn with replacement. Cosmic ray detection has 500 to 0 of 3,136 tokens in the code, not the default of its kind.
    The embedder has to start from the source's (`model.embedder_init`), as it does by default.
    """

    name = "pare"
    title = "PaRe"
    citation = (
        "Cai et al., Enhancing Cross-Modal Fine-Tuning with Gradually Intermediate Modality Generation, ICML 2024"
    )
    needs_source = True
    step_cost = 2.0
    presets = {"default": {}, "published_code": {"deterministic": "as_code"}}

    deterministic: Literal["as_paper", "as_code"] = option(
        "as_paper", "replaced once there is no noise: the worst target tokens (as_paper), or the best (as_code)"
    )
    weight: float | None = option(
        None, "weight w of the losses of the mixture; None: 1 for classes and labels in 2D, 0.3 dense in 2D, 0.1 in 1D"
    )
    begin: float | None = option(
        None, "k at the start, as a share of the exchangeable tokens; None: 0.638, 0.319 dense in 2D, 1 in 1D"
    )
    end: float | None = option(None, "k at the end, as such a share; None: 0.159 in 2D, 0 in 1D")
    gumbel_epochs: int | None = option(None, "epochs with Gumbel noise, in which the gate learns; None: 10, 5 in 1D")
    tau: float = option(0.9, "temperature τ of the gradient through the draw")

    def prepare(self, context: Context) -> None:
        """The gate, and a head for the source's classes."""
        import numpy as np
        from torch import nn

        model = context.model
        model.gate = nn.Linear(context.source.tokens(np.arange(1)).shape[-1], 1)  # type: ignore[attr-defined]
        model.source_head = new_source_head(context)  # type: ignore[attr-defined]

    def loss(self, context: Context, output: torch.Tensor, batch: TorchBatch) -> torch.Tensor:
        """The task's loss, and w times both losses of the mixture."""
        import torch
        import torch.nn.functional as F

        task, model, at = context.loss(output, batch), context.model, context.position
        begin, end, weight, gumbel_epochs = self._settings(batch.x.dim() == 3, output.dim() > 2)
        if not weight:
            return task
        chosen = torch.randint(len(context.source), (len(batch.x),)).numpy()
        source, labels = context.source.tokens(chosen), context.upload(context.source.labels[chosen])
        with context.autocast():
            target = model.embedder(batch.x)
        count = int(min(target.shape[1], source.shape[1]) * (begin + (end - begin) * at.done))
        mixture = self.mix(model.gate, target, source, count, noisy=at.epoch < gumbel_epochs)  # type: ignore[attr-defined]
        with context.autocast():
            features = model.encoder(mixture)
            mixed, of_source = model.predictor(features), model.source_head(features.mean(1))  # type: ignore[attr-defined]
        share = count / target.shape[1]
        source_loss = F.cross_entropy(of_source.float(), labels)
        return task + weight * ((1 - share) * context.loss(mixed, batch) + share * source_loss)

    def mix(
        self, gate: torch.nn.Module, target: torch.Tensor, source: torch.Tensor, count: int, noisy: bool
    ) -> torch.Tensor:
        """(B, N, D): `target` (B, N, D) with `count` of its tokens replaced by as many of `source` (B, M, D)."""
        import torch

        scores, offers = (gate(tokens.float()).sigmoid().squeeze(2) for tokens in (target, source))
        kept = target.shape[1] - count
        if noisy:
            keep, take = (drawn_top(of, k, self.tau) for of, k in ((scores, kept), (offers, count)))
        else:
            keep, take = top(scores if self.deterministic == "as_paper" else -scores, kept), top(offers, count)
        everything = torch.cat([target * keep[..., None], source * take[..., None]], 1)
        # The places that are not kept, and the tokens that are taken, in the order of their sequences.
        places = keep.argsort(dim=1, stable=True)[:, :count]
        taken = take.argsort(dim=1, descending=True, stable=True)[:, :count]
        where = torch.arange(target.shape[1], device=target.device).repeat(len(target), 1)
        where = where.scatter(1, places, target.shape[1] + taken)
        return everything.take_along_dim(where[..., None], 1)

    def check(self) -> None:
        """Refuse shares, weights and counts that make no sense."""
        for name in ("weight", "gumbel_epochs"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise MethodError(f"pare: {name}={value}, expected 0 or more")
        for name in ("begin", "end"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise MethodError(f"pare: {name}={value}, expected a share from 0 to 1")
        if self.tau <= 0:
            raise MethodError(f"pare: tau={self.tau}, expected a positive number")

    def _settings(self, sequence: bool, dense: bool) -> tuple[float, float, float, int]:
        """`begin`, `end`, `weight` and `gumbel_epochs`; where none is set, the published one for such a task."""
        published = ANY_1D if sequence else DENSE_2D if dense else CLASSES_2D
        own = (self.begin, self.end, self.weight, self.gumbel_epochs)
        return tuple(b if a is None else a for a, b in zip(own, published))  # type: ignore[return-value]


def top(scores: torch.Tensor, count: int) -> torch.Tensor:
    """(B, N) of ones at the `count` largest of each row of `scores`, and zeros."""
    import torch

    return torch.zeros_like(scores).scatter_(1, scores.topk(count, dim=1).indices, 1.0)


def drawn_top(scores: torch.Tensor, count: int, tau: float) -> torch.Tensor:
    """`top` of scores with Gumbel noise: `count` draws without replacement. Its gradient is that of count · softmax(·/τ)."""
    import torch

    noisy = scores - torch.empty_like(scores).exponential_().log()
    soft = count * (noisy / tau).softmax(1)
    return top(noisy.detach(), count) + (soft - soft.detach())
