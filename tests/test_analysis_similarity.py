"""CKA against the direct formula with Gram matrices and its invariances; weight movement against numbers by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.analysis.inputs import AnalysisError
from bench.analysis.similarity import block_names, linear_cka, movement


def direct(x, y):
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with linear Gram matrices and the centring matrix written out."""
    n = len(x)
    h = np.eye(n) - np.ones((n, n)) / n

    def hsic(a, b):
        return np.trace(a @ h @ b @ h)

    k, m = x @ x.T, y @ y.T
    return hsic(k, m) / np.sqrt(hsic(k, k) * hsic(m, m))


@settings(max_examples=30)
@given(st.integers(0, 9999), st.integers(4, 30), st.integers(1, 8), st.integers(1, 8))
def test_cka_is_the_direct_formula(seed, n, p, q):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, p)) + 3, rng.normal(size=(n, q)) * 5
    assert linear_cka(x, y) == pytest.approx(direct(x, y), rel=1e-9, abs=1e-12)
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x))
    assert 0 <= linear_cka(x, y) <= 1


@settings(max_examples=30)
@given(st.integers(0, 9999), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_cka_ignores_rotation_scale_and_shift_but_no_linear_map(seed, scale, shift):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(40, 5)), rng.normal(size=(40, 6))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    assert linear_cka(x @ rotation * scale + shift, y) == pytest.approx(linear_cka(x, y), rel=1e-7)
    assert linear_cka(x, x @ rotation * scale + shift) == pytest.approx(1, abs=1e-9)
    assert linear_cka(x, x * [100, 1, 1, 1, 1]) < 0.9


def test_cka_takes_float16_and_large_values():
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(200, 8)) * 1000).astype(np.float16)
    assert linear_cka(x, x) == pytest.approx(1)
    assert linear_cka(x.astype(np.float64) * 1e200, x) == pytest.approx(1)


def test_cka_refuses_bad_input():
    x = np.random.default_rng(0).normal(size=(9, 2))
    with pytest.raises(AnalysisError, match="9 and 8"):
        linear_cka(x, x[:8])
    with pytest.raises(AnalysisError, match="second features are the same for every sample"):
        linear_cka(x, np.full((9, 2), 1e5))
    with pytest.raises(AnalysisError, match="NaN"):
        linear_cka(x, np.full((9, 2), np.nan))


class Body(nn.Module):
    """Two stages with two blocks each and a norm: the names of a small Swin."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(2):
            stage = nn.Module()
            stage.blocks = nn.ModuleList([nn.Linear(3, 3, bias=False) for _ in range(2)])
            stage.downsample = nn.Linear(3, 2)
            self.layers.append(stage)
        self.norm = nn.LayerNorm(4)


def test_movement_by_block_equals_the_norms():
    before, now = Body(), Body()
    now.load_state_dict(before.state_dict())
    assert set(movement(now, before).values()) == {0.0}
    with torch.no_grad():
        now.layers[0].blocks[1].weight.mul_(1.5)
        now.norm.weight.add_(0.25)
    found = movement(now, before)
    assert found["layers.0.blocks.1"] == pytest.approx(0.5)
    assert found["norm"] == pytest.approx(np.sqrt(4 * 0.25**2) / 2)
    assert found["layers.1.blocks.0"] == 0 and found["layers.0.downsample"] == 0
    weights = [torch.cat([p.detach().flatten() for p in body.parameters()]) for body in (now, before)]
    assert found["all"] == pytest.approx(float((weights[0] - weights[1]).norm() / weights[1].norm()), rel=1e-6)
    assert list(found)[:2] == ["layers.0.blocks.0", "layers.0.blocks.1"] and list(found)[-1] == "all"


def test_block_names_of_text_bodies():
    names = ["embeddings.LayerNorm.weight", "encoder.layer.11.attention.self.query.weight", "layer.0.mlp.0.weight"]
    assert list(block_names(names).values()) == ["embeddings", "encoder.layer.11", "layer.0"]


def test_movement_refuses_another_architecture():
    with pytest.raises(AnalysisError, match=r"differ in 0\.bias"):
        movement(nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2, bias=False)))
    with pytest.raises(AnalysisError, match=r"differ in 0\.weight"):
        movement(nn.Sequential(nn.Linear(3, 2)), nn.Sequential(nn.Linear(2, 2)))
