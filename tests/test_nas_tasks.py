"""What holds for all ten NAS-Bench-360 tasks: specs, shapes, protocols, determinism, marks, trivial scores."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from tasks.contract import ArraySplit, Request
from tasks.files.generated import origin_of
from tasks.files.locate import find
from tasks.losses import LOSSES
from tasks.metrics import METRICS
from tasks.trivial import PREDICTORS
from tests.nas_helpers import NAMES, read, stand_in, task, whole

PUBLISHED = {  # benchmarks table: input, output, train/val/test, metric, backbone
    "cifar100": ((3, 32, 32), (100,), (40_000, 10_000, 10_000), "error", "swin_base"),
    "spherical": ((3, 60, 60), (100,), (40_000, 10_000, 10_000), "error", "swin_base"),
    "ninapro": ((1, 16, 52), (18,), (2_638, 659, 659), "error", "swin_base"),
    "fsd50k": ((1, 96, 101), (200,), (36_796, 4_170, 10_231), "one_minus_map", "swin_base"),
    "darcy_nb360": ((3, 85, 85), (1, 85, 85), (900, 100, 100), "relative_l2", "swin_base"),
    "psicov": ((57, 512, 512), (1, 512, 512), (3_356, 100, 150), "mae8", "swin_base"),
    "cosmic": ((1, 128, 128), (1, 128, 128), (4_347, 483, 420), "one_minus_auroc", "swin_base"),
    "ecg": ((1, 1000), (4,), (261_740, 33_281, 33_494), "f1_error_records", "roberta_base"),
    "satellite": ((1, 46), (24,), (800_000, 100_000, 100_000), "error", "roberta_base"),
    "deepsea": ((4, 1000), (36,), (71_753, 2_490, 149_400), "one_minus_auroc", "roberta_base"),
}
RECIPES = {  # optimiser, lr, wd, batch, accumulation, epochs, stage-1 epochs, warm-up, decay, samples, tokens, clip
    "cifar100": ("sgd", 1e-4, 1e-3, 32, 32, 60, 60, 5, 200, 128, None, None),
    "spherical": ("adamw", 1e-4, 0.1, 32, 4, 60, 60, 5, 60, 128, None, None),
    "darcy_nb360": ("adamw", 1e-3, 5e-3, 4, 1, 100, 60, 5, 100, 128, None, None),
    "psicov": ("adam", 5e-6, 1e-5, 1, 32, 10, 60, 5, 100, 64, None, None),
    "cosmic": ("adamw", 1e-3, 0, 4, 1, 60, 60, 5, 60, 128, None, None),
    "ninapro": ("adam", 1e-4, 1e-5, 32, 1, 60, 100, 5, 60, 128, None, 1),
    "fsd50k": ("adam", 1e-4, 5e-5, 32, 1, 100, 60, 5, 100, 128, None, None),
    "ecg": ("sgd", 1e-6, 0.1, 4, 16, 15, 60, 5, 200, 128, 64, None),
    "satellite": ("adamw", 3e-5, 3e-6, 16, 4, 60, 60, 5, 60, 128, 512, None),
    "deepsea": ("adam", 1e-5, 0, 16, 1, 13, 60, 10, 25, 64, 512, 1),
}


@pytest.mark.parametrize("name", NAMES)
def test_the_spec_is_the_published_one(name):
    spec = task(name)
    inputs, outputs, sizes, metric, backbone = PUBLISHED[name]
    assert (spec.name, spec.input_shape, spec.output_shape) == (name, inputs, outputs)
    assert tuple(spec.splits[k] for k in ("train", "val", "test")) == sizes
    assert (spec.metric, spec.backbone) == (metric, backbone)
    assert "nas_bench_360" in spec.suites and ("quick" in spec.suites) == (name in ("spherical", "ecg"))
    assert all(file.get or file.url for file in spec.files)
    assert {"published", "quick", "tiny"} <= set(spec.sizes) and all("samples" in s for s in spec.sizes.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_is_the_published_one(name):
    recipe = {"trainer.accumulation": 1, "model.target_seq_len": None, "trainer.clip": None, **task(name).recipe}
    keys = ("optimizer", "lr", "weight_decay", "batch_size", "accumulation", "epochs")
    found = [recipe[f"trainer.{k}"] for k in keys]
    found += [recipe["stage1.epochs"], recipe["trainer.warmup_epochs"], recipe["trainer.decay_epochs"]]
    found += [recipe["stage1.max_samples"], recipe["model.target_seq_len"], recipe["trainer.clip"]]
    assert tuple(found) == RECIPES[name]


def test_task_files_import_neither_torch_nor_numpy():
    code = f"import sys, importlib; [importlib.import_module('tasks.' + n) for n in {NAMES}]; "
    code += "print([m for m in ('torch', 'numpy', 'scipy', 'h5py', 'sklearn', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("protocol", ["strict", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_extras_labels_and_notes_go_with_the_samples(shared_data, name, protocol):
    """Beyond what conformance asks of every task (tests/test_conformance.py)."""
    spec, data = task(name), read(shared_data, name, protocol)
    for split in filter(None, (data.train, data.val, data.test)):
        batch = split.batch(np.array([len(split) - 1, 0]), None)
        assert (split.labels is None) == (spec.kind != "classes")
        if spec.kind == "multilabel":
            assert set(np.unique(batch.y)) <= {0, 1}
        assert np.isfinite(batch.y).all() and all(len(v) == 2 for v in batch.extra.values())
    assert data.notes["sizes"] == {
        k: len(s) for k, s in (("train", data.train), ("val", data.val), ("test", data.test)) if s is not None
    }
    assert data.notes["protocol"] == protocol and len(data.notes["indices_sha256"]) == 64
    json.dumps(dict(data.notes))


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_deterministic_and_order_is_kept(shared_data, name):
    one, two = (read(shared_data, name) for _ in range(2))
    for a, b in ((one.train, two.train), (one.test, two.test)):
        x, y = whole(a), whole(b)
        np.testing.assert_array_equal(x.x, y.x)
        np.testing.assert_array_equal(x.y, y.y)
        backwards = a.batch(np.arange(len(a))[::-1], None)
        np.testing.assert_allclose(backwards.x[::-1], x.x, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("name", NAMES)
def test_a_limit_leaves_training_samples_drawn_by_the_seed_and_nothing_else_changes(shared_data, name):
    full, few = read(shared_data, name), read(shared_data, name, limit=3, seed=1)
    assert len(few.train) == 3 and len(few.test) == len(full.test) and len(few.val) == len(full.val)
    assert "training_subset" not in full.notes and "drawn by seed 1" in few.notes["training_subset"]
    hashes = {read(shared_data, name, limit=3, seed=seed).notes["indices_sha256"] for seed in (1, 1, 2, 3)}
    assert few.notes["indices_sha256"] in hashes and len(hashes) > 1
    everything = read(shared_data, name, limit=10**6, seed=1)
    np.testing.assert_array_equal(whole(everything.train).y, whole(full.train).y)
    np.testing.assert_array_equal(whole(everything.val).y, whole(full.val).y)
    held = {y.tobytes() for y in whole(full.train).y}
    assert all(y.tobytes() in held for y in whole(few.train).y)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_reader_options_are_refused(shared_data, name):
    with pytest.raises(ValueError, match="alow_stale"):
        task(name).read(Request(stand_in(shared_data, name), options={"alow_stale": True}))


@pytest.mark.parametrize("name", NAMES)
def test_stand_ins_are_marked_and_leave_nothing_half_written(shared_data, name):
    root = stand_in(shared_data, name)
    for file in task(name).files:
        assert origin_of(find(root, file)) == "generated"
    assert not list(root.rglob("*.tmp"))


@pytest.mark.parametrize("name", NAMES)
def test_tiny_stand_ins_take_about_a_second(tmp_path, name):
    spec = task(name)
    spec.generate(tmp_path / "warm", **spec.sizes["tiny"])
    start = time.process_time()
    spec.generate(tmp_path / "again", **spec.sizes["tiny"])
    assert time.process_time() - start < 1.5
    a, b = (spec.read(Request(tmp_path / place)) for place in ("warm", "again"))
    np.testing.assert_array_equal(whole(a.test).x, whole(b.test).x)


@pytest.mark.parametrize("name", NAMES)
def test_more_samples_do_not_change_the_first_ones(shared_data, tmp_path, name):
    spec, size = task(name), dict(task(name).sizes["tiny"])
    size["samples"] = 2 * size["samples"]
    spec.generate(tmp_path, **size)
    few = spec.read(Request(stand_in(shared_data, name), "paper"))
    many = spec.read(Request(tmp_path, "paper"))
    assert len(many.train) > len(few.train)
    if name == "ecg":  # records are split at random, so compare records, not splits
        from tasks.files.ecg import read_records

        a, b = (read_records(root / spec.files[0].path) for root in (stand_in(shared_data, name), tmp_path))
        assert all(np.array_equal(x, y) for x, y in zip(a[0], b[0], strict=False))
        return
    if name == "darcy_nb360":  # inputs are normalised over the training split: compare the targets
        np.testing.assert_allclose(few.train.y[:5], many.train.y[:5])
        return
    index = np.arange(min(5, len(few.train), len(few.test)))
    if name in ("ninapro", "deepsea"):  # validation is appended to training under `paper`
        few, many = spec.read(Request(stand_in(shared_data, name))), spec.read(Request(tmp_path))
    for a, b in ((few.train, many.train), (few.test, many.test)):
        np.testing.assert_array_equal(a.batch(index, None).x, b.batch(index, None).x)
        np.testing.assert_array_equal(a.batch(index, None).y, b.batch(index, None).y)


@pytest.mark.parametrize("protocol", ["strict", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_the_trivial_predictor_and_a_perfect_one_get_their_scores(shared_data, name, protocol):
    spec, data = task(name), read(shared_data, name, protocol)
    test = whole(data.test)
    trivial = PREDICTORS[spec.trivial](data.train, data.test, data.output_shape)
    assert trivial.shape == (len(data.test), *data.output_shape)
    metric = METRICS[(spec.paper_metric or spec.metric) if protocol == "paper" else spec.metric]
    if spec.kind == "classes":
        perfect = np.eye(data.output_shape[0])[test.y]
    else:
        perfect = test.y if spec.metric in ("mae8", "relative_l2") else 2 * test.y - 1
    score, best = metric(trivial, test.y, test.extra), metric(perfect, test.y, test.extra)
    missing_classes = data.output_shape[0] - len(np.unique(test.y)) if spec.kind == "classes" else 0
    assert best == pytest.approx(missing_classes / 4 if metric.name.startswith("f1_error_rec") else 0.0, abs=1e-6)
    assert score > best


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_of_a_batch_is_a_finite_scalar(shared_data, name):
    spec, data = task(name), read(shared_data, name)
    batch = data.train.batch(np.arange(3), np.random.default_rng(0))
    y, extra = torch.as_tensor(batch.y), {k: torch.as_tensor(v) for k, v in batch.extra.items()}
    output = torch.zeros(3, *data.output_shape, requires_grad=True)
    loss = LOSSES[spec.loss](output, y, extra)
    loss.backward()
    assert loss.ndim == 0 and torch.isfinite(loss) and torch.isfinite(output.grad).all()
    assert output.grad.abs().sum() > 0


def test_trivial_predictors_by_hand():
    y = np.array([0, 1, 1, 1], np.int64)
    split = ArraySplit(np.zeros((4, 1, 2), np.float32), y)
    logits = PREDICTORS["majority"](split, split, (3,))
    np.testing.assert_allclose(np.exp(logits[0]), [0.25, 0.75, 0], atol=1e-6)
    labels = ArraySplit(split.x, np.array([[1, 0], [0, 0], [0, 0], [0, 0]], np.float32))
    prior = PREDICTORS["label_prior"](labels, labels, (2,))[0]
    np.testing.assert_allclose(1 / (1 + np.exp(-prior)), [0.25, 0], atol=1e-6)
    dense = ArraySplit(split.x, np.arange(8, dtype=np.float32).reshape(4, 1, 2))
    np.testing.assert_allclose(PREDICTORS["mean"](dense, dense, (1, 2))[0], [[3, 4]])
    np.testing.assert_array_equal(PREDICTORS["persistence"](dense, dense, (1, 2)), dense.x)
    ignore = np.zeros((4, 1, 2), bool)
    ignore[3] = True
    masked = ArraySplit(split.x, dense.y, {"ignore": ignore})
    np.testing.assert_allclose(PREDICTORS["mean"](masked, masked, (1, 2))[0], [[2, 3]])
    with pytest.raises(ValueError, match="class labels"):
        PREDICTORS["majority"](labels, labels, (2,))
    with pytest.raises(ValueError, match="shaped like"):
        PREDICTORS["persistence"](dense, dense, (1, 3))
