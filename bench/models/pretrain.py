"""Pretrains `swin_micro` as an image classifier, and writes its weights with how they were made."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from bench.models.vision import build_swin
from tasks.files.atomic import replacing


@dataclass(frozen=True)
class Recipe:
    """How the small Swin is trained: AdamW, linear warm-up, cosine decay to 0, random horizontal flips."""

    epochs: int = 10
    batch_size: int = 128
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 100
    clip: float = 1.0
    seed: int = 0
    bf16: bool = True


def prepare(images: np.ndarray, mean: float, std: float, size: int = 32) -> torch.Tensor:
    """(n, h, w) uint8 -> (n, 3, size, size) float32: centred in a black frame, three equal channels, normalised."""
    x = torch.from_numpy(images.astype(np.float32) / 255.0)[:, None]
    gap_y, gap_x = size - x.shape[-2], size - x.shape[-1]
    x = F.pad(x, (gap_x // 2, gap_x - gap_x // 2, gap_y // 2, gap_y - gap_y // 2))
    return ((x - mean) / std).expand(-1, 3, -1, -1)


def lr_factor(step: int, steps: int, warmup: int) -> float:
    """Learning rate at `step` of `steps` as a fraction of its peak: linear warm-up times half a cosine."""
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


def train(x: torch.Tensor, y: torch.Tensor, recipe: Recipe, say: Callable[[str], None] = print) -> nn.Module:
    """A `swin_micro` classifier trained on x (n, 3, 32, 32) and y (n,) int64; deterministic in `recipe.seed`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = build_swin("swin_micro", None).train()
    rng = torch.Generator().manual_seed(recipe.seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    per_epoch = len(x) // recipe.batch_size
    steps, step, start, running = recipe.epochs * per_epoch, 0, time.monotonic(), 0.0
    for epoch in range(recipe.epochs):
        for index in torch.randperm(len(x), generator=rng)[: per_epoch * recipe.batch_size].split(recipe.batch_size):
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr * lr_factor(step, steps, recipe.warmup_steps)
            flip = torch.rand(len(index), 1, 1, 1, generator=rng) < 0.5
            batch = torch.where(flip, x[index].flip(-1), x[index])
            with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
                loss = F.cross_entropy(model(batch), y[index])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            optimiser.step()
            step += 1
            running = loss.item() if step == 1 else 0.98 * running + 0.02 * loss.item()
            if step % 50 == 0 or step == steps:
                left = (time.monotonic() - start) / step * (steps - step)
                say(f"epoch {epoch + 1}/{recipe.epochs}  step {step}/{steps}  loss {running:.3f}  {left:.0f} s left")
    return model.eval()


@torch.no_grad()
def error(model: nn.Module, x: torch.Tensor, y: torch.Tensor, batch_size: int = 500) -> float:
    """Fraction of x (n, 3, 32, 32) whose class the model gets wrong, in [0, 1], computed in float32."""
    wrong = sum(int((model(a).argmax(1) != b).sum()) for a, b in zip(x.split(batch_size), y.split(batch_size)))
    return wrong / len(x)


def save(model: nn.Module, path: Path, facts: Mapping[str, object]) -> None:
    """Write all weights, head included, and the `facts` as metadata; the file appears complete or not at all."""
    metadata = {k: v if isinstance(v, str) else json.dumps(v) for k, v in facts.items()}
    with replacing(path) as temporary:
        save_file({k: v.contiguous() for k, v in model.state_dict().items()}, temporary, metadata=metadata)
        temporary.chmod(0o644)  # safetensors writes files that only their owner may read
