"""ORCA: stage 1 moves the embedded target towards the embedded source, then everything is fine-tuned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from methods.contract import Context, Method, MethodError, option

if TYPE_CHECKING:
    import numpy as np
    import torch

    Distance = Callable[[torch.Tensor, torch.Tensor, np.random.Generator], torch.Tensor]
    """(target features (M, D), labels (M,), generator) -> scalar."""

MILESTONES, DECAY = (20, 40, 60), 0.2
"""The published schedule of stage 1: its learning rate is multiplied by 0.2 past these epochs, counted from 0."""
LARGE_LR = 1e-3
"""Published code scales the learning rate of stage 1 only for tasks that fine-tune with at most this one."""
CHUNK = 128
"""Samples embedded at once with gradients; larger updates are embedded twice, a chunk at a time."""


@dataclass(frozen=True)
class Orca(Method):
    """Minimise a distance between source and target features over the embedder, one optimiser step per epoch.

    As published: each target class in turn, in random order, against the whole source, weighted by the class's share.
    Of a class, whole batches are taken until their samples exceed `max_samples` (160 for batches of 32 and a limit of
    128); one with a single sample is left out. mmd and l2 draw as many source samples, with replacement. Features are
    token means of the embedders' output. Both protocols do so.
    """

    name = "orca"
    title = "ORCA"
    citation = "Shen et al., Cross-Modal Fine-Tuning: Align then Refine, ICML 2023"
    needs_source = True

    objective: Literal["otdd", "otdd-gaussian", "mmd", "l2"] = option(
        "otdd", "otdd, otdd-gaussian (Bures label distances), mmd, or l2"
    )
    per_class: bool = option(True, "each target class alone, as published; false: one labelled batch of all classes")
    epochs: int | None = option(None, "epochs of stage 1, one update each; None: the task's stage-1 epochs")
    lr: float | None = option(None, "learning rate of stage 1; None: stage 2's times the task's lr_scale")
    max_samples: int | None = option(
        None, "samples per class that end the draw of an update once exceeded; None: the task's"
    )
    whole_samples: int = option(512, "samples per update when per_class is false")
    source_samples: int = option(5000, "source samples at most")

    def align(self, context: Context) -> None:
        """Stage 1: min_φ distance((s_i, y_i), (mean over tokens of e_φ(x_j), y_j))."""
        import torch

        labels = context.labels()
        if len(labels) == len(set(labels.tolist())):
            raise MethodError(
                f"orca: {len(labels)} training samples and no two of one class, so there is nothing to align; raise "
                "data.limit, or choose another method"
            )
        distance, limit = self._distance(context), drawn_samples(context, self.max_samples)

        def gradient(epoch: int) -> Mapping[str, torch.Tensor]:
            rng = context.rng(f"orca-{epoch}")

            def part(index: np.ndarray, weight: float) -> torch.Tensor:
                classes = torch.from_numpy(labels[index])  # the host reads how many there are of each
                return backward(context, index, lambda features: weight * distance(features, classes, rng))

            parts = [part(index, weight) for index, weight in self._draws(labels, limit, rng)]
            return {"loss": sum(parts[1:], parts[0])}

        context.fit(
            "orca",
            list(context.model.embedder.parameters()),
            gradient,  # type: ignore[arg-type]  # its items are epoch numbers, from epoch_batches
            epochs=context.stage1.epochs if self.epochs is None else self.epochs,
            lr=published_rate(context, self.lr),
            epoch_batches=lambda epoch: iter([epoch]),
        )

    def stage1_cost(self, stage1: Any, batch_size: int, samples: int) -> tuple[float, float]:
        """One update per epoch: a few samples of each class, through the embedder alone, and a transport each."""
        epochs = float(stage1.epochs if self.epochs is None else self.epochs)
        return epochs, epochs / 10

    def check(self) -> None:
        """Refuse counts and rates that make no sense."""
        for name, least in (("epochs", 0), ("max_samples", 1), ("whole_samples", 1), ("source_samples", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise MethodError(f"orca: {name}={value}, expected at least {least}")
        if self.lr is not None and self.lr <= 0:
            raise MethodError(f"orca: lr={self.lr}, expected a positive number")

    def _draws(self, labels: np.ndarray, limit: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, float]]:
        """(indices, weight) of each transport of one update, at most `limit` samples of a class."""
        import numpy as np

        if not self.per_class:
            yield rng.permutation(len(labels))[: self.whole_samples], 1.0
            return
        classes, counts = np.unique(labels, return_counts=True)
        for c in rng.permutation(np.flatnonzero(counts > 1)):
            members = np.flatnonzero(labels == classes[c])
            yield rng.permutation(members)[:limit], float(counts[c] / len(labels))

    def _distance(self, context: Context) -> Distance:
        from methods.transport import kernels, otdd

        points, source_labels = context.source.features(min(self.source_samples, len(context.source)))
        points, source_labels = points.to(context.device), source_labels.to(context.device)
        if self.objective in ("otdd", "otdd-gaussian"):
            source = otdd.fix_source(points, source_labels, "sinkhorn" if self.objective == "otdd" else "gaussian")
            return lambda features, labels, rng: otdd.distance(source, features, labels)
        simple = kernels.mmd if self.objective == "mmd" else kernels.mean_distance

        def equal_sizes(features: torch.Tensor, labels: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
            chosen = context.upload(rng.integers(len(points), size=len(features)))
            return simple(points[chosen], features.float())

        return equal_sizes


def published_rate(context: Context, own: float | None) -> Callable[[int], float]:
    """The learning rate of stage 1 by epoch: it begins with `own`, or with stage 2's times the task's `lr_scale`."""
    scale = context.stage1.lr_scale if context.lr <= LARGE_LR else 1.0
    lr = context.lr * scale if own is None else own
    return lambda epoch: lr * DECAY ** sum(epoch > milestone for milestone in MILESTONES)


def drawn_samples(context: Context, most: int | None) -> int:
    """As many samples as whole batches make that first exceed `most`, or the task's `max_samples`."""
    most = context.stage1.max_samples if most is None else most
    return (most // context.batch_size + 1) * context.batch_size


def backward(context: Context, index: np.ndarray, distance: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """Add the gradient of a distance of features to the embedder's `.grad`; its value, detached.

    The features (M, D) are the token means of e at the training samples `index`.
    """
    import torch

    def features(x: torch.Tensor) -> torch.Tensor:
        with context.autocast():
            return context.model.embedder(x).float().mean(1)

    # Only the inputs are kept: dense targets of a whole class may be larger than memory.
    inputs = [context.batch(index[i : i + CHUNK]).x for i in range(0, len(index), CHUNK)]
    with torch.set_grad_enabled(len(inputs) == 1):
        embedded = torch.cat([features(x) for x in inputs])
    at = embedded.detach().requires_grad_()
    loss = distance(at)
    (slope,) = torch.autograd.grad(loss, at)
    if not bool(torch.isfinite(slope).all()):
        raise MethodError(
            "the gradient of the distance to the source is not finite; lower the learning rate of stage 1"
        )
    if len(inputs) == 1:
        embedded.backward(slope)
    else:
        for x, part in zip(inputs, slope.split(CHUNK)):
            features(x).backward(part)
    return loss.detach()
