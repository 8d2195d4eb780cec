"""Sinkhorn divergences, OTDD, Bures, MMD: against geomloss, POT, scipy, closed forms and float64."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import ot
import pytest
import scipy.linalg
import torch
from geomloss import SamplesLoss

from methods.contract import MethodError
from methods.transport import gaussian, kernels, otdd, sinkhorn
from tests.plain_otdd import label_distances, labelled_clouds, plain_otdd
from tests.test_speed import Watch


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0))


def ours(source, source_labels, target, target_labels, inner="sinkhorn"):
    target = target.clone().requires_grad_()
    value = otdd.distance(otdd.fix_source(source, source_labels, inner), target, target_labels)
    value.backward()
    return value.detach(), target.grad


def plain(source, source_labels, target, target_labels, inner="sinkhorn"):
    """Value and gradient of the public objective in float64."""
    target = target.double().requires_grad_()
    value = plain_otdd(source.double(), source_labels, target, target_labels, inner)
    value.backward()
    return float(value.detach()), target.grad


def assert_same_gradient(found, expected):
    assert cosine(found, expected) >= 0.9999999
    assert float(found.norm() / expected.norm()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    "case",
    [
        {"n": 300, "m": 40, "dim": 16},
        {"n": 200, "m": 30, "dim": 128, "target_classes": 3},
        {"n": 200, "m": 1, "dim": 8},
        {"n": 1000, "m": 160, "dim": 128},
        {"n": 150, "m": 25, "dim": 8, "source_classes": 2, "target_classes": 5},
        {"n": 200, "m": 30, "dim": 64, "spread": 0.05},
        {"n": 200, "m": 30, "dim": 64, "spread": 3.0},
    ],
    ids=str,
)
def test_otdd_and_its_gradient_equal_the_plain_uncached_computation(case):
    source, source_labels, target, target_labels = labelled_clouds(**case)
    reference, expected = plain(source, source_labels, target, target_labels)
    value, gradient = ours(source, source_labels, target, target_labels)
    assert_same_gradient(gradient, expected)
    # The source's part, computed once, anneals from the source's own width: what is left, the less the more it has.
    assert float(value) == pytest.approx(reference, rel=1e-6 if case["n"] >= 1000 else 1e-3)


def test_otdd_gaussian_and_its_gradient_equal_the_public_objective():
    """Label distances carry their gradient, covariances divide by n − 1."""
    clouds = labelled_clouds(150, 40, 8, 3, 2)
    reference, expected = plain(*clouds, inner="gaussian")
    value, gradient = ours(*clouds, inner="gaussian")
    assert_same_gradient(gradient, expected)
    assert float(value) == pytest.approx(reference, rel=1e-3)


@pytest.mark.parametrize("inner", ["sinkhorn", "gaussian"])
@pytest.mark.parametrize("offset", [1e3, 1e4])
def test_clouds_far_from_the_origin_are_as_far_apart_as_near_it(offset, inner):
    source, source_labels, target, target_labels = labelled_clouds(150, 40, 8, 3, 2)
    source, target = (torch.round(1024 * cloud) / 1024 for cloud in (source, target))  # which an offset leaves as it is
    value, gradient = ours(source, source_labels, target, target_labels, inner)
    far, far_gradient = ours(source + offset, source_labels, target + offset, target_labels, inner)
    assert float(far) == pytest.approx(float(value), rel=1e-4)
    assert_same_gradient(far_gradient, gradient)


@pytest.mark.parametrize("inner", ["sinkhorn", "gaussian"])
@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_clouds_ever_so_far_apart_have_the_gradient_of_the_public_objective(scale, inner):
    source, source_labels, target, target_labels = labelled_clouds(150, 40, 8, 3, 2)
    clouds = scale * source, source_labels, scale * target, target_labels
    reference, expected = plain(*clouds, inner=inner)
    value, gradient = ours(*clouds, inner=inner)
    assert_same_gradient(gradient, expected)
    assert float(value) == pytest.approx(reference, rel=1e-5)


def test_otdd_does_not_depend_on_the_order_or_the_numbers_of_the_classes():
    source, source_labels, target, target_labels = labelled_clouds(60, 21, 8, 4, 3)
    value, gradient = ours(source, source_labels, target, target_labels)
    g = torch.Generator().manual_seed(3)
    shuffle, back = torch.randperm(60, generator=g), torch.randperm(21, generator=g)
    other, other_gradient = ours(source[shuffle], 7 * source_labels[shuffle] + 3, target[back], 9 - target_labels[back])
    assert float(other) == pytest.approx(float(value), rel=1e-5)
    torch.testing.assert_close(other_gradient, gradient[back], rtol=1e-3, atol=1e-5)


def test_label_distances_equal_geomloss_pair_by_pair():
    source, source_labels, target, target_labels = labelled_clouds(120, 40, 12, 4, 3)
    found = otdd.label_distances(otdd.fix_source(source, source_labels), target, target_labels)
    torch.testing.assert_close(
        found, label_distances(source, source_labels, target, target_labels), rtol=1e-4, atol=1e-4
    )


def test_the_divergence_equals_exact_transport_within_the_entropic_bias():
    """|S_ε − W²| of a debiased divergence is below ε·log(n) for n points; ε is 0.1 on the cost ‖x − y‖²."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 5, generator=generator), 0.5 + torch.randn(12, 5, generator=generator)
    labels = torch.zeros(12, dtype=torch.long)
    # A second class far away, only because a source has at least two.
    points, both = torch.cat([x, x + 30]), torch.cat([labels, labels + 1])
    found = float(otdd.label_distances(otdd.fix_source(points, both), y, labels)[0, 0])
    exact = ot.emd2([], [], ot.dist(x.double().numpy(), y.double().numpy()))
    assert abs(found - exact) <= 0.1 * math.log(12)
    assert found > 0.5 * exact  # the bias is small against what is measured


def test_otdd_equals_exact_transport_of_the_labelled_cost_within_the_entropic_bias():
    """The inner bias enters with a half, and the outer one with ε·log(max(n, m))."""
    source, source_labels, target, target_labels = labelled_clouds(24, 12, 4, 2, 2)
    inner = np.zeros((2, 2))
    for i in range(2):
        for j in range(2):
            a, b = source[source_labels == i].double().numpy(), target[target_labels == j].double().numpy()
            inner[i, j] = ot.emd2([], [], ot.dist(a, b))
    cost = ot.dist(source.double().numpy(), target.double().numpy()) / 2
    cost += inner[source_labels.numpy()][:, target_labels.numpy()] / 2
    exact = ot.emd2([], [], cost)
    found = float(ours(source, source_labels, target, target_labels)[0])
    assert abs(found - exact) <= 0.5 * 0.1 * math.log(12) + 0.1 * math.log(24)
    assert found > 0.5 * exact


def test_otdd_of_a_source_to_itself_is_zero():
    source, labels, _, _ = labelled_clouds(60, 1, 6, 3)
    value, gradient = ours(source, labels, source, labels)
    assert abs(float(value)) < 2e-3  # what the different annealing of the cached part leaves
    assert float(gradient.abs().max()) < 1e-4


def test_a_step_against_the_gradient_brings_the_sets_closer():
    source, source_labels, target, target_labels = labelled_clouds(80, 20, 8, 4)
    value, gradient = ours(source, source_labels, target, target_labels)
    closer, _ = ours(source, source_labels, target - 5 * gradient, target_labels)
    assert closer < value


def test_the_difference_of_pulls_is_the_gradient_that_geomloss_finds_by_autograd():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(40, 3, generator=generator), torch.randn(15, 3, generator=generator) + 1
    reference = SamplesLoss("sinkhorn", p=2, blur=sinkhorn.BLUR, scaling=0.5, backend="tensorized")
    moved = y.clone().requires_grad_()
    reference(x, moved).backward()
    width = sinkhorn.diameters(sinkhorn.box(x)[None], sinkhorn.box(y)[None])[0][0]
    pulls = []
    for cloud in (y, x):
        cost = sinkhorn.squared_distances(cloud, y) / 2
        a, b = torch.full((len(cloud),), 1 / len(cloud)), torch.full((15,), 1 / 15)
        plan = sinkhorn.transport(cost, a, b, sinkhorn.epsilon_schedule(width))
        pulls.append(sinkhorn.conditional(cost, a, plan.f_before, sinkhorn.BLUR**2).T @ cloud)
    torch.testing.assert_close((pulls[0] - pulls[1]) / 15, moved.grad, rtol=1e-4, atol=1e-6)


def test_an_iteration_whose_kernel_vanishes_falls_back_to_log_sum_exp():
    generator = torch.Generator().manual_seed(0)
    cost = 1e4 * torch.rand(30, 20, generator=generator)
    a, b = torch.full((30,), 1 / 30), torch.full((20,), 1 / 20)
    calls = []
    real, torch.logsumexp = torch.logsumexp, lambda *args, **kw: calls.append(1) or real(*args, **kw)
    try:
        plan = sinkhorn.transport(cost, a, b, [100.0, 1.0, 0.1])
    finally:
        torch.logsumexp = real
    safe = sinkhorn.transport(cost.double(), a.double(), b.double(), [100.0, 1.0, 0.1])
    assert calls
    torch.testing.assert_close(plan.f, safe.f.float(), rtol=1e-4, atol=1e-1)


@pytest.mark.parametrize("spread, again", [(1.0, False), (100.0, True)])
def test_a_device_that_the_host_waits_for_is_asked_once_and_answers_the_same(spread, again, monkeypatch):
    """To the bit; where a kernel has vanished the transport is done a second time, and asks at every step."""
    x, y = (spread * torch.randn(n, 6, generator=torch.Generator().manual_seed(n)) for n in (40, 30))
    cost, schedule = sinkhorn.squared_distances(x, y), sinkhorn.epsilon_schedule(20.0 * spread)
    a, b = torch.full((40,), 1 / 40), torch.full((30,), 1 / 30)
    expected = sinkhorn.transport(cost, a, b, schedule)
    monkeypatch.setattr(sinkhorn, "FREE_TO_READ", ())
    with Watch() as watch:
        found = sinkhorn.transport(cost, a, b, schedule)
    assert all(torch.equal(getattr(found, f.name), getattr(expected, f.name)) for f in dataclasses.fields(found))
    assert (len(watch.seen) > len(schedule)) == again and len(watch.seen) >= 2
    assert again or len(watch.seen) == 2  # the sums, and whether the duals are finite


def test_the_schedule_is_that_of_geomloss():
    from geomloss._legacy.sinkhorn_divergence import epsilon_schedule

    for width in (0.5, 3.0, 17.0, 300.0):
        assert sinkhorn.epsilon_schedule(width) == pytest.approx(
            epsilon_schedule(2, width, sinkhorn.BLUR, 0.5), rel=1e-9
        )
    assert sinkhorn.epsilon_schedule(0.0) == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("sizes", [(40, 60), (5, 40), (1, 1), (200, 3)])
def test_bures_equals_the_closed_form_with_scipys_matrix_root(sizes):
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(6, 6, generator=generator)
    x = torch.randn(sizes[0], 6, generator=generator) @ mix
    y = torch.randn(sizes[1], 6, generator=generator) + 1
    a, b = (np.cov(z.double().numpy(), rowvar=False, bias=len(z) == 1).reshape(6, 6) for z in (x, y))
    root = scipy.linalg.sqrtm(a + 1e-14 * np.eye(6))
    cross = scipy.linalg.sqrtm(root @ b @ root + 1e-14 * np.eye(6)).real
    means = float((x.double().mean(0) - y.double().mean(0)).square().sum())
    expected = means + np.trace(a) + np.trace(b) - 2 * np.trace(cross)
    assert float(gaussian.wasserstein2(x, y)) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_bures_equals_pot():
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(80, 5, generator=generator), 2 * torch.randn(70, 5, generator=generator) + 1
    moments = [(z.mean(0), torch.cov(z.T)) for z in (x.double(), y.double())]
    (mean_x, cov_x), (mean_y, cov_y) = moments
    pot = float(ot.gaussian.bures_wasserstein_distance(*(t.numpy() for t in (mean_x, mean_y, cov_x, cov_y)))) ** 2
    assert float(gaussian.wasserstein2(x, y)) == pytest.approx(pot, rel=1e-6)


def test_otdd_gaussian_uses_the_bures_label_distances():
    source, source_labels, target, target_labels = labelled_clouds(60, 20, 6, 3, 2)
    fixed = otdd.fix_source(source, source_labels, "gaussian")
    expected = gaussian.wasserstein2(source[source_labels == 1], target[target_labels == 0])
    assert float(otdd.label_distances(fixed, target, target_labels)[1, 0]) == pytest.approx(float(expected), rel=1e-5)
    value, gradient = ours(source, source_labels, target, target_labels, "gaussian")
    assert float(value) > 0 and bool(torch.isfinite(gradient).all())


def test_mmd_equals_a_loop_over_all_pairs_in_float64():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    y = torch.randn(7, 3, generator=generator, dtype=torch.float64) + 0.5
    both = torch.cat([x, y])
    pairs = [float((p - q) @ (p - q)) for p in both for q in both]
    width = sum(pairs) / (14 * 13)

    def mean_kernel(us, vs):
        total = sum(
            math.exp(-float((u - v) @ (u - v)) / (width * 2.0**k)) for u in us for v in vs for k in range(-2, 3)
        )
        return total / (len(us) * len(vs))

    expected = mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)
    assert float(kernels.mmd(x, y)) == pytest.approx(expected, rel=1e-9)
    assert float(kernels.mmd(x, x)) == pytest.approx(0, abs=1e-12)


def test_mean_distance_equals_scipy():
    from scipy.spatial.distance import cdist

    x, y = np.random.default_rng(0).normal(size=(2, 9, 4))
    assert float(kernels.mean_distance(torch.from_numpy(x), torch.from_numpy(y))) == pytest.approx(cdist(x, y).mean())


@pytest.mark.parametrize("objective", [kernels.mmd, kernels.mean_distance])
def test_an_offset_changes_neither_of_the_simple_objectives(objective):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.round(64 * torch.randn(40, 8, generator=generator)) / 64 for _ in range(2))
    assert float(objective(x + 4096, y + 4096)) == pytest.approx(float(objective(x, y)), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("labels", [[0] * 6, [0, 0, 0, 0, 0, 1], [0, 1, 2, 3, 4, 5]])
def test_a_source_with_too_few_classes_is_refused(labels):
    with pytest.raises(MethodError, match=r"at least two classes"):
        otdd.fix_source(torch.randn(6, 3), torch.tensor(labels))


def test_a_source_class_with_one_sample_is_left_out():
    source, source_labels, target, target_labels = labelled_clouds(30, 8, 4, 3)
    alone = otdd.fix_source(source, source_labels)
    more = otdd.fix_source(torch.cat([source, 50 * torch.ones(1, 4)]), torch.cat([source_labels, torch.tensor([9])]))
    assert len(more.cloud.rows) == 3
    assert float(otdd.distance(more, target, target_labels)) == float(otdd.distance(alone, target, target_labels))


@pytest.mark.parametrize("inner", ["sinkhorn", "gaussian"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_features_that_are_not_finite_end_in_one_message(bad, inner):
    source, source_labels, target, target_labels = labelled_clouds(30, 8, 4, 3)
    target[3, 1] = bad
    with pytest.raises(MethodError, match="lower its learning rate"):
        otdd.distance(otdd.fix_source(source, source_labels, inner), target, target_labels)


@pytest.mark.parametrize("inner", ["sinkhorn", "gaussian"])
def test_features_too_far_apart_for_float32_end_in_one_message(inner):
    source, source_labels, target, target_labels = labelled_clouds(30, 8, 4, 3)
    with pytest.raises(MethodError, match=r"not finite|cannot be computed"):
        otdd.distance(otdd.fix_source(source, source_labels, inner), 1e25 * target, target_labels)
