"""A checkpoint at Swin-B size: how long the training stands still for it, written beside the steps and between them."""

from __future__ import annotations

import pytest
import torch

from bench.backbones import BACKBONES
from bench.cell.checkpoint import Checkpoints
from bench.models.source import load_source_model

COPIES = 3
"""The weights, and Adam's two moments of each."""


@pytest.mark.parametrize("how", ["save", "save_beside"])
def test_standing_still_for_a_checkpoint(benchmark, tmp_path, how):
    """`save_beside` returns after the copy; what its thread still has to write is waited for outside of the time."""
    weights = load_source_model(BACKBONES["swin_base"], random_weights=True).encoder.state_dict()
    state = {"weights": weights, "moments": [{k: v.clone() for k, v in weights.items()} for _ in range(COPIES - 1)]}
    content, checkpoints = {**state, "state": {"best_epoch": None}}, Checkpoints(tmp_path)
    benchmark.pedantic(
        getattr(checkpoints, how), (content, None), setup=checkpoints.wait, rounds=3, iterations=1, warmup_rounds=1
    )
    checkpoints.wait()
    size = checkpoints.newest.stat().st_size
    assert size > COPIES * sum(v.nbytes for v in weights.values() if v.dtype == torch.float32)
    benchmark.extra_info |= {"bytes": size}
