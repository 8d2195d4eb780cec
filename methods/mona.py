"""MoNA: stage 1 meta-learns the embedder so that one fine-tuning step keeps the source's classes apart."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from methods.contract import Context, Method, MethodError, option
from methods.embedder_warmup import warm_up_embedder

if TYPE_CHECKING:
    import numpy as np
    import torch

    from methods.meta_gradient import Alpha, MetaGradient

Item: TypeAlias = "tuple[np.ndarray, np.ndarray]"
"""Sample numbers of a target and of a source batch."""
MOST_CHANGE = 3.0
"""What one step of the warm-up may multiply an adapted α by."""
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
    α = 1 more than the inner loss (`outer_share` in the curves): where it shall count, set α between, or have it found.
    Two options, both of this project. `outer_share` = s: every step of the warm-up measures o = λ‖∇_φ L_outer‖ and
    i = ‖∇_φ L_inner‖ and multiplies α by ((s / (1 − s)) · i / o) to the power (1 − t) / 2, at most threefold, with t the part
    of the warm-up that is over; the meta steps keep what was found. o grows about as α while the simulated step is small:
    a share that no α reaches is missed, and the curves say which was had. Preset `outer_half`: s = 0.5. `real_step` = r: at every step α = r‖Δθ‖ / ‖∇_θ L_inner‖, with Δθ the
    first step that stage 2's optimiser would take along ∇_θ L_inner. Preset `real_step`: r = 1, a simulated step as long
    as a real one.
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
        "outer_half": {"outer_share": 0.5},
        "real_step": {"real_step": 1.0},
    }

    meta_gradient: Literal["exact", "finite_difference", "first_order"] = option(
        "exact", "exact, finite_difference (fused attention, less memory), or first_order (no gradient of L_outer)"
    )
    lambda_: float = option(0.5, "weight λ of L_outer")
    inner_lr: float = option(0.01, "α, the size of the simulated step on the encoder")
    outer_share: float | None = option(
        None, "share of L_outer in the embedder's gradient, for which α is adapted in the warm-up; None: α as given"
    )
    real_step: float | None = option(
        None, "length of the simulated step in steps of stage 2's optimiser, for which α is set; None: α as given"
    )
    warmup_epochs: int = option(1, "epochs of embedder warm-up before the meta steps")
    epochs: int | None = option(None, "epochs of meta steps; None: the task's stage-1 epochs, at most 10")
    lr: float | None = option(None, "learning rate of stage 1; None: that of stage 2")
    train_predictor: bool = option(True, "the predictor follows L_inner during stage 1")
    align_weight: float = option(1.0, "weight of L_align in L_outer")
    uniform_weight: float = option(1.0, "weight of L_uniform in L_outer")
    source_batch: int | None = option(None, "source samples per meta step; None: the batch size, at least 16")

    def prepare(self, context: Context) -> None:
        """An α that is adapted belongs to the model, with which it is checkpointed and resumed."""
        import torch

        if self.outer_share:
            context.model.register_buffer("mona_alpha", torch.tensor(self.inner_lr))  # type: ignore[attr-defined]

    def align(self, context: Context) -> None:
        """Stage 1: warm-up, then one meta step per target batch."""
        lr = context.lr if self.lr is None else self.lr
        sampler = PairSampler.of(context.source.labels, self._source_size(context.batch_size))
        moved = [*context.model.embedder.parameters()]
        moved += [*context.model.predictor.parameters()] if self.train_predictor else []

        def meta(name: str, epochs: int, step: Callable[[Context, Item], Mapping[str, torch.Tensor]]) -> None:
            def batches(epoch: int) -> Iterator[Item]:
                rng = context.rng(f"{name}-{epoch}")
                order = rng.permutation(context.train_size)
                for start in range(0, len(order), context.batch_size):
                    yield order[start : start + context.batch_size], sampler.draw(rng)

            gradient: Any = functools.partial(step, context)
            context.fit(name, moved, gradient, epochs=epochs, lr=lr, epoch_batches=batches)

        if self.outer_share:
            meta("mona-warmup", self.warmup_epochs, self._adapting_step)
        else:
            warm_up_embedder(context, self.warmup_epochs, lr, self.train_predictor, name="mona-warmup")
        meta("mona", self._epochs(context.stage1), self._meta_step)

    def stage1_cost(self, stage1: Any, batch_size: int, samples: int) -> tuple[float, float]:
        """Warm-up, and meta steps: a target sample counts 2.5 times, a source sample once, the launches 3.5 times.

        Counted in floating-point operations on Swin-B at batches of 1 and 4, and timed on a CPU (docs/performance.md).
        """
        warmup, epochs, source = self.warmup_epochs, self._epochs(stage1), self._source_size(batch_size)
        if self.outer_share:
            warmup, epochs = 0, warmup + epochs
        return warmup + epochs * (2.5 + source / batch_size), warmup + 3.5 * epochs

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
        if self.real_step is not None and self.real_step <= 0:
            raise MethodError(f"mona: real_step={self.real_step}, expected a positive number of real steps")
        if self.outer_share is not None:
            self._check_outer_share(self.outer_share)

    def _check_outer_share(self, share: float) -> None:
        """What an adapted α needs: a share below 1, epochs to adapt in, and an outer loss that has a gradient."""
        if not 0 <= share < 1:
            raise MethodError(f"mona: outer_share={share}, expected 0 to below 1")
        if self.real_step is not None:
            raise MethodError("mona: outer_share and real_step both set α, give one of them")
        if share and (not self.warmup_epochs or not self.inner_lr or not self.lambda_):
            raise MethodError(
                "mona: outer_share adapts α from inner_lr on during the warm-up; expected warmup_epochs of at least 1, and "
                f"positive inner_lr and lambda_, found {self.warmup_epochs}, {self.inner_lr} and {self.lambda_}"
            )
        if share and self.meta_gradient == "first_order":
            raise MethodError("mona: outer_share needs a gradient of L_outer: meta_gradient=exact or finite_difference")

    def _meta_step(self, context: Context, item: Item) -> Mapping[str, torch.Tensor]:
        """Leave ∇[λ L_outer + L_inner] in the embedder's `.grad`, ∇ L_inner in the predictor's; scalars to log."""
        found = self._meta_gradient(context, item)
        both = [inner + self.lambda_ * outer for inner, outer in zip(found.phi_inner, found.phi_outer)]
        return {
            "loss": found.inner + self.lambda_ * found.outer["outer"],
            "inner": found.inner,
            **found.outer,
            **self._along(context, found, both)[1],
        }

    def _adapting_step(self, context: Context, item: Item) -> Mapping[str, torch.Tensor]:
        """A step of the warm-up, along L_inner alone, that brings α nearer to the one of `outer_share`; scalars to log."""
        assert self.outer_share is not None
        found = self._meta_gradient(context, item)
        (straight, through), logged = self._along(context, found, found.phi_inner)
        wanted = self.outer_share / (1 - self.outer_share) * straight / through.clamp_min(1e-30)
        # Batches differ: towards the end of the warm-up each counts less.
        change = wanted.pow((1 - context.position.done) / 2).clamp(1 / MOST_CHANGE, MOST_CHANGE)
        context.model.mona_alpha.mul_(change)  # type: ignore[attr-defined]
        return {"loss": found.inner, **logged}

    def _along(
        self, context: Context, found: MetaGradient, slopes: Sequence[torch.Tensor]
    ) -> tuple[tuple[torch.Tensor, torch.Tensor], Mapping[str, torch.Tensor]]:
        """Leave `slopes` in the embedder's `.grad` and ∇ L_inner in the predictor's.

        Returns ‖∇_φ L_inner‖ and λ‖∇_φ L_outer‖, and what both kinds of step log.
        """
        import torch

        moved = [*context.model.embedder.parameters(), *context.model.predictor.parameters()]
        for parameter, slope in zip(moved, [*slopes, *found.psi_inner]):
            parameter.grad = slope
        straight, through = (
            torch.cat([g.flatten() for g in part]).norm() for part in (found.phi_inner, found.phi_outer)
        )
        through = self.lambda_ * through
        # Near zero, α or λ is too small for L_outer to count, and this is an embedder warm-up.
        share = through / (straight + through).clamp_min(1e-30)
        return (straight, through), {"outer_share": share, "alpha": found.alpha}

    def _meta_gradient(self, context: Context, item: Item) -> MetaGradient:
        """Both losses and their gradients on one batch of the target and one of the source."""
        from methods.meta_gradient import BiLevel, Encode, meta_gradient
        from methods.outer_loss import align_and_uniform, pooled

        target, source = item
        model, batch = context.model, context.batch(target)
        tokens = context.source.tokens(source)
        labels = context.upload(context.source.labels[source])

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
        problem = BiLevel(model.encoder, inner, outer, phi, psi, self._alpha(context), context.autocast)
        return meta_gradient(self.meta_gradient, problem)

    def _alpha(self, context: Context) -> float | Alpha:
        """The size of the simulated step: given, adapted by the warm-up, or from the step that the optimiser would take."""
        if self.outer_share is not None:
            return (lambda slopes: context.model.mona_alpha) if self.outer_share else 0.0  # type: ignore[attr-defined]
        if self.real_step is None:
            return self.inner_lr
        wanted = self.real_step

        def as_long(slopes: Collection[torch.Tensor]) -> torch.Tensor:
            import torch

            norm = torch.stack([slope.norm() for slope in slopes]).norm()
            return wanted * context.step_length(slopes) / norm.clamp_min(1e-30)

        return as_long


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
