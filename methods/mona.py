"""MoNA: stage 1 meta-learns the embedder so that one fine-tuning step keeps the source's classes apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from methods.contract import Context, Method, MethodError, option
from methods.embedder_warmup import warm_up_embedder

if TYPE_CHECKING:
    import numpy as np
    import torch

MOST_EPOCHS = 10
"""Default stage 1 is the task's, but at most this long: third-party notes on the paper say 5 to 10 epochs."""
LEAST_SOURCE_BATCH = 16
"""A smaller source batch gives L_uniform too few pairs, and tasks are published with target batches down to 1."""


@dataclass(frozen=True)
class Mona(Method):
    """Minimise λ·L_outer(θ_f'(φ)) + L_inner(φ) over the embedder φ, with θ_f' one simulated fine-tuning step.

    L_inner is the task's loss through the pretrained encoder. L_outer = L_align + L_uniform asks of the encoder after
    the step, on source data through the source embedder, that classes stay tight and points spread.

    Known from the paper: the two losses, one step of gradient descent on the encoder, the embedder as what the outer
    problem moves. Not known: α, λ per task, epochs, optimiser, source batches.
    Preset `default`: `predictor` trained by L_inner, since a random frozen one makes L_inner a poor guide; λ = 0.5,
    α = 0.01, one warm-up epoch and at most 10 meta epochs at stage 2's rate: all choices of this project.
    Preset `paper`: the predictor stays as it was initialised and the gradient is exact, as stated; λ = 0.5, 5 warm-up
    and 10 meta epochs at 3e-5 follow third-party notes; α as in `default`.

    At α = 0.01 the outer loss gives 1 to 4 % of the embedder's gradient in the first epoch on the two small bodies, and at
    α = 1 more than the inner loss (`outer_share` in the curves): where it shall count, set α between.
    """

    name = "mona"
    title = "MoNA"
    citation = "Ma et al., Learning Modality Knowledge Alignment for Cross-Modality Transfer, ICML 2024"
    needs_source = True
    presets = {
        "default": {},
        "paper": {
            "train_predictor": False,
            "meta_gradient": "exact",
            "warmup_epochs": 5,
            "epochs": 10,
            "lr": 3e-5,
            "model.dense_head": "pooled",
        },
    }

    meta_gradient: Literal["exact", "finite_difference", "first_order"] = option(
        "exact", "exact, finite_difference (fused attention, less memory), or first_order (no gradient of L_outer)"
    )
    lambda_: float = option(0.5, "weight λ of L_outer")
    inner_lr: float = option(0.01, "α, the size of the simulated step on the encoder")
    warmup_epochs: int = option(1, "epochs of embedder warm-up before the meta steps")
    epochs: int | None = option(None, "epochs of meta steps; None: the task's stage-1 epochs, at most 10")
    lr: float | None = option(None, "learning rate of stage 1; None: that of stage 2")
    train_predictor: bool = option(True, "the predictor follows L_inner during stage 1")
    align_weight: float = option(1.0, "weight of L_align in L_outer")
    uniform_weight: float = option(1.0, "weight of L_uniform in L_outer")
    source_batch: int | None = option(None, "source samples per meta step; None: the batch size, at least 16")

    def align(self, context: Context) -> None:
        """Stage 1: warm-up, then one meta step per target batch."""
        lr = context.lr if self.lr is None else self.lr
        epochs = self._epochs(context.stage1)
        sampler = PairSampler.of(context.source.labels, self._source_size(context.batch_size))
        warm_up_embedder(context, self.warmup_epochs, lr, self.train_predictor, name="mona-warmup")
        moved = [*context.model.embedder.parameters()]
        moved += [*context.model.predictor.parameters()] if self.train_predictor else []

        def batches(epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            rng = context.rng(f"mona-{epoch}")
            order = rng.permutation(context.train_size)
            for start in range(0, len(order), context.batch_size):
                yield order[start : start + context.batch_size], sampler.draw(rng)

        def gradient(item: tuple[np.ndarray, np.ndarray]) -> Mapping[str, torch.Tensor]:
            return self._meta_step(context, *item)

        context.fit("mona", moved, gradient, epochs=epochs, lr=lr, epoch_batches=batches)  # type: ignore[arg-type]

    def stage1_cost(self, stage1: Any, batch_size: int) -> tuple[float, float]:
        """Warm-up, and meta steps: a target sample counts 2.5 times, a source sample once, the launches 3.5 times.

        Counted in floating-point operations on Swin-B at batches of 1 and 4, and timed on a CPU (docs/performance.md).
        """
        epochs, source = self._epochs(stage1), self._source_size(batch_size)
        return self.warmup_epochs + epochs * (2.5 + source / batch_size), self.warmup_epochs + 3.5 * epochs

    def _epochs(self, stage1: Any) -> int:
        return min(stage1.epochs, MOST_EPOCHS) if self.epochs is None else self.epochs

    def _source_size(self, batch_size: int) -> int:
        return self.source_batch or max(batch_size, LEAST_SOURCE_BATCH)

    def check(self) -> None:
        """Refuse negative weights, steps and counts."""
        for name in ("lambda_", "inner_lr", "align_weight", "uniform_weight", "warmup_epochs", "epochs", "lr"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise MethodError(f"mona: {name}={value}, expected 0 or more")
        if self.source_batch is not None and self.source_batch < 4:
            raise MethodError(
                f"mona: source_batch={self.source_batch}, expected at least 4: two samples of two classes"
            )

    def _meta_step(self, context: Context, target: np.ndarray, source: np.ndarray) -> Mapping[str, torch.Tensor]:
        """Leave ∇[λ L_outer + L_inner] in the embedder's `.grad`, ∇ L_inner in the predictor's; scalars to log."""
        import torch

        from methods.meta_gradient import BiLevel, Encode, meta_gradient
        from methods.outer_loss import align_and_uniform, pooled

        model, batch = context.model, context.batch(target)
        tokens = context.source.tokens(source)
        labels = torch.from_numpy(context.source.labels[source]).to(tokens.device)

        def inner(encode: Encode) -> torch.Tensor:
            return context.loss(model.predictor(encode(model.embedder(batch.x))), batch)

        def outer(encode: Encode) -> Mapping[str, torch.Tensor]:
            align, uniform = align_and_uniform(pooled(encode(tokens)), labels)
            return {
                "outer": self.align_weight * align + self.uniform_weight * uniform,
                "align": align,
                "uniform": uniform,
            }

        phi = list(model.embedder.parameters())
        psi = list(model.predictor.parameters()) if self.train_predictor else []
        found = meta_gradient(self.meta_gradient, BiLevel(model.encoder, inner, outer, phi, psi, self.inner_lr))
        for p, inner_slope, outer_slope in zip(phi, found.phi_inner, found.phi_outer):
            p.grad = inner_slope + self.lambda_ * outer_slope
        for p, inner_slope in zip(psi, found.psi_inner):
            p.grad = inner_slope
        straight, through = (
            torch.cat([g.flatten() for g in part]).norm() for part in (found.phi_inner, found.phi_outer)
        )
        return {
            "loss": found.inner + self.lambda_ * found.outer["outer"],
            "inner": found.inner,
            **found.outer,
            # Near zero, α or λ is too small for L_outer to count, and this is an embedder warm-up.
            "outer_share": self.lambda_ * through / straight.clamp_min(1e-30),
        }


@dataclass(frozen=True)
class PairSampler:
    """Draws source batches in which every class appears at least twice, so that L_align always has pairs."""

    members: tuple[np.ndarray, ...]
    """Sample numbers of each class that has two or more."""
    size: int

    @classmethod
    def of(cls, labels: np.ndarray, size: int) -> PairSampler:
        """Raises `MethodError` when fewer than two classes have two samples. A class with one sample is never drawn."""
        import numpy as np

        classes, counts = np.unique(labels, return_counts=True)
        members = tuple(np.flatnonzero(labels == c) for c in classes[counts > 1])
        if len(members) < 2:
            raise MethodError(
                f"mona needs source data with at least two classes of two samples each; it has {len(classes)} classes, "
                f"{len(members)} of them with two samples. Choose another source data set"
            )
        return cls(members, size)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Sample numbers of one batch: at most `size`, classes as equal in number as they go, none twice."""
        import numpy as np

        classes = rng.permutation(len(self.members))[: max(self.size // 2, 2)]
        share, rest = divmod(self.size, len(classes))
        wanted = [share + (i < rest) for i in range(len(classes))]
        return np.concatenate([rng.permutation(self.members[c])[:n] for c, n in zip(classes, wanted)])
