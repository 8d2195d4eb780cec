"""The constant that is best for a metric on training data, against a search by the metric itself."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from bench.cell.scoring import metric_names, trivial_scores
from bench.registry import tasks
from bench.standins import generate, standin_root
from tasks.contract import ArraySplit, Request
from tasks.metrics import METRICS
from tasks.trivial import BEST_CONSTANT, PREDICTORS, median_field


def read(shared_data, name, protocol="strict"):
    generate(tasks()[name], shared_data, "tiny")
    return tasks()[name].read(Request(standin_root(shared_data, "tiny"), protocol))


def split_of(y):
    return ArraySplit(np.zeros((len(y), 1, 2), np.float32), y.astype(np.float32))


@pytest.mark.parametrize("metric", ["nrmse", "relative_l2"])
def test_the_median_field_is_where_a_search_by_the_metric_ends(metric):
    rng = np.random.default_rng(0)
    y = rng.lognormal(size=(40, 1, 1, 3)) * rng.lognormal(0, 1.5, size=(40, 1, 1, 1))
    train = split_of(y)

    def error(field):
        return METRICS[metric](np.broadcast_to(field.reshape(1, 1, 3), y.shape), y, {})

    found = minimize(error, y.mean(0).ravel(), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12})
    ours = error(median_field(train, train, (1, 1, 3))[0])
    assert found.fun <= ours < 1.01 * found.fun < 0.9 * error(y.mean(0))


def test_the_median_field_survives_targets_that_are_zero_or_all_the_same():
    same = split_of(np.ones((4, 1, 2)))
    np.testing.assert_array_equal(median_field(same, same, (1, 2)), np.ones((4, 1, 2)))
    some_zero = split_of(np.concatenate([np.zeros((2, 1, 2)), np.ones((3, 1, 2))]))
    np.testing.assert_allclose(median_field(some_zero, some_zero, (1, 2))[0], 1, rtol=1e-3)


@pytest.mark.parametrize("protocol", ["strict", "paper"])
def test_no_distance_is_better_than_the_contact_distance_on_training_proteins(shared_data, protocol):
    data = read(shared_data, "psicov", protocol)
    batch = data.train.batch(np.arange(len(data.train)), None)
    constant = float(PREDICTORS["contact_distance"](data.train, data.train, (1, 1, 1))[0, 0, 0, 0])
    errors = {
        c: METRICS["mae8"](np.full(batch.y.shape, c), batch.y, batch.extra)
        for c in (*np.arange(1, 8.05, 0.05), constant)
    }
    assert 1 <= constant <= 8 and errors[constant] == min(errors.values())


@pytest.mark.parametrize(("task", "best"), [("psicov", "contact_distance"), ("cosmic", "persistence")])
def test_what_learns_nothing_and_still_beats_the_mean_is_the_floor(shared_data, task, best):
    data = read(shared_data, task)
    found = trivial_scores(tasks()[task], data, metric_names(tasks()[task], "strict"))
    assert found["name"] == best and found["score"] < 0.5 * found["all"][tasks()[task].trivial]


def test_every_best_constant_is_of_a_metric_and_a_predictor_that_exist():
    assert set(BEST_CONSTANT) <= set(METRICS) and set(BEST_CONSTANT.values()) <= set(PREDICTORS)
