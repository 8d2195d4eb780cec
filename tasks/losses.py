"""Losses by name: `LOSSES[name](output, y, extra)` is a scalar, the mean over the batch where its name does not say sum.

`output` (B, *output_shape) is the model's output, in physical units for dense targets; `y` is the batch's target and
`extra` its side tensors. Masks multiply: a non-finite value makes the loss non-finite even where it is masked, so that
bad data are seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from torch import Tensor
from torch.nn import functional as F

Extra = Mapping[str, Tensor]


def cross_entropy(output: Tensor, y: Tensor, extra: Extra) -> Tensor:
    """−mean log softmax(output)[y]; output (B, K) logits, y (B,) int64. A label outside 0..K−1 is an error."""
    return -F.log_softmax(output, dim=1).gather(1, y[:, None]).mean()


def bce(output: Tensor, y: Tensor, extra: Extra, pos_weight: float = 1.0) -> Tensor:
    """Binary cross-entropy with logits, mean over samples and labels; positives weigh `pos_weight`."""
    weight = output.new_full((), pos_weight)  # made on the device: a copy would make the host wait for it
    return F.binary_cross_entropy_with_logits(output, y, pos_weight=weight)


def _masked_mean(values: Tensor, extra: Extra) -> Tensor:
    """Mean over the elements that `extra["ignore"]` (same shape, 1 = ignore) does not mark; all, without a mask."""
    if "ignore" not in extra:
        return values.mean()
    keep = 1.0 - extra["ignore"].to(values.dtype)
    return (values * keep).sum() / keep.sum().clamp(min=1.0)


def bce_masked(output: Tensor, y: Tensor, extra: Extra) -> Tensor:
    """Per-pixel binary cross-entropy with logits over pixels not ignored; output, y and `ignore` (B, 1, H, W)."""
    return _masked_mean(F.binary_cross_entropy_with_logits(output, y, reduction="none"), extra)


def bce_masked_paper(output: Tensor, y: Tensor, extra: Extra) -> Tensor:
    """`bce_masked` as public code has it: ignored pixels stay in the mean, with logit and target 0, as log 2 each.

    The gradient is that of `bce_masked` times the share of pixels that are not ignored.
    """
    keep = 1.0 - extra["ignore"].to(output.dtype)
    return F.binary_cross_entropy_with_logits(output * keep, y * keep)


def mse(output: Tensor, y: Tensor, extra: Extra) -> Tensor:
    """mean (output − y)²."""
    return (output - y).square().mean()


def mse_masked(output: Tensor, y: Tensor, extra: Extra, clip: float = 16.0) -> Tensor:
    """Mean (output − min(y, clip))² over pixels not ignored; Å² for PSICOV, whose distances are cut at 16 Å."""
    return _masked_mean((output - y.clamp(max=clip)).square(), extra)


def _per_sample(x: Tensor) -> Tensor:
    """Root mean square of every sample: (B, ...) -> (B,)."""
    return x.flatten(1).square().mean(1).sqrt()


def rmse(output: Tensor, y: Tensor, extra: Extra) -> Tensor:
    """mean_i sqrt(mean_j (p_ij − y_ij)²): root mean square error per sample, channels and points flattened."""
    return _per_sample(output - y).mean()


def nrmse(output: Tensor, y: Tensor, extra: Extra) -> Tensor:
    """mean_i sqrt(mean_j (p_ij − y_ij)²) / sqrt(mean_j y_ij²), no epsilon: an all-zero target gives inf or NaN."""
    return (_per_sample(output - y) / _per_sample(y)).mean()


def relative_l2(output: Tensor, y: Tensor, extra: Extra) -> Tensor:
    """mean_i ‖p_i − y_i‖₂ / ‖y_i‖₂, the same number as `nrmse`."""
    return nrmse(output, y, extra)


def relative_l2_sum(output: Tensor, y: Tensor, extra: Extra) -> Tensor:
    """Σ_i ‖p_i − y_i‖₂ / ‖y_i‖₂: `relative_l2` times the batch, as public code has it."""
    return nrmse(output, y, extra) * len(y)


LOSSES: dict[str, Callable[[Tensor, Tensor, Extra], Tensor]] = {
    "cross_entropy": cross_entropy,
    "bce": bce,
    "bce_pos4": partial(bce, pos_weight=4.0),
    "bce_pos10": partial(bce, pos_weight=10.0),
    "bce_masked": bce_masked,
    "bce_masked_paper": bce_masked_paper,
    "mse": mse,
    "mse_masked": mse_masked,
    "rmse": rmse,
    "nrmse": nrmse,
    "relative_l2": relative_l2,
    "relative_l2_sum": relative_l2_sum,
}


def share(name: str, part: tuple[Tensor, Extra], whole: tuple[Tensor, Extra]) -> float:
    """What the loss of a part (y, extra) of a batch weighs in the loss of the whole: the parts' weighted sum is that."""
    if name.endswith("_sum"):
        return 1.0
    if name.endswith("_masked") and "ignore" in whole[1]:
        kept = [float((1.0 - extra["ignore"].double()).sum()) for _, extra in (part, whole)]
        return kept[0] / max(kept[1], 1.0)
    return len(part[0]) / len(whole[0])
