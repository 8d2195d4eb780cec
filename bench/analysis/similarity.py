"""How far fine-tuning has moved a body: linear CKA of its features, and relative movement of its weights by block."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.inputs import AnalysisError, check_features

if TYPE_CHECKING:
    from torch import nn

BLOCK = re.compile(r"^(?:.*\.)?(?:blocks|layers|layer|block|h)\.\d+(?=\.)")
"""The innermost numbered block in a parameter's name: `layers.0.blocks.1` (Swin), `encoder.layer.3` (BERT)."""


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Linear centred kernel alignment of (n, p) and (n, q) features of the same n samples, in [0, 1].

    ||Y^T X||_F^2 / (||X^T X||_F ||Y^T Y||_F) with centred columns, in float64 (Kornblith et al. 2019, Eq. 4). 1: equal
    up to rotation, shift and scale. The plain estimator, biased upwards where n is small against p and q.
    """
    x, y = (check_features(a, what).astype(np.float64) for a, what in ((x, "first features"), (y, "second features")))
    if len(x) != len(y):
        raise AnalysisError(f"CKA compares features of the same samples, these are {len(x)} and {len(y)}")
    parts = []
    for a, what in ((x, "first"), (y, "second")):
        largest = float(np.abs(a).max())
        a = a / largest if largest > 0 else a  # no overflow, and the alignment is indifferent to scale
        a = a - a.mean(axis=0)
        if np.abs(a).max() <= 1e-12:
            raise AnalysisError(f"the {what} features are the same for every sample: CKA is not defined")
        parts.append(a)
    x, y = parts
    cross = np.linalg.norm(y.T @ x) ** 2
    return min(1.0, float(cross / (np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))))


def movement(encoder: nn.Module, reference: nn.Module) -> dict[str, float]:
    """||theta - theta_0|| / ||theta_0|| for each block of an encoder, and `all`; the parameters must match by name.

    Blocks in the order of the encoder's parameters; parameters outside any numbered block go by the first part of their
    name. A block whose reference is all zeros is left out.
    """
    now, before = dict(encoder.named_parameters()), dict(reference.named_parameters())
    if now.keys() != before.keys() or any(now[name].shape != before[name].shape for name in now):
        different = sorted(now.keys() ^ before.keys())[:3] or [n for n in now if now[n].shape != before[n].shape][:3]
        raise AnalysisError(f"the two bodies are not of one architecture: they differ in {', '.join(different)}")
    moved: dict[str, float] = {}
    size: dict[str, float] = {}
    for name, block in block_names(list(now)).items():
        start = before[name].detach().double().cpu()
        step = float((now[name].detach().double().cpu() - start).square().sum())
        for key in (block, "all"):
            moved[key] = moved.get(key, 0.0) + step
            size[key] = size.get(key, 0.0) + float(start.square().sum())
    order = [key for key in moved if key != "all"] + ["all"]
    return {key: float(np.sqrt(moved[key] / size[key])) for key in order if size.get(key, 0) > 0}


def block_names(parameters: list[str]) -> dict[str, str]:
    """The block of each parameter name. What lies in an outer block beside inner ones gets one more part."""
    found = {name: match.group() if (match := BLOCK.match(name)) else "" for name in parameters}
    blocks = set(found.values()) - {""}
    out = {}
    for name, block in found.items():
        if not block:
            out[name] = name.split(".")[0]
        elif any(other.startswith(f"{block}.") for other in blocks):
            out[name] = f"{block}.{name[len(block) + 1 :].split('.')[0]}"
        else:
            out[name] = block
    return out
