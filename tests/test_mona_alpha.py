"""MoNA's α where it is found and not given: by the share of the gradient, by the length of a real step."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from bench.cell.phase import first_step, optimizer_for
from bench.cell.story import run
from bench.plan import Places
from bench.settings import TrainerSettings
from methods import meta_gradient as steps
from methods.contract import MethodError
from methods.mona import Mona
from tests.cell_helpers import one
from tests.fake_context import fake_context


def length(tensors) -> float:
    return float(torch.cat([t.detach().flatten().double() for t in tensors]).norm())


def taken_by_torch(settings: TrainerSettings, slopes) -> float:
    """The length of the first step of torch's own optimiser."""
    weights = [torch.nn.Parameter(torch.zeros_like(g)) for g in slopes]
    for weight, slope in zip(weights, slopes, strict=True):
        weight.grad = slope.detach().clone()
    optimizer_for(settings, weights, settings.lr).step()
    return length(weights)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_first_step_is_as_long_as_the_one_that_torch_takes(name):
    settings = TrainerSettings(optimizer=name, lr=3e-3, weight_decay=0.1)
    slopes = [torch.randn(5, 3) * 10.0**-k for k in (0, 3, 7, 9)]  # down to gradients below Adam's ε
    assert float(first_step(settings, slopes)) == pytest.approx(taken_by_torch(settings, slopes), rel=1e-5)


@pytest.mark.parametrize("kind", ["exact", "finite_difference", "first_order"])
def test_a_real_step_moves_the_body_as_far_as_the_optimiser_would(monkeypatch, kind):
    context, settings, seen = fake_context(), TrainerSettings(lr=1e-2), []
    context.step_length = lambda slopes: first_step(settings, slopes)
    adapted = steps._adapted

    def spied(weights, slopes, alpha):
        moved = adapted(weights, slopes, alpha)
        shift = length(moved[name] - weights[name] for name in slopes)
        seen.append(shift / taken_by_torch(settings, [g.detach() for g in slopes.values()]))
        return moved

    monkeypatch.setattr(steps, "_adapted", spied)
    Mona(real_step=1.0, warmup_epochs=0, epochs=1, meta_gradient=kind).align(context)
    Mona(real_step=0.25, warmup_epochs=0, epochs=1, meta_gradient=kind).align(context)
    half = len(seen) // 2
    assert half > 1 and np.allclose(seen[:half], 1.0, rtol=1e-4) and np.allclose(seen[half:], 0.25, rtol=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("kind", ["exact", "finite_difference"])
def test_the_outer_loss_gets_its_share_and_alpha_stays_when_the_warm_up_is_over(share, kind):
    context = fake_context(lr=1e-4)
    method = Mona(outer_share=share, warmup_epochs=6, epochs=2, meta_gradient=kind)
    method.prepare(context)
    method.align(context)
    warmup, meta = context.logs["mona-warmup"], context.logs["mona"]
    assert warmup[0]["alpha"] == pytest.approx(0.01) and warmup[0]["outer_share"] < share
    assert np.mean([row["outer_share"] for row in warmup[-6:]]) == pytest.approx(share, abs=0.06)
    assert len({row["alpha"] for row in meta}) == 1 and meta[0]["alpha"] > 0.01


def test_where_the_outer_gradient_grows_as_alpha_the_share_is_met_exactly(monkeypatch):
    context, method = fake_context(), Mona(outer_share=0.75, lambda_=2.0, warmup_epochs=8, epochs=0)
    phi, psi = list(context.model.embedder.parameters()), list(context.model.predictor.parameters())
    one, zero = torch.tensor(1.0), [torch.zeros_like(p) for p in psi]

    def linear(kind, problem):  # ‖∇_φ L_inner‖ = 1 and ‖∇_φ L_outer‖ = α / 10: a share of 3/4 takes λ α / 10 = 3
        alpha = problem.inner_lr([one]).clone()
        unit = [torch.full_like(p, 1 / sum(q.numel() for q in phi) ** 0.5) for p in phi]
        return steps.MetaGradient(one, {"outer": one}, unit, [0.1 * alpha * u for u in unit], zero, alpha)

    monkeypatch.setattr(steps, "meta_gradient", linear)
    method.prepare(context)
    method.align(context)
    assert float(context.model.mona_alpha) == pytest.approx(15.0, rel=0.02)


def test_a_share_of_zero_is_a_warm_up_bit_for_bit():
    share, plain = fake_context(), fake_context()
    for method, context in ((Mona(outer_share=0.0, epochs=2), share), (Mona(lambda_=0.0, epochs=2), plain)):
        method.prepare(context)
        method.align(context)
    assert all(row["outer_share"] == row["alpha"] == 0.0 for row in share.logs["mona"])
    assert all(torch.equal(a, b) for a, b in zip(share.model.parameters(), plain.model.parameters(), strict=True))


def test_the_warm_up_that_adapts_leaves_the_body_as_it_was():
    context = fake_context()
    before = copy.deepcopy(context.model.encoder.state_dict())
    method = Mona(outer_share=0.5, epochs=1)
    method.prepare(context)
    method.align(context)
    assert all(torch.equal(value, before[name]) for name, value in context.model.encoder.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["outer_half", "real_step"])
def test_a_cell_killed_in_stage_1_goes_on_with_the_alpha_that_it_had(shared_data, tmp_path, monkeypatch, preset):
    cell = one(shared_data, "darcy_pdebench", "mona", **{"method.preset": preset, "method.warmup_epochs": "2"})

    class Killed(BaseException):
        pass

    def kill(word):
        if word.get("phase") == "mona" and word["steps"] > 1:
            raise Killed

    monkeypatch.setattr("bench.cell.trainer.TALK_SECONDS", 0.0)
    broken, whole = Places(shared_data, tmp_path / "broken"), Places(shared_data, tmp_path / "whole")
    with pytest.raises(Killed):
        run(cell, broken, {"trainer.checkpoint_seconds": 0.0}, kill)
    record, again = run(cell, whole, {}), run(cell, broken, {})
    assert record["status"] == again["status"] == "done", record["error"]
    assert record["metrics"] == again["metrics"]
    curves = [
        (places.results_dir / r["sidecars"]["curves"]).read_text() for r, places in ((record, whole), (again, broken))
    ]
    assert all('"alpha"' in text for text in curves)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"outer_share": 1.0}, "0 to below 1"),
        ({"outer_share": -0.1}, "0 to below 1"),
        ({"outer_share": 0.5, "warmup_epochs": 0}, "warmup_epochs of at least 1"),
        ({"outer_share": 0.5, "inner_lr": 0.0}, "positive inner_lr"),
        ({"outer_share": 0.5, "meta_gradient": "first_order"}, "needs a gradient of L_outer"),
        ({"outer_share": 0.5, "real_step": 1.0}, "both set α"),
        ({"real_step": 0.0}, "positive number of real steps"),
    ],
    ids=str,
)
def test_what_cannot_be_adapted_is_refused(bad, message):
    with pytest.raises(MethodError, match=message):
        Mona(**bad).check()
