"""The training loop: accumulation, schedules, budgets, divergence, and what it says of itself."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bench.cell.batches import order, rng
from bench.cell.checkpoint import Checkpoints
from bench.cell.phase import Phase, Span, warmup_decay
from bench.cell.steps import accumulate
from bench.cell.trainer import Diverged, Trainer
from bench.settings import TrainerSettings
from methods.contract import MethodError
from tests.tiny_training import data, network, squared_error, train


@given(st.integers(1, 12), st.integers(1, 12))
@hypothesis_settings(max_examples=25)
def test_accumulation_leaves_the_gradient_of_the_whole_group(n, micro):
    model, loader = network().eval(), data()
    index = np.arange(n)
    parts = np.split(index, range(micro, n, micro))
    group = [(loader.get(p, None), len(p) / n) for p in parts]
    parameters = list(model.parameters())
    logs = accumulate(group, parameters, squared_error(model))
    got = [p.grad.clone() for p in parameters]
    whole = accumulate([(loader.get(index, None), 1.0)], parameters, squared_error(model))
    for g, p in zip(got, parameters, strict=True):
        torch.testing.assert_close(g, p.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logs["loss"], whole["loss"], rtol=1e-5, atol=1e-6)


def test_accumulation_rounds_as_a_loop_over_the_parameters_does_also_where_some_have_no_gradient():
    first, second, never = (torch.nn.Parameter(torch.randn(3, 4)) for _ in range(3))
    slopes = [(torch.randn(3, 4), torch.randn(3, 4) if k else None) for k in range(4)]
    weights = [0.3, 0.3, 0.3, 0.1]

    def gradient(k):
        first.grad, second.grad = slopes[k]
        return {"loss": torch.tensor(1.0)}

    accumulate(list(zip(range(4), weights)), [first, second, never], gradient)
    for parameter, own in ((first, range(4)), (second, range(1, 4))):
        total = slopes[own[0]][parameter is second] * weights[own[0]]
        for k in own[1:]:
            total.add_(slopes[k][parameter is second] * weights[k])
        assert torch.equal(parameter.grad, total)
    assert never.grad is None


def test_what_a_phase_does_not_train_stays_frozen_bit_for_bit(tmp_path):
    model = network()
    before = copy.deepcopy(model.state_dict())
    trainer = Trainer(model, data(), TrainerSettings(batch_size=4), 0, Checkpoints(tmp_path), lambda word: None)
    trainer.fit(Phase("only the first", "stage1", model[0].parameters(), squared_error(model), 2, lambda e: 0.1))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) == (not name.startswith("0.")), name


def test_the_schedule_rises_falls_and_never_goes_below_zero():
    assert warmup_decay(0, 5, 60) == 0
    assert warmup_decay(2.5, 5, 60) == 0.5
    assert warmup_decay(5, 5, 60) == 1
    assert warmup_decay(32.5, 5, 60) == pytest.approx(0.5)
    assert warmup_decay(60, 5, 60) == 0 == warmup_decay(80, 5, 60)
    assert warmup_decay(1000, 5, None) == 1


def test_a_loss_that_is_not_finite_is_divergence_with_a_cure(tmp_path):
    model = network()
    trainer = Trainer(model, data(), TrainerSettings(optimizer="sgd"), 0, Checkpoints(tmp_path), lambda word: None)
    with pytest.raises(Diverged, match=r"stage2, epoch \d+: loss = (nan|inf); a lower trainer.lr"):
        trainer.fit(Phase("stage2", "stage2", model.parameters(), squared_error(model), 50, lambda e: 1e9))


@pytest.mark.parametrize("budget", [5, 13, 40])
def test_a_budget_in_steps_is_shared_by_both_stages_and_met_exactly(tmp_path, budget):
    trainer, _ = train(tmp_path, batch_size=22, budget_steps=budget)
    assert trainer.state.steps["stage1"] == 2
    assert sum(trainer.state.steps.values()) == budget
    assert trainer.state.curves["stage2"][0]["lr"] < 1e-2


def test_a_budget_that_stage_1_used_up_is_an_error_with_a_cure():
    with pytest.raises(MethodError, match="the whole budget of 10"):
        Span(5).within(10, None, 12, 3.0)
    with pytest.raises(MethodError, match="raise --budget"):
        Span(5).within(None, 2.0, 12, 3.0)


@pytest.mark.slow
def test_a_budget_in_seconds_ends_the_run_in_time(tmp_path):
    trainer, _ = train(tmp_path, budget_seconds=0.5)
    assert 0.4 < trainer.state.seconds["stage1"] + trainer.state.seconds["stage2"] < 5


def test_every_epoch_sees_every_sample_once_in_another_order():
    orders = [order(3, "stage2", epoch, 50) for epoch in range(3)]
    assert all(sorted(o) == list(range(50)) for o in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[1], order(3, "stage2", 1, 50))


def test_generators_of_different_names_and_seeds_differ():
    draws = {rng(*key).integers(2**62) for key in [(0, "a"), (0, "b"), (1, "a"), (0, "a", 1), (0, "a", "b")]}
    assert len(draws) == 5


def three_of_its_own(epoch):
    return (batch for batch in data(20).batches([np.array([i]) for i in range(3)], [0, 0, 0]))


@pytest.mark.parametrize("own_batches", [None, three_of_its_own])
def test_a_phase_says_which_part_of_its_steps_is_over_from_the_first_one_on(tmp_path, monkeypatch, own_batches):
    monkeypatch.setattr("bench.cell.trainer.TALK_SECONDS", 0.0)
    said, model = [], network()
    settings = TrainerSettings(batch_size=4)
    trainer = Trainer(model, data(20), settings, 0, Checkpoints(tmp_path), lambda word: said.append(word["done"]))
    trainer.fit(Phase("phase", "stage2", model.parameters(), squared_error(model), 2, lambda e: 1e-2, own_batches))
    if own_batches is None:
        assert said == pytest.approx([step / 10 for step in range(1, 11)])
    else:  # a generator does not tell its length: taken for the task's until an epoch is over
        assert said == pytest.approx([0.1, 0.2, 0.3, 4 / 6, 5 / 6, 1.0])
