"""The nine PDE tasks against the published tables: suites, splits, settings, metrics, defects."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.cell.scoring import trivial_scores
from bench.settings import resolve
from methods.contract import Method
from tasks.contract import Request
from tasks.trivial import PREDICTORS, names_for
from tests.pde_helpers import NAMES, TASKS, tiny

# name: optimiser, lr, weight decay, momentum, epochs, warm-up, clip, target_seq_len, loss, backbone
PUBLISHED = {
    "advection": ("adam", 1e-4, 1e-5, None, 200, 5, 1.0, 512, "nrmse", "roberta_base"),
    "burgers": ("adam", 1e-5, 1e-5, None, 200, 5, 1.0, 128, "rmse", "roberta_base"),
    "cfd_1d": ("adamw", 1e-4, 1e-3, None, 200, 5, 1.0, 128, "rmse", "roberta_base"),
    "diffusion_reaction_1d": ("sgd", 1e-3, 1e-5, 0.99, 200, 5, 1.0, 256, "nrmse", "roberta_base"),
    "diffusion_sorption": ("adamw", 1e-4, 0.0, None, 200, 5, 1.0, 32, "nrmse", "roberta_base"),
    "darcy_pdebench": ("adamw", 1e-4, 1e-5, None, 100, 5, None, None, "nrmse", "swin_base"),
    "shallow_water": ("adamw", 1e-4, 0.0, None, 200, 10, 1.0, None, "nrmse", "swin_base"),
    "diffusion_reaction_2d": ("adam", 1e-4, 1e-3, None, 200, 5, 1.0, None, "nrmse", "swin_base"),
    "cfd_2d": ("adamw", 1e-3, 1e-3, None, 200, 5, 1.0, None, "nrmse", "swin_base"),
}
SHAPES = {
    "advection": (1, 256), "burgers": (1, 1024), "cfd_1d": (1, 3072), "diffusion_reaction_1d": (1, 1024),
    "diffusion_sorption": (1, 1024), "darcy_pdebench": (1, 64, 64), "shallow_water": (1, 128, 128),
    "diffusion_reaction_2d": (1, 128, 128), "cfd_2d": (4, 64, 64),
}  # fmt: skip
FILES = {
    "advection": "1D_Advection_Sols_beta0.4.hdf5",
    "burgers": "1D_Burgers_Sols_Nu1.0.hdf5",
    "cfd_1d": "1D_CFD_Rand_Eta0.1_Zeta0.1_periodic_Train.hdf5",
    "diffusion_reaction_1d": "ReacDiff_Nu0.5_Rho1.0.hdf5",
    "diffusion_sorption": "1D_diff-sorp_NA_NA.h5",
    "darcy_pdebench": "2D_DarcyFlow_beta0.1_Train.hdf5",
    "shallow_water": "2D_rdb_NA_NA.h5",
    "diffusion_reaction_2d": "2D_diff-react_NA_NA.h5",
    "cfd_2d": "2D_CFD_Rand_M1.0_Eta0.1_Zeta0.1_periodic_128_Train.hdf5",
}


@pytest.mark.parametrize("name", NAMES)
def test_settings_shape_file_and_sizes_are_the_published_ones(name):
    task, recipe = TASKS[name], TASKS[name].recipe
    optimizer, lr, decay, momentum, epochs, warmup, clip, tokens, loss, backbone = PUBLISHED[name]
    assert (recipe["trainer.optimizer"], recipe["trainer.lr"], recipe["trainer.weight_decay"]) == (optimizer, lr, decay)
    assert recipe.get("trainer.momentum") == momentum and recipe.get("trainer.clip") == clip
    assert (recipe["trainer.epochs"], recipe["trainer.warmup_epochs"]) == (epochs, warmup)
    assert (recipe["trainer.decay_epochs"], recipe["trainer.batch_size"]) == (200, 4)
    assert (recipe["stage1.epochs"], recipe["stage1.max_samples"]) == (60, 128)
    assert recipe.get("model.target_seq_len") == tokens
    assert (task.loss, task.backbone, task.input_shape) == (loss, backbone, SHAPES[name])
    assert task.output_shape == task.input_shape
    assert Path(task.files[0].path).name == FILES[name] and task.files[0].checksum.startswith("md5:")
    thousand = name in ("shallow_water", "diffusion_reaction_2d")
    sizes = {"train": 810, "val": 90, "test": 100} if thousand else {"train": 8100, "val": 900, "test": 1000}
    assert dict(task.splits) == sizes
    grouped = thousand or name == "diffusion_sorption"
    assert task.split_policy.startswith("pdebench-last10" if grouped else "pdebench-first10")


@pytest.mark.parametrize("name", NAMES)
def test_the_quick_schedule_ends_at_zero_and_sizes_are_arguments_of_the_generator(name):
    task = TASKS[name]
    settings = resolve(Method, task.recipe, task.quick)
    assert settings.trainer.decay_epochs == settings.trainer.epochs <= 12
    assert resolve(Method, task.recipe).stage1.epochs == 60
    write = importlib.import_module(task.generate.__module__).write
    arguments = set(inspect.signature(write).parameters) - {"path"}
    assert set(task.sizes) == {"published", "quick", "tiny"} | ({"converged"} if task.converged is not None else set())
    assert all(set(size) == arguments for size in task.sizes.values())


def test_suites():
    suites = {name: TASKS[name].suites for name in NAMES}
    assert [n for n in NAMES if "pdebench" in suites[n]] == [n for n in NAMES if n != "cfd_2d"]
    assert [n for n in NAMES if "quick" in suites[n]] == ["advection", "darcy_pdebench"]


@pytest.mark.parametrize("name", NAMES)
def test_defects_licence_and_citation_are_stated(name):
    task = TASKS[name]
    words = {
        "advection": ("October 2023", "numerical diffusion"),
        "burgers": ("Frozen", "(-1, 1)", "1 x 256"),
        "diffusion_reaction_1d": ("float32", "Frozen", "frame 29 and tests on frame 99"),
        "diffusion_sorption": ("stiff", "frame 100 and tests on frame 99"),
        "cfd_1d": ("z-scores", "end to end", "keys are re-used", "2.4 %"),
        "darcy_pdebench": ("no steady states", "t = 1.75"),
        "shallow_water": ("0023", "frame 100 and tests on frame 99"),
        "diffusion_reaction_2d": ("Nearly unlearnable", "(t, y, x, c)"),
        "cfd_2d": ("first 100 samples", "rank 3"),
    }[name]
    said = " ".join(task.defects)
    assert all(word in said for word in words)
    assert "CC BY 4.0" in task.licence and "arXiv:2210.07182" in task.citation and "stand-in" in task.source


def test_reading_the_task_list_imports_nothing_heavy():
    names = ", ".join(f"tasks.{name}" for name in NAMES)
    code = f"import sys, {names}; print([m for m in ('torch', 'numpy', 'h5py', 'scipy') if m in sys.modules])"
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_settled_solution_is_told_by_the_input_mean_beside_the_training_mean(tmp_path):
    """Burgers at nu = 1 ends at its input's mean: the training mean alone would let any model look good."""
    tiny("burgers", tmp_path)
    data = TASKS["burgers"].read(Request(tmp_path))
    trivial = trivial_scores(TASKS["burgers"], data, ["nrmse", "rmse"])
    assert list(trivial["all"]) == ["mean", "median_field", "persistence", "input_mean"]
    assert trivial["all"]["mean"] > 0.5 and trivial["all"]["input_mean"] < 1e-3
    assert (trivial["name"], trivial["score"]) == ("input_mean", trivial["all"]["input_mean"])
    assert trivial["metrics"]["nrmse"]["value"] == trivial["score"] and trivial["metrics"]["rmse"]["value"] < 1e-3


def test_persistence_is_in_the_units_of_the_target_where_inputs_are_standardised(tmp_path):
    tiny("cfd_1d", tmp_path)
    data = TASKS["cfd_1d"].read(Request(tmp_path))
    stored, given = data.test.x, data.test.batch(np.arange(len(data.test)), None).x
    assert not np.allclose(stored, given)
    for name, expected in (("persistence", stored), ("input_mean", stored.mean(axis=2, keepdims=True) + 0 * stored)):
        assert np.allclose(PREDICTORS[name](data.train, data.test, data.output_shape), expected)
    assert names_for("mean", "rmse", (3, 85, 85), (1, 85, 85)) == ("mean",)
    assert names_for("mean", "relative_l2", (3, 85, 85), (1, 85, 85)) == ("mean", "median_field")
    assert names_for("majority", "error", (3, 8, 8), (10,)) == ("majority",)
