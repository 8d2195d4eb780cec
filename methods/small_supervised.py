"""A small network of the task's own, trained from scratch on the raw input: the bar that transfer has to clear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.contract import Method, MethodError, option

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SmallSupervised(Method):
    """A residual CNN for classes and labels, a Fourier neural operator for dense targets; no stage 1."""

    name = "small_supervised"
    title = "Small supervised network"
    citation = (
        "Xu et al., Specialized Foundation Models Struggle to Beat Supervised Baselines (DASHA), 2024; "
        "Zagoruyko and Komodakis, Wide Residual Networks, 2016; Li et al., Fourier Neural Operator, ICLR 2021"
    )
    pretrained = False

    width: int = option(32, "channels of the first block (CNN) or of every layer (FNO)")
    modes: int = option(12, "Fourier modes kept per axis (FNO)")
    layers: int = option(4, "Fourier layers (FNO)")

    def build(self, kind: str, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> nn.Module:
        """From (B, C, *spatial) to (B, K) for `classes` and `multilabel`, to (B, K, *spatial) for `dense`.

        `input_shape` is (C, L) or (C, H, W); `output_shape` is (K,) or (K, *spatial). Raises `MethodError` for others.
        """
        from methods.small_networks import FourierOperator, ResidualNet

        axes = len(input_shape) - 1
        dense = kind == "dense"
        expected = axes + 1 if dense else 1
        if kind not in ("classes", "multilabel", "dense") or axes not in (1, 2) or len(output_shape) != expected:
            raise MethodError(
                f"small_supervised: kind {kind!r}, input {input_shape}, output {output_shape}; expected classes or "
                "multilabel with output (K,), or dense with output (K, *spatial), and one or two spatial axes"
            )
        if dense:
            return FourierOperator(input_shape[0], tuple(output_shape), self.width, self.modes, self.layers)
        return ResidualNet(input_shape[0], output_shape[0], axes, self.width)

    def check(self) -> None:
        """Refuse sizes below one."""
        for name in ("width", "modes", "layers"):
            if getattr(self, name) < 1:
                raise MethodError(f"small_supervised: {name}={getattr(self, name)}, expected at least 1")
