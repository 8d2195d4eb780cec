"""PaRe: its draw beside torch's Gumbel-softmax, its mixture by hand, its loss by hand, and its curriculum."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from methods.contract import MethodError, Position
from methods.pare import Pare, drawn_top, top
from tests.fake_context import fake_context


def prepared(**options):
    method, context = Pare(**options), fake_context()
    method.prepare(context)
    return method, context


def loss(method, context, seed=0):
    """Of the first eight samples, with the source samples and the noise of a seed."""
    torch.manual_seed(seed)
    batch = context.batch(range(8))
    return method.loss(context, context.model(batch.x), batch)


def test_a_single_draw_is_the_straight_through_gumbel_softmax():
    """Of torch: the same choice and the same gradient, from the same noise."""
    scores, upstream = torch.randn(5, 7), torch.randn(5, 7)
    found, expected = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    torch.manual_seed(1)
    ours = drawn_top(found, 1, 0.9)
    torch.manual_seed(1)
    theirs = F.gumbel_softmax(expected, tau=0.9, hard=True)
    assert torch.equal(ours.detach().round(), theirs.detach().round()) and set(ours.unique().tolist()) == {0.0, 1.0}
    (ours * upstream).sum().backward()
    (theirs * upstream).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad)


def test_draws_follow_plackett_and_luce():
    """The chance that the first two of three are drawn: Σ over both orders of w₁ / Σw · w₂ / (Σw − w₁), w = exp(score)."""
    w = torch.tensor([3.0, 2.0, 1.0])
    torch.manual_seed(0)
    drawn = drawn_top(w.log().repeat(20_000, 1), 2, 0.9)
    expected = 3 / 6 * 2 / 3 + 2 / 6 * 3 / 4
    assert bool((drawn.sum(1) == 2).all())
    assert float((drawn[:, :2].sum(1) == 2).float().mean()) == pytest.approx(expected, abs=0.015)


TARGET = torch.arange(4.0)[None, :, None] + 1  # 1 2 3 4
SOURCE = -10.0 * (torch.arange(3.0)[None, :, None] + 1)  # -10 -20 -30


def by_hand(value):
    """A gate that values a target token as it is, and a source token the less the larger it is."""
    return value.abs() / 100


@pytest.mark.parametrize(
    ("deterministic", "expected"), [("as_paper", [-20, -30, 3, 4]), ("as_code", [1, 2, -20, -30])], ids=str
)
def test_the_later_phase_replaces_the_worst_tokens_or_as_the_code_the_best(deterministic, expected):
    mixed = Pare(deterministic=deterministic).mix(by_hand, TARGET, SOURCE, 2, noisy=False)
    assert mixed.flatten().tolist() == expected


def test_with_noise_the_kept_stay_in_place_and_the_taken_come_in_their_order():
    torch.manual_seed(0)
    mixed = Pare().mix(by_hand, TARGET.expand(64, -1, -1), SOURCE.expand(64, -1, -1), 2, noisy=True).squeeze(2)
    kept = mixed > 0
    assert bool((kept.sum(1) == 2).all()) and len(mixed.unique(dim=0)) > 6
    assert bool((mixed[kept] == TARGET.flatten().expand(64, -1)[kept]).all())
    taken = mixed[~kept].view(64, 2)
    assert bool((taken[:, 0] > taken[:, 1]).all())


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("noisy", [True, False])
def test_none_or_all_of_the_source_exchanged(count, noisy):
    mixed = Pare().mix(by_hand, TARGET, SOURCE, count, noisy).flatten().tolist()
    assert mixed == TARGET.flatten().tolist() if count == 0 else [m for m in mixed if m < 0] == [-10, -20, -30]


def test_gradients_reach_gate_target_and_source_head_through_the_draw_and_not_the_gate_later():
    method, context = prepared(gumbel_epochs=1, begin=0.5, end=0.5)
    for epoch, learns in ((0, True), (1, False)):
        context.position = Position(epoch, 2, epoch / 2)
        context.model.zero_grad()
        loss(method, context).backward()
        slope = context.model.gate.weight.grad
        assert (slope is not None and bool(slope.any())) is learns
        assert bool(context.model.source_head.weight.grad.any()) and bool(
            context.model.embedder.project.weight.grad.any()
        )


def test_the_loss_by_hand():
    """Everything with a deterministic mixture, from its definition."""
    method, context = prepared(gumbel_epochs=0, begin=0.25, end=0.25, weight=0.3)
    found, model, batch = loss(method, context), context.model, context.batch(range(8))
    torch.manual_seed(0)
    chosen = torch.randint(len(context.source), (8,)).numpy()
    t, s = model.embedder(batch.x), context.source.tokens(chosen)
    m = t.clone()
    for i in range(8):
        worst = sorted(model.gate(t[i]).flatten().topk(2, largest=False).indices.tolist())
        best = sorted(model.gate(s[i]).flatten().topk(2).indices.tolist())
        m[i, worst] = s[i, best]
    features = model.encoder(m)
    mixed = F.cross_entropy(model.predictor(features), batch.y)
    of_source = F.cross_entropy(model.source_head(features.mean(1)), torch.from_numpy(context.source.labels[chosen]))
    task = F.cross_entropy(model(batch.x), batch.y)
    torch.testing.assert_close(found, task + 0.3 * (0.75 * mixed + 0.25 * of_source))


def test_with_nothing_exchanged_the_loss_is_the_tasks_times_one_and_w():
    method, context = prepared(begin=0.0, end=0.0, weight=1.0)
    batch = context.batch(range(8))
    assert float(loss(method, context).detach()) == pytest.approx(
        2 * float(context.loss(context.model(batch.x), batch).detach()), rel=1e-6
    )


def test_fewer_tokens_are_exchanged_as_training_goes_on():
    method, context = prepared(begin=0.8, end=0.2)
    counts = []
    mix = Pare.mix
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Pare, "mix", lambda self, g, t, s, count, noisy: counts.append(count) or mix(self, g, t, s, count, noisy)
        )
        for done in (0.0, 0.25, 0.5, 0.75, 1.0):
            context.position = Position(int(4 * done), 4, done)
            loss(method, context)
    assert counts == [math.floor(8 * (0.8 - 0.6 * done)) for done in (0.0, 0.25, 0.5, 0.75, 1.0)] == [6, 5, 4, 2, 1]


@pytest.mark.parametrize(
    ("sequence", "dense", "expected"),
    [
        (False, False, (2000, 500, 1.0, 10)),
        (False, True, (1000, 500, 0.3, 10)),
        (True, False, (3136, 0, 0.1, 5)),
        (True, True, (3136, 0, 0.1, 5)),
    ],
)
def test_published_numbers_of_tokens_come_back_on_the_published_body(sequence, dense, expected):
    begin, end, weight, epochs = Pare()._settings(sequence, dense)
    assert (int(56 * 56 * begin), int(56 * 56 * end), weight, epochs) == expected
    assert Pare(begin=0.5, end=0.1, weight=2.0, gumbel_epochs=3)._settings(sequence, dense) == (0.5, 0.1, 2.0, 3)


def test_its_pass_runs_at_the_precision_of_the_cell():
    method, context = prepared()
    context.autocast = lambda: torch.autocast("cpu", dtype=torch.bfloat16)
    seen = []
    context.model.predictor.linear.register_forward_hook(lambda *a: seen.append(a[2].dtype))
    assert loss(method, context).dtype == torch.float32
    assert seen == [torch.float32, torch.bfloat16]  # the first is the test's own


@pytest.mark.parametrize(
    "options", [{"weight": -1.0}, {"begin": 1.5}, {"end": -0.1}, {"gumbel_epochs": -1}, {"tau": 0.0}], ids=str
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(MethodError, match=next(iter(options))):
        Pare(**options).check()


def test_the_top_of_all_and_of_none():
    scores = torch.randn(2, 5)
    assert top(scores, 5).tolist() == [[1.0] * 5] * 2 and top(scores, 0).tolist() == [[0.0] * 5] * 2
