"""One stage-1 update of ORCA against the plain computation of the same gradient, on one thread, in one run.

`update` is one target class against 5,000 source samples, as the public code calls OTDD: 128 features and 160 targets
for images, 768 and 132 for text. The ladder undoes, one at a time, what the shipped transport does.
`epoch` is the transport of ten classes, as every epoch of stage 1 has it; `batched` does their outer loops at once.
"""

from __future__ import annotations

import math
import time

import pytest
import torch

from benchmarks.interleaved import cpu_seconds, table
from methods.transport import otdd, sinkhorn
from tests.plain_otdd import labelled_clouds, plain_otdd

SHAPES = {"image": {"n": 5000, "m": 160, "dim": 128}, "text": {"n": 5000, "m": 132, "dim": 768}}


@pytest.fixture(autouse=True)
def one_thread():
    """One thread, so that ratios do not hang on how many cores are free."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def gradient(value, target):
    """The gradient in the target features."""
    return torch.autograd.grad(value, target)[0]


def two_log_sum_exps(cost, a, b, f, g, eps, kernel, read):
    """Soft minima as geomloss has them: a log-sum-exp per direction."""
    rows = -eps * torch.logsumexp((b.log() + g / eps) - cost / eps, 1)
    return rows, -eps * torch.logsumexp((a.log() + f / eps)[:, None] - cost / eps, 0)


def one_exp(cost, a, b, f, g, eps, kernel, read):
    """One kernel for both directions, with exp instead of exp2."""
    torch.add((f / eps)[:, None], cost, alpha=-1 / eps, out=kernel).add_(g / eps).exp_()
    return f - eps * (kernel @ b).log(), g - eps * (kernel.T @ a).log()


def with_soft_minima(replacement, run):
    """`run` with another inner loop in the transport."""

    def replaced():
        shipped, sinkhorn._soft_minima = sinkhorn._soft_minima, replacement
        try:
            return run()
        finally:
            sinkhorn._soft_minima = shipped

    return replaced


def with_schedule(change, run):
    """`run` with the list of temperatures that `change` makes of the published schedule's function and the width."""

    def replaced():
        shipped = sinkhorn.epsilon_schedule
        sinkhorn.epsilon_schedule = lambda width: change(shipped, width)
        try:
            return run()
        finally:
            sinkhorn.epsilon_schedule = shipped

    return replaced


@pytest.mark.parametrize("shape", SHAPES)
def test_one_update_against_the_plain_computation(benchmark, shape):
    """The ladder of computations of one update, each with its time and how far its gradient is off."""
    source, source_labels, target, target_labels = labelled_clouds(**SHAPES[shape])
    target.requires_grad_()
    start = time.process_time()
    fixed = otdd.fix_source(source, source_labels)
    once = time.process_time() - start

    def shipped():
        return gradient(otdd.distance(fixed, target, target_labels), target)

    def plain():
        return gradient(plain_otdd(source, source_labels, target, target_labels), target)

    ladder = {
        "source cached": with_soft_minima(two_log_sum_exps, shipped),
        "+ one exp for both": with_soft_minima(one_exp, shipped),
        "+ powers of two": shipped,
        "(fewer ε: scaling 0.25)": with_schedule(lambda published, width: published(width, scaling=0.25), shipped),
        # What a warm start approaches: the duals that 200 iterations more arrive at.
        "(200 iterations more)": with_schedule(lambda published, width: published(width) + 200 * [0.1], shipped),
    }
    reference = plain()
    start = time.process_time()
    plain()
    seconds = {"plain": time.process_time() - start, **cpu_seconds(ladder, rounds=5)}
    rows = {"plain": {"CPU ms": 1e3 * seconds["plain"], "times faster": 1.0, "1 - cosine": 0.0, "norm ratio - 1": 0.0}}
    for name, run in ladder.items():
        found = run()
        rows[name] = {
            "CPU ms": 1e3 * seconds[name],
            "times faster": seconds["plain"] / seconds[name],
            "1 - cosine": 1 - float(torch.cosine_similarity(found.double().flatten(), reference.double().flatten(), 0)),
            "norm ratio - 1": float(found.norm() / reference.norm()) - 1,
        }
    print(table(rows))
    benchmark.extra_info |= {"ladder": rows, "fix_source_cpu_seconds": once, "threads": 1}
    benchmark.pedantic(shipped, rounds=5, iterations=1)
    final = rows["+ powers of two"]
    assert final["times faster"] >= 25
    assert final["1 - cosine"] <= 1e-6 and abs(final["norm ratio - 1"]) <= 1e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_the_transport_of_an_epoch_of_ten_classes(benchmark, shape):
    """Ten transports in turn from one fixed source."""
    source, source_labels, target, _ = labelled_clouds(**SHAPES[shape])
    fixed = otdd.fix_source(source, source_labels)
    one_class = torch.zeros(len(target), dtype=torch.long)

    def epoch():
        for c in range(10):
            otdd.value_and_gradient(fixed, target + 0.1 * c, one_class)

    benchmark.pedantic(epoch, rounds=3, iterations=1, warmup_rounds=1)
    benchmark.extra_info |= {"classes": 10, "threads": 1}


def batched(costs, a, b, schedule):
    """The duals of `sinkhorn.transport` for all `costs` (K, N, M) in one loop."""
    f, g, kernel = costs.new_zeros(costs.shape[:2]), costs.new_zeros(costs.shape[::2]), torch.empty_like(costs)

    def soft_minima(eps):
        unit = eps * math.log(2)
        torch.add((f / unit)[:, :, None], costs, alpha=-1 / unit, out=kernel).add_((g / unit)[:, None]).exp2_()
        return f - unit * (kernel @ b).log2(), g - unit * (kernel.transpose(1, 2) @ a).log2()

    f, g = soft_minima(schedule[0])
    for eps in schedule:
        f_new, g_new = soft_minima(eps)
        f, g = f.lerp(f_new, 0.5), g.lerp(g_new, 0.5)
    return soft_minima(schedule[-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_outer_loops_of_ten_classes_at_once_and_one_by_one(benchmark, shape):
    """Whether one batch of ten classes is faster than ten of one."""
    source, _, target, _ = labelled_clouds(**SHAPES[shape])
    moved = [target + 0.1 * c for c in range(10)]
    costs = torch.stack([sinkhorn.squared_distances(source, t) / 2 for t in moved])
    a, b = torch.full((len(source),), 1 / len(source)), torch.full((len(target),), 1 / len(target))
    schedule = sinkhorn.epsilon_schedule(float((2 * costs.max()).sqrt()))

    def one_by_one():
        return [sinkhorn.transport(cost, a, b, schedule) for cost in costs]

    seconds = cpu_seconds({"one by one": one_by_one, "batched": lambda: batched(costs, a, b, schedule)}, rounds=3)
    rows = {name: {"CPU ms": 1e3 * s, "of one by one": s / seconds["one by one"]} for name, s in seconds.items()}
    print(table(rows))
    benchmark.extra_info |= {"classes": 10, "threads": 1, "loops": rows}
    benchmark.pedantic(one_by_one, rounds=1, iterations=1)
    torch.testing.assert_close(
        batched(costs, a, b, schedule)[1], torch.stack([plan.g for plan in one_by_one()]), rtol=1e-4, atol=1e-3
    )
