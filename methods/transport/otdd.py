"""The optimal transport dataset distance of target samples to a fixed source (Alvarez-Melis and Fusi, NeurIPS 2020).

d((x, y), (x', y'))² = ½‖x − x'‖² + ½ W²(α_y, α_y'), with W² the Wasserstein distance between the point clouds of two
classes; both transports are debiased. The source never moves, so what depends on it alone is computed once: its label
distances, its transport onto itself, and that of each of its classes. Label distances carry no gradient, as in ORCA's
public code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from methods.contract import MethodError
from methods.transport import gaussian, sinkhorn

Inner = Literal["sinkhorn", "gaussian"]


@dataclass(frozen=True)
class Labelled:
    """Points sorted by class, so that a class is a run of rows and a pair of classes a block of the distances."""

    points: torch.Tensor
    """(N, D) float32."""
    order: torch.Tensor
    """(N,) row of each point in what was given."""
    rows: tuple[slice, ...]
    """The run of each class."""
    norms: torch.Tensor
    """(N,) of ‖x‖²."""
    boxes: torch.Tensor
    """(K, 2, D) corners of the box around each class."""
    class_own: tuple[torch.Tensor, ...]
    """Per class, the scalar ⟨a, f_aa⟩ under ‖x − x'‖²: half of what its transport onto itself costs."""


@dataclass(frozen=True)
class FixedSource:
    """Labelled source features with everything that no target can change."""

    inner: Inner
    cloud: Labelled
    own: torch.Tensor
    """Scalar ⟨a, f_aa⟩ of the whole source under the labelled cost: half of OT_ε(source, source)."""


def fix_source(points: torch.Tensor, labels: torch.Tensor, inner: Inner = "sinkhorn") -> FixedSource:
    """Compute once what depends on the source features (N, D) and labels (N,) alone; O(N²) time and memory.

    A class with a single sample is left out, as in the public OTDD code: its cloud says nothing of the class. Raises
    `MethodError` when fewer than two classes remain.
    """
    classes, counts = labels.unique(return_counts=True)
    kept = classes[counts > 1]
    if len(kept) < 2:
        raise MethodError(
            f"OTDD needs a source with at least two classes of two samples each; it has {len(classes)} classes, "
            f"{len(kept)} of them with two samples. Choose another source data set"
        )
    with torch.no_grad():
        member = torch.isin(labels, kept)
        squared, cloud = _self_distances(points.detach().float()[member], labels[member], inner)
        return FixedSource(inner, cloud, _own_transport(squared, cloud, inner, _width(cloud, cloud)).f.mean())


def distance(source: FixedSource, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """OTDD between the source and target features (M, D), integer labels (M,): a scalar, differentiable in `points`.

    The gradient is that of the last Sinkhorn iterate: weight · (own pull − source's pull) for each target point, where
    a pull is the barycentre of the points that it is coupled to.
    """
    value, gradient = value_and_gradient(source, points.detach().float(), labels)
    # Zero in value, `gradient` in slope: autograd never sees the (N, M) matrices.
    return value + (gradient * (points.float() - points.detach().float())).sum()


@torch.no_grad()
def value_and_gradient(
    source: FixedSource, points: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The distance, a scalar, and its gradient (M, D) in the target features."""
    squared, target = _self_distances(points, labels, source.inner)
    # Both transports that the gradient sees anneal alike, as they do where nothing is cached.
    width = _width(source.cloud, target)
    own = _own_transport(squared, target, source.inner, width, pull=True)
    squared = _squared(source.cloud, target)
    cost = _labelled_cost(squared, source.cloud, target, _between(squared, source.cloud, target, source.inner))
    cross = _uniform_transport(cost, width, source.cloud.points)

    assert cross.pull is not None and own.pull is not None
    gradient = torch.empty_like(points)
    gradient[target.order] = (own.pull - cross.pull) / len(points)
    return cross.f.mean() + cross.g.mean() - source.own - own.f.mean(), gradient


@torch.no_grad()
def label_distances(source: FixedSource, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(K_s, K_t) of W² between every source class and every target class, in the order of their labels."""
    _, target = _self_distances(points.float(), labels, source.inner)
    squared = _squared(source.cloud, target)
    return _between(squared, source.cloud, target, source.inner)


def _self_distances(points: torch.Tensor, labels: torch.Tensor, inner: Inner) -> tuple[torch.Tensor, Labelled]:
    """(N, N) of ‖x − x'‖² in the order of the classes, and the sorted points."""
    order = torch.argsort(labels, stable=True).to(points.device)
    counts = labels.unique(return_counts=True)[1].tolist()
    ends = torch.tensor(counts).cumsum(0).tolist()
    rows = tuple(slice(end - count, end) for count, end in zip(counts, ends))
    points = points[order]
    boxes = torch.stack([sinkhorn.box(points[r]) for r in rows])
    norms = sinkhorn.squared_norms(points)
    squared = sinkhorn.squared_distances(points, points, norms, norms)
    own = (points.new_zeros(()),) * len(rows)
    if inner == "sinkhorn":
        widths = sinkhorn.diameters(boxes, boxes)
        own = tuple(_uniform_transport(squared[r, r], widths[i][i]).f.mean() for i, r in enumerate(rows))
    return squared, Labelled(points, order, rows, norms, boxes, own)


def _squared(x: Labelled, y: Labelled) -> torch.Tensor:
    return sinkhorn.squared_distances(x.points, y.points, x.norms, y.norms)


def _between(squared: torch.Tensor, x: Labelled, y: Labelled, inner: Inner, symmetric: bool = False) -> torch.Tensor:
    """(K_x, K_y) of W²; `symmetric` (x is y) solves each pair once, and the diagonal is zero."""
    out = squared.new_zeros(len(x.rows), len(y.rows))
    widths = sinkhorn.diameters(x.boxes, y.boxes)
    for i, r in enumerate(x.rows):
        for j, c in enumerate(y.rows[:i] if symmetric else y.rows):
            if inner == "gaussian":
                out[i, j] = gaussian.wasserstein2(x.points[r], y.points[c])
                continue
            # The inner cost is ‖x − y‖², without the half that the outer one has.
            plan = _uniform_transport(squared[r, c], widths[i][j])
            out[i, j] = plan.f.mean() + plan.g.mean() - x.class_own[i] - y.class_own[j]
    return out + out.T if symmetric else out


def _own_transport(
    squared: torch.Tensor, cloud: Labelled, inner: Inner, width: float, pull: bool = False
) -> sinkhorn.Plan:
    """The transport of a labelled cloud onto itself; writes over `squared`."""
    cost = _labelled_cost(squared, cloud, cloud, _between(squared, cloud, cloud, inner, symmetric=True))
    return _uniform_transport(cost, width, cloud.points if pull else None)


def _labelled_cost(squared: torch.Tensor, x: Labelled, y: Labelled, between: torch.Tensor) -> torch.Tensor:
    """(N, M) of ½‖x − y‖² + ½ W², written over `squared`."""
    for i, r in enumerate(x.rows):
        for j, c in enumerate(y.rows):
            squared[r, c] += between[i, j]
    return squared.mul_(0.5)


def _width(x: Labelled, y: Labelled) -> float:
    """Diagonal of the box around both clouds."""
    whole = [torch.stack([cloud.boxes[:, 0].amin(0), cloud.boxes[:, 1].amax(0)])[None] for cloud in (x, y)]
    return sinkhorn.diameters(*whole)[0][0]


def _uniform_transport(cost: torch.Tensor, width: float, points: torch.Tensor | None = None) -> sinkhorn.Plan:
    """Between two clouds of equally weighted points whose common box has the diagonal `width`."""
    n, m = cost.shape
    a, b = cost.new_full((n,), 1 / n), cost.new_full((m,), 1 / m)
    return sinkhorn.transport(cost, a, b, sinkhorn.epsilon_schedule(width), points)
