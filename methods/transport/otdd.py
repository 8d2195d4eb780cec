"""The optimal transport dataset distance of target samples to a fixed source (Alvarez-Melis and Fusi, NeurIPS 2020).

d((x, y), (x', y'))² = ½‖x − x'‖² + ½ W²(α_y, α_y'), with W² the Wasserstein distance between the point clouds of two
classes; both transports are debiased. The source never moves, so what depends on it alone is computed once: its label
distances, its transport onto itself, and that of each of its classes. As in the public code, label distances carry a
gradient where they are those of Gaussians and none where they are Sinkhorn divergences, and the outer transports anneal
from the diameter of features and label numbers together.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import torch

from methods.contract import MethodError
from methods.transport import gaussian, sinkhorn

Inner = Literal["sinkhorn", "gaussian", "none"]
"""How label distances are computed; `none`: they are zero, and this is a debiased Sinkhorn divergence under ½‖x − x'‖²."""


@dataclass(frozen=True)
class Labelled:
    """Points sorted by class, so that a class is a run of rows and a pair of classes a block of the distances."""

    points: torch.Tensor
    """(N, D) float32."""
    order: torch.Tensor
    """(N,) row of each point in what was given."""
    rows: tuple[slice, ...]
    """The run of each class."""
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
    if len(kept) < (1 if inner == "none" else 2):
        raise MethodError(
            f"OTDD needs a source with at least two classes of two samples each; it has {len(classes)} classes, "
            f"{len(kept)} of them with two samples. Choose another source data set"
        )
    with torch.no_grad():
        member = torch.isin(labels, kept)
        squared, cloud = _self_distances(points.detach().float()[member], labels[member], inner)
        own = _uniform_transport(_own_cost(squared, cloud, inner), _width(cloud, cloud, len(kept)))
        return FixedSource(inner, cloud, own.f.mean())


def distance(source: FixedSource, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """OTDD between the source and target features (M, D), integer labels (M,): a scalar, differentiable in `points`.

    The gradient is that of the last Sinkhorn iterate: weight · (own pull − source's pull) for each target point, where
    a pull is the barycentre of the points that it is coupled to; and, with Gaussian label distances, theirs times the
    mass that is moved between the classes. Raises `MethodError` where features are not finite or too far apart.
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
    width = _width(source.cloud, target, len(source.cloud.rows) + len(target.rows) - 1)
    own_cost = _own_cost(squared, target, source.inner)
    own = _uniform_transport(own_cost, width)
    squared = sinkhorn.squared_distances(source.cloud.points, target.points)
    cost = _labelled_cost(squared, source.cloud, target, _between(squared, source.cloud, target, source.inner))
    cross = _uniform_transport(cost, width)

    centre = target.points.mean(0)
    eps = sinkhorn.BLUR**2
    b = cost.new_full((len(points),), 1 / len(points))
    to_own = sinkhorn.conditional(own_cost, b, own.f_before, eps)
    a = cost.new_full((len(cost),), 1 / len(cost))
    to_source = sinkhorn.conditional(cost, a, cross.f_before, eps)
    pulls = (
        sinkhorn.product(to_own.T, target.points - centre),
        sinkhorn.product(to_source.T, source.cloud.points - centre),
    )
    slope = (pulls[0] - pulls[1]) / len(points)
    if source.inner == "gaussian":
        to_target = sinkhorn.conditional(cost.T, b, cross.g_before, eps).T
        moved = to_source / len(points) + to_target / len(cost)
        slope += _label_slope(source.cloud, target, moved, to_own / len(points))
    gradient = torch.empty_like(points)
    gradient[target.order] = slope
    return cross.f.mean() + cross.g.mean() - source.own - own.f.mean(), gradient


def _label_slope(source: Labelled, target: Labelled, moved: torch.Tensor, within: torch.Tensor) -> torch.Tensor:
    """(M, D) gradient of ½ Σ moved · W²(source, target) − ½ Σ within · W²(target, target) over pairs of points.

    `moved` (N, M) and `within` (M, M) are the derivatives of the two transports by their costs.
    """
    with torch.enable_grad():
        points = target.points.detach().requires_grad_()
        parts = [
            moved[r, c].sum() * gaussian.wasserstein2(source.points[r], points[c])
            for r in source.rows
            for c in target.rows
        ]
        parts += [
            -within[r, c].sum() * gaussian.wasserstein2(points[r], points[c])
            for r, c in itertools.permutations(target.rows, 2)
        ]
        return torch.autograd.grad(torch.stack(parts).sum() / 2, points)[0]


@torch.no_grad()
def label_distances(source: FixedSource, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(K_s, K_t) of W² between every source class and every target class, in the order of their labels."""
    _, target = _self_distances(points.float(), labels, source.inner)
    squared = sinkhorn.squared_distances(source.cloud.points, target.points)
    return _between(squared, source.cloud, target, source.inner)


def _self_distances(points: torch.Tensor, labels: torch.Tensor, inner: Inner) -> tuple[torch.Tensor, Labelled]:
    """(N, N) of ‖x − x'‖² in the order of the classes, and the sorted points; MethodError if they are not finite."""
    if not bool(torch.isfinite(points).all()):
        raise MethodError(sinkhorn.NOT_FINITE)
    order = torch.argsort(labels, stable=True).to(points.device, non_blocking=True)
    counts = labels.unique(return_counts=True)[1].tolist()
    ends = torch.tensor(counts).cumsum(0).tolist()
    rows = tuple(slice(end - count, end) for count, end in zip(counts, ends))
    points = points[order]
    boxes = torch.stack([sinkhorn.box(points[r]) for r in rows])
    squared = sinkhorn.squared_distances(points, points)
    own = (points.new_zeros(()),) * len(rows)
    if inner == "sinkhorn":
        widths = sinkhorn.diameters(boxes, boxes)
        own = tuple(_uniform_transport(squared[r, r], widths[i][i]).f.mean() for i, r in enumerate(rows))
    return squared, Labelled(points, order, rows, boxes, own)


def _between(squared: torch.Tensor, x: Labelled, y: Labelled, inner: Inner, symmetric: bool = False) -> torch.Tensor:
    """(K_x, K_y) of W²; `symmetric` (x is y) solves each pair once, and the diagonal is zero."""
    out = squared.new_zeros(len(x.rows), len(y.rows))
    if inner == "none":
        return out
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


def _own_cost(squared: torch.Tensor, cloud: Labelled, inner: Inner) -> torch.Tensor:
    """(N, N) cost of moving a labelled cloud onto itself, written over `squared`."""
    return _labelled_cost(squared, cloud, cloud, _between(squared, cloud, cloud, inner, symmetric=True))


def _labelled_cost(squared: torch.Tensor, x: Labelled, y: Labelled, between: torch.Tensor) -> torch.Tensor:
    """(N, M) of ½‖x − y‖² + ½ W², written over `squared`."""
    for i, r in enumerate(x.rows):
        for j, c in enumerate(y.rows):
            squared[r, c] += between[i, j]
    return squared.mul_(0.5)


def _width(x: Labelled, y: Labelled, labels: int) -> float:
    """Diagonal of the box around both clouds, with one side more of length `labels`: the range of the label numbers.

    Public code counts the source's labels from 0 and the target's on from there.
    """
    whole = [torch.stack([cloud.boxes[:, 0].amin(0), cloud.boxes[:, 1].amax(0)])[None] for cloud in (x, y)]
    return math.hypot(sinkhorn.diameters(*whole)[0][0], labels)


def _uniform_transport(cost: torch.Tensor, width: float) -> sinkhorn.Plan:
    """Between two clouds of equally weighted points whose common box has the diagonal `width`."""
    n, m = cost.shape
    a, b = cost.new_full((n,), 1 / n), cost.new_full((m,), 1 / m)
    return sinkhorn.transport(cost, a, b, sinkhorn.epsilon_schedule(width))
