"""Naive fine-tuning (NFT): no stage 1, every parameter moves."""

from __future__ import annotations

from dataclasses import dataclass

from methods.contract import Method


@dataclass(frozen=True)
class Vanilla(Method):
    """Fine-tune embedder, encoder and predictor together on the task's loss, min_θ Σ ℓ(g_θ(x), y): the baseline."""

    name = "vanilla"
    title = "Naive fine-tuning"
    citation = "Ma et al., Learning Modality Knowledge Alignment for Cross-Modality Transfer, ICML 2024, Eq. 1"
