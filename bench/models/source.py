"""The source model: embedder e0, encoder f and head h0 of a pretrained backbone, frozen."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from bench.backbones import Backbone
from bench.errors import SetupError


class SourceModel(nn.Module):
    """A backbone split into its parts, all frozen and in evaluation mode.

    `embedder` (e0): pixels (B, 3, S, S) or token ids (B, T) -> tokens (B, N, D).
    `encoder` (f): tokens (B, N, D) -> features (B, N', d). `head` (h0): features -> logits (B, K), None for text.
    `weights` says what they are: "pretrained: <what> <hash>" or "random, seed <n>".
    """

    def __init__(self, spec: Backbone, embedder: nn.Module, encoder: nn.Module, head: nn.Module | None, weights: str,
        sha256: str | None = None,
    ):  # fmt: skip
        super().__init__()
        self.sha256 = sha256
        """Hash of the pretrained encoder's weights, 64 hex digits; None for random ones."""
        self.spec, self.embedder, self.encoder, self.head, self.weights = spec, embedder, encoder, head, weights
        self.requires_grad_(False).eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B, N', d) of source inputs."""
        return self.encoder(self.embedder(x))


def load_source_model(spec: Backbone, random_weights: bool = False, seed: int = 0) -> SourceModel:
    """The source model with pretrained weights, or with the library's own random ones drawn from `seed`.

    The global random state is left as it was. Raises SetupError where the weights are missing or were not really loaded.
    """
    folder = None
    if not random_weights:
        if message := spec.unusable():
            raise SetupError(message)
        folder = spec.files()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        embedder, encoder, head = _parts(spec, folder)
    if random_weights:
        return SourceModel(spec, embedder, encoder, head, f"random, seed {seed}")
    refuse_untrained(spec, encoder)
    digest = fingerprint(encoder, 64)
    return SourceModel(spec, embedder, encoder, head, f"pretrained: {spec.title}, sha256 {digest[:12]}", digest)


def _parts(spec: Backbone, folder: Path | None) -> tuple[nn.Module, nn.Module, nn.Module | None]:
    """(e0, f, h0) of a backbone from the `folder` of its weights, or freshly initialised for None."""
    if spec.modality == "text":
        from bench.models.text import build_text, split_text

        return *split_text(build_text(spec.name, folder)), None
    from bench.models.vision import build_swin, split_swin

    weights = folder / (spec.hub_files[0] if spec.hub else spec.shipped_weights().name) if folder else None
    return split_swin(build_swin(spec.name, weights))


def refuse_untrained(spec: Backbone, encoder: nn.Module) -> None:
    """Raise SetupError if an encoder still carries initial values: LayerNorms of exactly 1 and 0 anywhere.

    Loaders skip weights whose names do not match, so a body can come back random with only a warning.
    """
    for name, module in encoder.named_modules():
        if isinstance(module, nn.LayerNorm) and bool((module.weight == 1).all() and (module.bias == 0).all()):
            raise SetupError(
                f"backbone {spec.name}: {name} holds its initial values, so the pretrained weights were not loaded; "
                f"remove {spec.files()} and fetch it again"
            )


def fingerprint(module: nn.Module, length: int = 12) -> str:
    """The first `length` hex digits of the SHA-256 over a module's parameters, in the order of their names."""
    digest = hashlib.sha256()
    for name, parameter in sorted(module.named_parameters()):
        digest.update(name.encode())
        digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:length]
