"""Text bodies through transformers: token ids -> tokens (e0), tokens -> features (f). There is no class head h0."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # everything is loaded from folders: no start may wait for a network

import transformers
from transformers import AutoModel, BertConfig, PreTrainedModel, RobertaConfig

from bench.models.recompute import recomputed

CONFIGS = {
    "roberta_base": RobertaConfig(
        vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
    ),
    "minilm": BertConfig(hidden_size=384, num_hidden_layers=6, intermediate_size=1536),
}
"""Shapes of the bodies, for random weights; pretrained ones bring their own configuration."""


class TextEmbedder(nn.Module):
    """e0: token ids (B, T) -> tokens (B, T, D): LayerNorm of word + segment + position embeddings."""

    def __init__(self, embeddings: nn.Module, first_position: int):
        super().__init__()
        self.embeddings = embeddings
        self.first_position = first_position

    @property
    def norm(self) -> nn.LayerNorm:
        """The LayerNorm at its end."""
        return self.embeddings.LayerNorm  # type: ignore[return-value]

    @property
    def positions(self) -> torch.Tensor:
        """(max_positions, D) position embeddings, the first token's first."""
        return self.embeddings.position_embeddings.weight[self.first_position :]  # type: ignore[union-attr, index]

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.embeddings(ids)


class TextEncoder(nn.Module):
    """f: tokens (B, N, D) -> features (B, N, d), all tokens attending to all.

    `recompute` drops the activations inside each layer and computes them again in the backward pass.
    """

    def __init__(self, layers: nn.ModuleList):
        super().__init__()
        self.layers = layers
        self.recompute = False

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = tokens
        for layer in self.layers:
            out = recomputed(layer, x) if self.recompute and self.training else layer(x)
            x = out[0] if isinstance(out, tuple) else out  # transformers before 5 returns a tuple
        return x

    def blocks(self) -> Iterator[nn.Module]:
        """The transformer layers, first to last."""
        yield from self.layers


def build_text(name: str, folder: Path | None) -> PreTrainedModel:
    """The body `name` from its `folder`, or with the library's own initialisation for None. Dropout is 0."""
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if folder is None:
        config = CONFIGS[name].__class__.from_dict({**CONFIGS[name].to_dict(), **no_dropout})
        return AutoModel.from_config(config, attn_implementation="sdpa")
    transformers.utils.logging.disable_progress_bar()
    return AutoModel.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32, attn_implementation="sdpa", **no_dropout
    )


def split_text(model: PreTrainedModel) -> tuple[TextEmbedder, TextEncoder]:
    """The two parts (e0, f) of a BERT-like body; they share its parameters. RoBERTa counts positions from 2."""
    first = model.config.pad_token_id + 1 if model.config.model_type == "roberta" else 0
    return TextEmbedder(model.embeddings, first), TextEncoder(model.encoder.layer)  # type: ignore
