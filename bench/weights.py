"""A weight file: looked at before work starts, its header alone, without torch; and read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

POINTER = "a Git LFS pointer: a few lines that name the file, not the file"
LONGEST_HEADER = 100 << 20
BODY = {"vision": r"(layers|norm)\.", "text": r"(\w+\.)?encoder\.layer\."}
"""What the names of an encoder's weights begin with: timm's Swin, transformers' BERT and RoBERTa."""
BUFFERS = ("attn_mask", "relative_position_index", "relative_coords_table", "position_ids")
"""Tensors that older files hold beside the weights, and that every body makes by itself."""


def header(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensor name -> shape from the header of a safetensors file; ValueError, with what it is instead, for anything else."""
    return {name: tuple(tensor["shape"]) for name, tensor in _header(path)[0].items()}


def metadata(path: Path) -> dict[str, str]:
    """The free text in the header of a safetensors file, by name; ValueError for anything else."""
    return _header(path)[1]


def read(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, on the CPU; ValueError, with what it is instead, for anything else."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"no whole safetensors file: {error}") from None


def _header(path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors and free text: the format is 8 bytes of length, JSON of that length, and exactly the bytes that the JSON
    names (https://github.com/huggingface/safetensors)."""
    size = path.stat().st_size
    with path.open("rb") as handle:
        first = handle.read(8)
        if first.startswith(b"version "):
            raise ValueError(POINTER)
        length = int.from_bytes(first, "little")
        if len(first) < 8 or not 2 <= length <= LONGEST_HEADER:
            raise ValueError("no safetensors file")
        if 8 + length > size:
            raise ValueError(f"cut short: {size} bytes, its header alone has {length}")
        tensors, text = _parsed(handle.read(length))
    end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
    if 8 + length + end != size:
        raise ValueError(
            f"{'cut short' if 8 + length + end > size else 'too long'}: {size} bytes, its header names {8 + length + end}"
        )
    return tensors, text


def _parsed(written: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    try:
        tensors = dict(json.loads(written))
        text = tensors.pop("__metadata__", {})
        for tensor in tensors.values():
            if not all(isinstance(n, int) for n in (*tensor["shape"], *tensor["data_offsets"])):
                raise TypeError
        if not all(isinstance(value, str) for value in text.values()):
            raise TypeError
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ValueError("no safetensors file: its header is damaged") from None
    return tensors, text


def refuse_other_body(shapes: Mapping[str, tuple[int, ...]], modality: str, parameters: int) -> None:
    """ValueError unless the tensors of the encoder, by their names, hold just as many `parameters`."""
    inside = [name for name in shapes if re.match(BODY[modality], name) and not name.endswith(BUFFERS)]
    found = sum(math.prod(shapes[name]) for name in inside)
    if found != parameters:
        raise ValueError(
            f"of another body: {found:,} weights where {parameters:,} are expected "
            f"(its tensors: {', '.join(sorted(shapes)[:3])}, ...)"
        )


def refuse_other_head(shapes: Mapping[str, tuple[int, ...]], classes: int, width: int) -> None:
    """ValueError if a vision file has no head of that many classes, which the source predictor is made of."""
    head = next((shape for name in ("head.fc.weight", "head.weight") if (shape := shapes.get(name))), None)
    if head != (classes, width):
        raise ValueError(f"with another head: {head or 'none'}, expected {(classes, width)}, so of another training")


def refuse_no_json(path: Path) -> None:
    """ValueError unless a configuration or tokenizer file is a JSON object."""
    text = path.read_bytes()
    if text.startswith(b"version "):
        raise ValueError(POINTER)
    try:
        good = isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        good = False
    if not good:
        raise ValueError("no JSON, or cut short")
