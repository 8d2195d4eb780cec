"""Entropic transport: the ε-scaled Sinkhorn loop, and the debiased divergence with the gradient of its last iterate.

The conventions are those of geomloss' tensorized backend (Feydy, PhD thesis, 2020, Algorithm 3.5), which ORCA's public
code runs: duals start from one soft minimum at ε = diameter², both duals move at once and half-way, ε falls by
scaling² to blur², and one full update follows, through which the gradient is taken (envelope theorem).

One exponential per iteration serves both directions: with K = exp((f ⊕ g − C)/ε) of the current duals, the two soft
minima are f − ε log(K b) and g − ε log(Kᵀ a). Where a row or column of K comes near to vanishing in float32, that
iteration is done with log-sum-exp instead.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from methods.contract import MethodError

BLUR = math.sqrt(0.1)
"""Square root of the final ε = 0.1."""
SCALING = 0.5
"""Ratio of two successive blur scales."""
SMALLEST = 1e-25
"""Sums of the kernel below this may have lost terms to float32's underflow at 1e-38."""
FREE_TO_READ = ("cpu",)
"""Devices that the host reads a number of without waiting."""
NOT_FINITE = (
    "the transport cannot be computed: the embedded features hold NaN or infinite values, or are too far apart for "
    "float32. Stage 1 has diverged; lower its learning rate"
)


Read = Callable[[torch.Tensor], bool]


@dataclass(frozen=True)
class Plan:
    """The duals after the last update, and those that it started from."""

    f: torch.Tensor
    """(N,) dual on the first cloud."""
    g: torch.Tensor
    """(M,) dual on the second cloud."""
    f_before: torch.Tensor
    """(N,) what `g` is the soft minimum of."""
    g_before: torch.Tensor
    """(M,) what `f` is the soft minimum of."""


def squared_distances(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(N, M) of ‖x_i − y_j‖² between (N, D) and (M, D), never negative, as exact far from the origin as near it."""
    centre = y.mean(0)  # else ‖x‖² + ‖y‖² − 2⟨x, y⟩ would lose all digits that the offset takes
    x, y = x - centre, y - centre
    return torch.add((x * x).sum(1)[:, None] + (y * y).sum(1), product(x, y.T), alpha=-2).clamp_min_(0)


def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x @ y with all digits of its type, whatever the trainer allows elsewhere."""
    # TF32 keeps 10 bits: at ‖x‖² of 100 its error is the whole of ε = 0.1. In float64 it does not apply.
    if x.is_cuda and x.dtype == torch.float32:
        return (x.double() @ y.double()).float()
    return x @ y


def box(points: torch.Tensor) -> torch.Tensor:
    """(2, D): the lower and upper corner of the box around a cloud (N, D)."""
    return torch.stack(torch.aminmax(points, dim=0))


def diameters(xs: torch.Tensor, ys: torch.Tensor) -> list[list[float]]:
    """Diagonal of the box around each pair of the boxes (K, 2, D) and (L, 2, D): an upper bound of all distances."""
    low = torch.minimum(xs[:, None, 0], ys[:, 0])
    high = torch.maximum(xs[:, None, 1], ys[:, 1])
    return (high - low).norm(dim=2).tolist()


def epsilon_schedule(width: float, blur: float = BLUR, scaling: float = SCALING) -> list[float]:
    """Temperatures from width² down to blur², each scaling² of the one before; the first one is used twice.

    `width` is the clouds' diameter; one below `blur` counts as `blur`. Raises `MethodError` when it is not finite.
    """
    if not math.isfinite(width):
        raise MethodError(NOT_FINITE)
    width = max(width, blur)
    steps = math.ceil(math.log(blur / width) / math.log(scaling))
    return [width**2, *(width**2 * scaling ** (2 * k) for k in range(steps)), blur**2]


def transport(cost: torch.Tensor, a: torch.Tensor, b: torch.Tensor, schedule: list[float]) -> Plan:
    """Duals of OT_ε between weights `a` (N,) and `b` (M,) under `cost` (N, M), at the last ε of `schedule`.

    Nothing here is tracked by autograd. Raises `MethodError` when cost or duals are not finite.
    """
    with torch.no_grad():
        plan = _loop(cost, a, b, schedule, bool) if cost.device.type in FREE_TO_READ else _unread(cost, a, b, schedule)
    if not bool(torch.isfinite(plan.f).all() & torch.isfinite(plan.g).all()):
        raise MethodError(
            f"the transport between {len(a)} and {len(b)} points is not finite: features are too far apart for "
            f"{cost.dtype}. Stage 1 has diverged; lower its learning rate"
        )
    return plan


def conditional(cost: torch.Tensor, a: torch.Tensor, f_before: torch.Tensor, eps: float) -> torch.Tensor:
    """(N, M) coupling conditioned on each point of the second cloud: columns sum to one, however far the clouds are.

    It is the derivative of the dual g by the cost. For the other direction, exchange the clouds and transpose.
    """
    return torch.softmax((a.log() + f_before / eps)[:, None] - cost / eps, 0)


def _unread(cost: torch.Tensor, a: torch.Tensor, b: torch.Tensor, schedule: list[float]) -> Plan:
    """`_loop`'s plan with one wait for the device: all sums are taken for safe, and all of it done again if one was not."""
    safe: list[torch.Tensor] = []

    def assume(yes: torch.Tensor) -> bool:
        safe.append(yes)
        return True

    plan = _loop(cost, a, b, schedule, assume)
    return plan if bool(torch.stack(safe).all()) else _loop(cost, a, b, schedule, bool)


def _loop(cost: torch.Tensor, a: torch.Tensor, b: torch.Tensor, schedule: list[float], read: Read) -> Plan:
    kernel = torch.empty_like(cost)

    def soft_minima(f: torch.Tensor, g: torch.Tensor, eps: float) -> tuple[torch.Tensor, torch.Tensor]:
        return _soft_minima(cost, a, b, f, g, eps, kernel, read)

    f, g = soft_minima(torch.zeros_like(a), torch.zeros_like(b), schedule[0])
    for eps in schedule:
        f_new, g_new = soft_minima(f, g, eps)
        f, g = f.lerp(f_new, 0.5), g.lerp(g_new, 0.5)
    return Plan(*soft_minima(f, g, schedule[-1]), f, g)


def _soft_minima(
    cost: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    f: torch.Tensor,
    g: torch.Tensor,
    eps: float,
    kernel: torch.Tensor,
    read: Read,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(−ε log Σ_j b_j e^((g_j − C_ij)/ε), −ε log Σ_i a_i e^((f_i − C_ij)/ε)); `kernel` is a buffer like the cost.

    `read` says whether the sums, a scalar says so on the device, are safe in float32.
    """
    # In powers of two: on a CPU exp2 is three times as fast as exp, and sixty times where the result underflows.
    unit = eps * math.log(2)
    torch.add((f * (1 / unit))[:, None], cost, alpha=-1 / unit, out=kernel).add_(g * (1 / unit)).exp2_()
    rows, columns = kernel @ b, kernel.T @ a
    sums = torch.cat([rows, columns])
    # A NaN fails the comparison too.
    if read((sums.amin() > SMALLEST) & (sums.amax() < 1 / SMALLEST)):
        return torch.sub(f, rows.log2(), alpha=unit), torch.sub(g, columns.log2(), alpha=unit)
    over_columns = torch.logsumexp((b.log() + g / eps) - cost / eps, 1)
    over_rows = torch.logsumexp((a.log() + f / eps)[:, None] - cost / eps, 0)
    return -eps * over_columns, -eps * over_rows
