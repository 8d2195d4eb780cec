"""What the paper protocol computes is what published code computes: the values of a comparison with that code."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench import plan, registry
from bench.cell.scoring import metric_names
from bench.models.embedders import patch_length
from bench.plan import Cell
from bench.settings import ModelSettings
from tasks.metrics import METRICS

TASKS = registry.tasks().items
TOKENS = {
    "ecg": 50, "satellite": 46, "deepsea": 500, "advection": 256, "cfd_1d": 128, "diffusion_reaction_1d": 256,
    "diffusion_sorption": 32, "burgers": 512,
}  # fmt: skip
"""Tokens that the published 1D embedders make; Burgers' is cut for the 256 points that published code declares."""
PAPER_TEST = {"ecg": 33_500, "satellite": 100_000}
"""Test samples where `paper` cuts the test set otherwise than the published sizes say; ECG's are about as many."""


@pytest.mark.parametrize("name", TASKS)
def test_every_paper_cell_takes_what_published_code_does(name):
    task = TASKS[name]
    for method, start in (("vanilla", "published_untrained"), ("orca", "published"), ("mona", "published")):
        settings = plan.resolve(Cell(name, method, task.backbone, protocol="paper"))
        assert (settings.trainer.precision, settings.trainer.accumulate) == ("fp32", "published_sum")
        assert (settings.model.dense_head, settings.model.embedder_init) == ("pooled", start)
        assert not settings.model.antialias
        assert settings.model.drop_path == (0.1 if task.modality == "vision" else 0.0)
    if task.modality == "text":
        length, most = task.input_shape[-1], settings.model.target_seq_len
        assert length // patch_length(length, most) == TOKENS[name]


def test_strict_cells_take_none_of_it_and_keep_their_ids():
    for name, task in TASKS.items():
        settings = plan.resolve(Cell(name, "mona", task.backbone))
        assert settings.model == ModelSettings(target_seq_len=task.recipe.get("model.target_seq_len", 512))
        assert settings.trainer.accumulate == "mean"
    assert Cell("ecg", "vanilla", "minilm").id == "479fe27e7efedf0b"


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
    for seed in range(3):  # another permutation than the one that stands for published code's
        rows = np.random.default_rng(seed).permutation(len(pred))
        assert abs(METRICS["f1_error_windows_chunks_1000"](pred[rows], target[rows]) - shuffled) < 1e-3
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
