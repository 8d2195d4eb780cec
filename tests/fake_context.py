"""A stand-in for the trainer's `Context`, with tiny modules: enough to run a method's stage 1 in milliseconds."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from methods.contract import Position, TorchBatch


@dataclass(frozen=True)
class Stage1:
    """The three stage-1 settings that a context hands out."""

    epochs: int = 3
    lr_scale: float = 10.0
    max_samples: int = 8


class Embedder(nn.Module):
    """(B, C, L) -> (B, N, D): patches, a linear map, LayerNorm, learned positions; as the 1D embedder has them."""

    def __init__(self, channels: int, length: int, patch: int, dim: int):
        super().__init__()
        self.patch = patch
        self.project = nn.Linear(channels * patch, dim)
        self.norm = nn.LayerNorm(dim)
        self.positions = nn.Parameter(0.1 * torch.randn(length // patch, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = x.unfold(2, self.patch, self.patch).transpose(1, 2).flatten(2)
        return self.norm(self.project(patches)) + self.positions


class Attention(nn.Module):
    """Multi-head attention with a bias table per pair of tokens, as Swin has it; fused where the backend allows."""

    def __init__(self, dim: int, heads: int, tokens: int):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.table = nn.Parameter(0.3 * torch.randn(heads, 2 * tokens - 1))
        distance = torch.arange(tokens)[:, None] - torch.arange(tokens) + tokens - 1
        self.register_buffer("distance", distance)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.table[:, self.distance][None, :, :n, :n]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(mixed.transpose(1, 2).reshape(b, n, d))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, dim: int, heads: int, tokens: int, dropout: float):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, tokens)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Dropout(dropout), nn.Linear(2 * dim, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Encoder(nn.Module):
    """Positions of its own, blocks, a final LayerNorm, and a pooler that is never called, as BERT has one."""

    def __init__(self, dim: int = 16, heads: int = 2, tokens: int = 8, depth: int = 2, dropout: float = 0.0):
        super().__init__()
        self.positions = nn.Parameter(0.1 * torch.randn(tokens, dim))
        self.blocks = nn.Sequential(*[Block(dim, heads, tokens, dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.pooler = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.blocks(x + self.positions))


class Mean(nn.Module):
    """The classification predictor: mean over tokens, then linear."""

    def __init__(self, dim: int, classes: int):
        super().__init__()
        self.linear = nn.Linear(dim, classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features.mean(1))


class TinyModel(nn.Module):
    """g = h ∘ f ∘ e on inputs (B, 2, 32): 8 tokens of width 16."""

    def __init__(self, classes: int = 3, dropout: float = 0.0):
        super().__init__()
        self.embedder = Embedder(2, 32, 4, 16)
        self.encoder = Encoder(dropout=dropout)
        self.predictor = Mean(16, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.predictor(self.encoder(self.embedder(x)))


@dataclass
class FakeSource:
    """Labelled random sentences behind a frozen embedder and head of their own."""

    labels: np.ndarray
    tokens_of: torch.Tensor
    """(n, N, D)"""
    embedder: nn.Module
    head: nn.Module
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def tokens(self, index: np.ndarray) -> torch.Tensor:
        with torch.no_grad():
            return self.embedder(self.tokens_of[torch.from_numpy(index)])

    def features(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        index = np.arange(len(self))[:count]
        return self.tokens(index).mean(1).float(), torch.from_numpy(self.labels[index])

    def encoded(self, encoder: nn.Module, index: np.ndarray) -> torch.Tensor:
        with torch.no_grad():
            return encoder(self.tokens(index)).mean(1)


@dataclass
class FakeContext:
    """What the trainer lends a method, in memory; `fit` is plain SGD and keeps what was logged."""

    model: TinyModel
    source: FakeSource
    x: torch.Tensor
    y: torch.Tensor
    seed: int = 0
    lr: float = 1e-2
    batch_size: int = 8
    stage1: Stage1 = field(default_factory=Stage1)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    logs: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    position: Position = field(default_factory=lambda: Position(0, 1, 0.0))

    @property
    def train_size(self) -> int:
        return len(self.x)

    def labels(self) -> np.ndarray:
        return self.y.numpy()

    def batch(self, index: np.ndarray) -> TorchBatch:
        at = torch.from_numpy(np.asarray(index))
        return TorchBatch(self.x[at], self.y[at], {})

    def upload(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array)

    def loss(self, output: torch.Tensor, batch: TorchBatch) -> torch.Tensor:
        return F.cross_entropy(output, batch.y)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def rng(self, name: str) -> np.random.Generator:
        digest = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
        return np.random.default_rng(int.from_bytes(digest[:8], "little"))

    def fit(
        self,
        name: str,
        parameters: Iterable[nn.Parameter],
        gradient: Callable[[Any], Mapping[str, torch.Tensor]],
        *,
        epochs: int,
        lr: float | Callable[[int], float],
        epoch_batches: Callable[[int], Iterator[Any]] | None = None,
    ) -> None:
        parameters = list(parameters)
        chosen = {id(p) for p in parameters}
        before = {p: p.requires_grad for p in self.model.parameters()}
        for p in self.model.parameters():
            p.requires_grad_(id(p) in chosen)
        self.logs[name], self.rates[name] = [], []
        for epoch in range(epochs):
            rate = lr(epoch) if callable(lr) else lr
            self.position = Position(epoch, epochs, epoch / epochs)
            for item in epoch_batches(epoch) if epoch_batches else self._shuffled(name, epoch):
                for p in self.model.parameters():
                    p.grad = None
                logged = gradient(item)
                self.logs[name].append({key: float(value) for key, value in logged.items()})
                self.rates[name].append(rate)
                with torch.no_grad():
                    for p in parameters:
                        if p.grad is not None:
                            p -= rate * p.grad
        for p, flag in before.items():
            p.requires_grad_(flag)

    def _shuffled(self, name: str, epoch: int) -> Iterator[TorchBatch]:
        order = self.rng(f"{name} {epoch}").permutation(self.train_size)
        for start in range(0, len(order), self.batch_size):
            yield self.batch(order[start : start + self.batch_size])


def fake_context(
    classes: int = 3, samples: int = 24, source_classes: int = 4, source_samples: int = 40, **kwargs: Any
) -> FakeContext:
    """A context with random data of a fixed seed; keyword arguments replace fields of `FakeContext`."""
    torch.manual_seed(0)
    model = TinyModel(classes)
    labels = np.arange(source_samples) % source_classes
    centres = torch.randn(source_classes, 1, 16)
    tokens = centres[torch.from_numpy(labels)] + torch.randn(source_samples, 8, 16)
    source = FakeSource(labels, tokens, nn.LayerNorm(16).requires_grad_(False), nn.Linear(16, source_classes))
    y = torch.arange(samples) % classes
    x = torch.randn(samples, 2, 32) + y[:, None, None]
    return FakeContext(**{"model": model, "source": source, "x": x, "y": y, **kwargs})
