"""Losses against numpy, scikit-learn and finite differences."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from tasks.losses import LOSSES


def tensors(*shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def test_cross_entropy_equals_scikit_learn():
    output, y = tensors(20, 4), torch.arange(20) % 4
    expected = log_loss(y.numpy(), torch.softmax(output, 1).numpy(), labels=range(4))
    assert LOSSES["cross_entropy"](output, y, {}).item() == pytest.approx(expected)


def test_cross_entropy_ignores_no_label():
    output = tensors(3, 4)
    for wrong in (-100, -1, 4):
        with pytest.raises((RuntimeError, IndexError)):
            LOSSES["cross_entropy"](output, torch.tensor([0, wrong, 1]), {})


@pytest.mark.parametrize("name, weight", [("bce", 1), ("bce_pos4", 4), ("bce_pos10", 10)])
def test_bce_by_formula(name, weight):
    output, y = tensors(6, 5), (tensors(6, 5, seed=1) > 0).double()
    p = 1 / (1 + np.exp(-output.numpy()))
    expected = -(weight * y.numpy() * np.log(p) + (1 - y.numpy()) * np.log(1 - p)).mean()
    assert LOSSES[name](output, y, {}).item() == pytest.approx(expected)


def test_masked_losses_leave_out_what_is_ignored():
    output, y = tensors(3, 1, 4, 4), (tensors(3, 1, 4, 4, seed=1) > 0).double()
    ignore = tensors(3, 1, 4, 4, seed=2) > 0.5
    kept = ~ignore
    p = torch.sigmoid(output)
    by_hand = -(y * p.log() + (1 - y) * (1 - p).log())[kept].mean()
    assert LOSSES["bce_masked"](output, y, {"ignore": ignore}).item() == pytest.approx(by_hand.item())
    far = y * 30
    expected = (output - far.clamp(max=16))[kept].square().mean()
    assert LOSSES["mse_masked"](output, far, {"ignore": ignore}).item() == pytest.approx(expected.item())
    whole = LOSSES["mse_masked"](output, y, {}).item()
    assert whole == pytest.approx(LOSSES["mse"](output, y, {}).item())


def test_public_code_keeps_ignored_pixels_in_the_mean_as_log_2():
    output, y = tensors(3, 1, 4, 4), (tensors(3, 1, 4, 4, seed=1) > 0).double()
    ignore = tensors(3, 1, 4, 4, seed=2) > 0.5
    share = (~ignore).double().mean().item()
    kept = LOSSES["bce_masked"](output, y, {"ignore": ignore}).item()
    found = LOSSES["bce_masked_paper"](output, y, {"ignore": ignore}).item()
    assert found == pytest.approx(share * kept + (1 - share) * math.log(2))


def test_dense_losses_by_numpy():
    output, y = tensors(4, 2, 5), tensors(4, 2, 5, seed=1)
    error, truth = (output - y).numpy().reshape(4, -1), y.numpy().reshape(4, -1)
    rmse = np.sqrt((error**2).mean(1))
    assert LOSSES["mse"](output, y, {}).item() == pytest.approx((error**2).mean())
    assert LOSSES["rmse"](output, y, {}).item() == pytest.approx(rmse.mean())
    relative = np.linalg.norm(error, axis=1) / np.linalg.norm(truth, axis=1)
    assert LOSSES["nrmse"](output, y, {}).item() == pytest.approx(relative.mean())
    assert LOSSES["relative_l2"](output, y, {}).item() == pytest.approx(relative.mean())
    assert LOSSES["relative_l2_sum"](output, y, {}).item() == pytest.approx(relative.sum())


TARGETS = {
    "cross_entropy": ((4, 3), lambda: torch.tensor([0, 1, 2, 0])),
    **{name: ((4, 3), lambda: (tensors(4, 3, seed=1) > 0).double()) for name in ("bce", "bce_pos4", "bce_pos10")},
    **{
        name: ((4, 1, 3), lambda: (tensors(4, 1, 3, seed=1) > 0).double())
        for name in ("bce_masked", "bce_masked_paper")
    },
    **{name: ((4, 1, 3), lambda: tensors(4, 1, 3, seed=1)) for name in LOSSES if name[:2] not in ("cr", "bc")},
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_equal_finite_differences(name):
    shape, target = TARGETS[name]
    extra = {"ignore": tensors(*shape, seed=3) > 0.8} if "masked" in name else {}
    output = tensors(*shape).requires_grad_()
    assert LOSSES[name](output, target(), extra).ndim == 0
    assert torch.autograd.gradcheck(lambda o: LOSSES[name](o, target(), extra), output)


@pytest.mark.parametrize("name", [n for n in LOSSES if n != "cross_entropy"])
def test_a_non_finite_target_is_never_masked_away(name):
    shape, target = TARGETS[name]
    y = target().clone()
    y.view(-1)[0] = float("nan")
    extra = {"ignore": torch.ones(shape, dtype=torch.bool)} if "masked" in name else {}
    assert torch.isnan(LOSSES[name](tensors(*shape), y, extra))
