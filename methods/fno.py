"""FNO: a Fourier neural operator, trained from scratch on fields: the supervised arm of the PDE tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from methods.contract import Method, MethodError, option

if TYPE_CHECKING:
    from torch import nn

MODES, WIDTH = (16, 12), (64, 32)
"""Of Li et al. in one and in two dimensions."""


@dataclass(frozen=True)
class Fno(Method):
    """u = Q ∘ L_T ∘ ... ∘ L_1 ∘ P (a, grid) with L(v) = σ(W v + F⁻¹(R · F v)), R on the lowest modes alone; no stage 1.

    P, W and Q act on each grid point, F is the Fourier transform over space, σ a GELU that the last layer has not.
    Where the output has another grid than the input, features are interpolated before Q.
    Known from Li et al.'s public code: 4 layers; 16 modes and width 64 in 1D, 12 modes and width 32 in 2D; Adam at 1e-3
    with weight decay 1e-4, halved every 100 of 500 epochs. From PDEBench's: 12 modes, width 20 (diffusion-sorption: 16
    and 64), the rest the same.
    Otherwise than there: Q is 4 widths wide, 128 in both; no batch norm and ReLU as in Li et al.'s first code, no
    padding by two points as in PDEBench's.
    Not known: what suits one jump from the first frame to the last, which neither trained.
    Preset `default`: the sizes of Li et al. with the task's own optimiser. Presets `li` and `pdebench`: their sizes and
    their Adam with its first rate; length and schedule stay the task's.
    Budget of tuning: as many rates as another arm has in the same table, at most 9 runs a task, chosen on validation;
    `--grid trainer.lr=3e-4,1e-3,3e-3 fno.modes=8,12,16` is all of it.
    """

    name = "fno"
    title = "Fourier neural operator"
    citation = (
        "Li et al., Fourier Neural Operator for Parametric Partial Differential Equations, ICLR 2021; "
        "Takamoto et al., PDEBench, NeurIPS 2022"
    )
    pretrained = False
    kinds = ("dense",)
    presets = {
        "default": {},
        "li": {"trainer.optimizer": "adam", "trainer.lr": 1e-3, "trainer.weight_decay": 1e-4},
        "pdebench": {
            "modes": 12,
            "width": 20,
            "trainer.optimizer": "adam",
            "trainer.lr": 1e-3,
            "trainer.weight_decay": 1e-4,
        },
    }

    modes: int | None = option(None, "Fourier modes kept per axis; None: 16 in 1D, 12 in 2D")
    width: int | None = option(None, "channels of every layer; None: 64 in 1D, 32 in 2D")
    layers: int = option(4, "Fourier layers")

    def build(self, kind: str, input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> nn.Module:
        """From (B, C, *spatial) to (B, K, *spatial'), one or two spatial axes. Raises `MethodError` for others."""
        from methods.small_networks import FourierOperator

        axes = len(input_shape) - 1
        if kind not in self.kinds or axes not in (1, 2) or len(output_shape) != axes + 1:
            raise MethodError(
                f"fno: kind {kind!r}, input {input_shape}, output {output_shape}; expected kind 'dense' with output "
                "(K, *spatial) and one or two spatial axes: it maps fields to fields. Use small_supervised for classes "
                "and labels"
            )
        modes, width = self.modes or MODES[axes - 1], self.width or WIDTH[axes - 1]
        return FourierOperator(input_shape[0], tuple(output_shape), width, modes, self.layers)

    def check(self) -> None:
        """Refuse sizes below one."""
        for name in ("modes", "width", "layers"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise MethodError(f"fno: {name}={value}, expected at least 1")
