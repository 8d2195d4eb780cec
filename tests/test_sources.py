"""Labelled source data: what is read, how it is split, corrupted and refused."""

import gzip
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.backbones import BACKBONES
from bench.errors import SetupError, UsageError
from bench.sources import fashion_mnist
from bench.sources.arrays import SourceArrays
from bench.sources.load import SOURCES, checked, load_source
from bench.sources.topics import largest_topics, windows
from tasks.contract import DataError
from tests.tiny_models import NOWHERE, TEXT, VISION, digits, needs_fashion, needs_minilm, topics


def test_listing_the_sources_imports_neither_torch_nor_numpy():
    code = "import sys, bench.sources, bench.backbones; print({'torch', 'numpy', 'sklearn'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


# What is read


def test_digits_are_those_of_scikit_learn_with_a_quarter_of_each_class_for_testing():
    from sklearn.datasets import load_digits

    arrays = digits()
    assert arrays.x.shape == (1797, 1, 8, 8)
    assert arrays.train == 1347
    assert np.bincount(arrays.y[arrays.train :]).min() >= 43
    original = load_digits().images.reshape(1797, -1)
    restored = np.round(arrays.x.reshape(1797, -1) * (16 / 255))
    assert sorted(map(tuple, restored)) == sorted(map(tuple, original))


@needs_minilm
def test_topics_are_windows_of_32_tokens_in_10_classes():
    arrays = topics()
    assert arrays.x.shape[1] == 32
    assert len(arrays.classes) == 10
    assert set(arrays.x[:, 0]) == {101} and set(arrays.x[:, -1]) == {102}, "windows are between [CLS] and [SEP]"
    assert np.bincount(arrays.y[: arrays.train]).min() >= 20
    assert set(arrays.y[arrays.train :]) == set(range(10))


@needs_minilm
def test_no_text_window_is_in_training_and_in_testing():
    arrays = topics()
    training = {tuple(row) for row in arrays.x[: arrays.train]}
    shared = sum(tuple(row) in training for row in arrays.x[arrays.train :])
    assert shared == 0


def test_a_topic_that_is_a_section_of_a_longer_one_is_left_out():
    line = "a sentence that is certainly longer than thirty characters, number "
    whole, other = ("\n".join(f"{line}{i}" for i in part) for part in (range(20), range(100, 112)))
    part = "\n".join(f"{line}{i}" for i in range(15))
    assert largest_topics({"whole": whole, "part": part, "other": other}, 2) == ["whole", "other"]


def test_text_windows_are_disjoint_and_in_order():
    cut = windows(list(range(10)), -1, -2, 6)
    assert cut.tolist() == [[-1, 0, 1, 2, 3, -2], [-1, 4, 5, 6, 7, -2]]


@needs_fashion
def test_fashion_mnist_is_read_whole_and_centred():
    arrays = load_source("fashion_mnist", VISION, NOWHERE, "none", 0)
    assert (arrays.x.shape, arrays.train, len(arrays.classes)) == ((70000, 1, 32, 32), 60000, 10)
    assert arrays.x[:, :, :2].max() == 0 and arrays.x[:, :, 2:30, 2:30].max() == 255
    training = arrays.x[: arrays.train, :, 2:30, 2:30] / 255
    assert training.mean() == pytest.approx(fashion_mnist.MEAN, abs=1e-4)
    assert training.std() == pytest.approx(fashion_mnist.STD, abs=1e-4)


def write_cifar(folder: Path, **extra) -> None:
    """Six batches of 20 images in the official layout, each image filled with its label."""
    folder.mkdir(parents=True)
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        labels = [i % 10 for i in range(20)]
        data = np.repeat(np.array(labels, np.uint8)[:, None], 3072, 1)
        batch = {b"data": data, b"labels": labels, **extra}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))


def test_cifar_10_is_read_from_the_official_batches_and_preferred(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-py")
    arrays = load_source("auto", VISION, tmp_path, "none", 0)
    assert (arrays.name, arrays.x.shape, arrays.train) == ("cifar10", (120, 3, 32, 32), 100)
    assert (arrays.x[:, 0, 0, 0] == arrays.y).all()


def test_a_cifar_batch_that_would_run_code_is_refused(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-py", function=print)
    with pytest.raises(DataError, match="print"):
        load_source("cifar10", VISION, tmp_path, "none", 0)


def test_a_cifar_batch_of_another_layout_is_refused(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-py")
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(pickle.dumps({b"data": np.zeros((2, 7), np.uint8)}))
    with pytest.raises(DataError, match=r"test_batch.*\(2, 7\).*3072"):
        load_source("cifar10", VISION, tmp_path, "none", 0)


@pytest.mark.parametrize(
    "content",
    [b"\x1f\x8b\x08", gzip.compress(bytes(10**8)), gzip.compress(bytes(1000))[:10] + b"\xff" * 50],
    ids=("cut", "bomb", "garbage"),
)
def test_a_damaged_or_endless_fashion_mnist_file_is_named(tmp_path, content):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(SetupError, match="train-images"):
        fashion_mnist.read_idx(path)


# Corruption


def test_permuted_labels_keep_the_samples_and_the_class_sizes():
    clean, permuted = digits(), load_source("digits", VISION, NOWHERE, "permuted_labels", 0)
    assert (clean.x == permuted.x).all()
    assert (np.bincount(clean.y[: clean.train]) == np.bincount(permuted.y[: clean.train])).all()
    assert (clean.y == permuted.y).mean() < 0.2
    assert clean.fingerprint != permuted.fingerprint


def test_noise_keeps_the_labels_and_replaces_every_sample():
    clean, noise = digits(), load_source("digits", VISION, NOWHERE, "noise", 0)
    assert (clean.y == noise.y).all()
    assert noise.x.mean() == pytest.approx(127.5, rel=0.01)
    assert noise.x.shape == clean.x.shape


@needs_minilm
def test_text_noise_draws_from_ids_that_occur():
    noise = load_source("topics", TEXT, NOWHERE, "noise", 0)
    assert set(np.unique(noise.x)) <= set(np.unique(topics().x))


@pytest.mark.parametrize("corrupt", ["permuted_labels", "noise"])
def test_corruption_follows_the_seed(corrupt):
    first, same, other = (load_source("digits", VISION, NOWHERE, corrupt, seed) for seed in (1, 1, 2))
    assert first.fingerprint == same.fingerprint != other.fingerprint


# What is refused


def test_an_unknown_source_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean digits"):
        load_source("digit", VISION, NOWHERE, "none", 0)


def test_source_data_of_the_wrong_modality_name_the_fitting_ones():
    with pytest.raises(UsageError, match="vision data, but minilm is a text backbone; choose one of conll2003, topics"):
        load_source("digits", TEXT, NOWHERE, "none", 0)


def test_source_data_that_are_not_here_say_how_to_get_them(tmp_path):
    with pytest.raises(SetupError, match="cifar-10-batches-py"):
        load_source("cifar10", VISION, tmp_path, "none", 0)


def test_missing_fashion_mnist_says_which_package(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path)
    with pytest.raises(SetupError, match="dataset-fashion-mnist"):
        load_source("fashion_mnist", VISION, tmp_path, "none", 0)


def test_auto_takes_digits_where_nothing_else_is_installed(tmp_path):
    assert load_source("auto", VISION, tmp_path, "none", 0).name == "digits"


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [([0, 0, 0, 0], ("a",), "needs at least two"), ([0, 0, 0, 1], ("a", "b"), r"fewer than two.*b \(1\)")],
)
def test_one_class_or_a_class_of_one_sample_is_refused(labels, classes, message):
    with pytest.raises(SetupError, match=message):
        checked(SourceArrays("toy", np.zeros((4, 1, 2, 2), np.uint8), np.array(labels), classes, 4))


def test_every_source_says_licence_and_citation_and_every_backbone_names_known_sources():
    assert all(s.licence and s.citation and s.title for s in SOURCES.values())
    assert all(SOURCES[s].modality == b.modality for b in BACKBONES.values() for s in b.sources)
