"""The pretrained architecture with random weights: what pretraining itself is worth."""

from __future__ import annotations

from dataclasses import dataclass

from methods.contract import Method


@dataclass(frozen=True)
class Scratch(Method):
    """Train the same model from a random encoder. A fair comparison tunes its learning rate on its own."""

    name = "scratch"
    title = "From scratch"
    citation = "Shen et al., Cross-Modal Fine-Tuning: Align then Refine, ICML 2023 (ablation)"
    pretrained = False
