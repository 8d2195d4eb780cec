"""What the paper protocol computes is what published code computes: the values of a comparison with that code."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench import registry
from bench.scoring import metric_names
from tasks.metrics import METRICS

TASKS = registry.tasks().items
PAPER_TEST = {"ecg": 33_500, "satellite": 100_000}
"""Test samples where `paper` cuts the test set otherwise than the published sizes say; ECG's are about as many."""


@pytest.mark.parametrize("name", TASKS)
def test_the_score_is_the_mean_over_the_chunks_that_published_code_makes(name):
    """Chunks close with the batch that brings them to eval_batch_size. With one chunk, or equal ones of a mean over
    samples, the mean over chunks is the score of the whole split; otherwise the metric says how large its chunks are."""
    task = TASKS[name]
    batch, least = task.recipe["trainer.batch_size"], task.recipe["trainer.eval_batch_size"]
    chunk, samples = math.ceil(least / batch) * batch, PAPER_TEST.get(name, task.splits["test"])
    score = metric_names(task, "paper")[0]
    if name == "fsd50k":
        return  # published code scores this one on the whole split
    if "_chunks_" in score:
        assert score.endswith(f"_{chunk}")
    else:
        assert samples <= chunk or samples % chunk == 0


def scored_windows(skill: float, seed: int = 0):
    """Windows of 600 records one after another, as the reader gives them out: rare classes have more of them."""
    rng = np.random.default_rng(seed)
    record = rng.choice(4, 600, p=(0.6, 0.09, 0.28, 0.03))
    target = np.repeat(record, np.array([16, 97, 32, 320])[record])
    right = rng.random(len(target)) < skill
    decided = np.where(right, target, rng.integers(0, 4, len(target)))
    return np.eye(4)[decided], target


@pytest.mark.parametrize("skill", [0.4, 0.6, 0.8])
def test_ecg_is_scored_on_chunks_of_shuffled_windows_not_of_neighbours(skill):
    pred, target = scored_windows(skill)
    whole, shuffled = (METRICS[name](pred, target) for name in ("f1_error_windows", "f1_error_windows_chunks_1000"))
    assert abs(shuffled - whole) < 0.01
    plain = METRICS["f1_error_windows_chunks_1000"].function
    in_order = plain.func(plain.args[0], plain.args[1], False, pred, target, {})
    assert in_order > whole + 0.05, "a record's windows are neighbours, so that a chunk in file order lacks classes"


@pytest.mark.parametrize("name", ["cfd_1d", "cfd_2d"])
def test_scores_of_z_scored_fields_have_names_of_their_own(name):
    task = TASKS[name]
    names = metric_names(task, "paper")
    assert names[0] == "nrmse_normalised" and all(n.endswith("_normalised") for n in names)
    assert all(METRICS[n].unit == "1" for n in names)
    assert not any(n.endswith("_normalised") for n in metric_names(task, "strict"))
    other = {n for t in TASKS.values() if t.name not in ("cfd_1d", "cfd_2d") for p in ("strict", "paper")
             for n in metric_names(t, p)}  # fmt: skip
    assert not any(n.endswith("_normalised") for n in other)
