"""`bench pretrain`: a small run end to end, what it writes, and that it repeats."""

import argparse
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from bench.cli import pretrain as verb
from bench.errors import SetupError, UsageError
from bench.models.pretrain import Recipe, error, lr_factor, prepare, train
from bench.models.vision import build_swin_micro
from bench.sources import fashion_mnist


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return parser.parse_args(words)


def stripes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 28, 28) uint8 images with stripes across (class 0) or down (class 1), with noise."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    across = np.repeat((np.arange(28) // 4 % 2)[:, None] * 180, 28, 1)
    return np.where(y[:, None, None], across.T, across) + rng.integers(0, 60, (n, 28, 28), np.uint8), y


def small_data(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = stripes(n)
    return prepare(images.astype(np.uint8), fashion_mnist.MEAN, fashion_mnist.STD), torch.from_numpy(labels)


QUICK = Recipe(epochs=2, batch_size=32, lr=1e-3, warmup_steps=2)


@pytest.mark.slow
def test_training_learns_two_kinds_of_stripes_and_says_how_far_it_is():
    x, y = small_data(256)
    lines: list[str] = []
    model = train(x, y, QUICK, say=lines.append)
    assert error(model, x, y) < 0.05
    assert lines[-1].startswith("epoch 2/2  step 16/16")


def test_training_repeats_by_seed():
    x, y = small_data(64)
    recipes = (Recipe(epochs=1, batch_size=32, seed=s) for s in (0, 0, 1))
    first, same, other = (train(x, y, recipe, say=lambda _: None).state_dict() for recipe in recipes)
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


def test_images_are_centred_in_black_and_normalised():
    x = prepare(np.full((1, 28, 28), 255, np.uint8), 0.25, 0.5)
    assert x.shape == (1, 3, 32, 32)
    assert x[0, 0, 0, 0] == -0.5
    assert x[0, 2, 2, 2] == x[0, 0, 29, 29] == 1.5


def test_the_learning_rate_warms_up_peaks_and_ends_near_zero():
    factors = [lr_factor(step, 100, 10) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) > 0.95
    assert factors[-1] < 1e-3
    assert factors.index(max(factors)) in (9, 10)


def test_the_error_is_the_fraction_of_wrong_answers():
    x, y = small_data(10)
    assert error(lambda batch: torch.nn.functional.one_hot(torch.zeros(len(batch)).long(), 10), x, y, 3) == 0.5


@pytest.mark.skipif(fashion_mnist.folder() is None, reason="dataset-fashion-mnist is not installed")
def test_the_command_writes_weights_with_how_they_were_made(tmp_path, capsys, monkeypatch):
    parts = fashion_mnist.parts
    monkeypatch.setattr(fashion_mnist, "parts", lambda folder: tuple(part[:300] for part in parts(folder)))
    output = tmp_path / "new" / "weights.safetensors"
    assert verb.run(parse("--epochs", "1", "--limit", "256", "--seed", "3", "--output", str(output))) == 0
    assert "test error" in capsys.readouterr().out
    assert list(output.parent.iterdir()) == [output], "nothing half-written stays"
    with safe_open(output, "pt") as file:
        facts = file.metadata()
    assert facts["command"] == "python -m bench pretrain --epochs 1 --seed 3 --limit 256"
    assert facts["train_images"] == "256"
    assert json.loads(facts["recipe"])["seed"] == 3
    assert 0 <= float(facts["test_error"]) <= 1
    build_swin_micro().load_state_dict(load_file(output))


def test_without_the_data_it_says_where_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "SYSTEM_FOLDER", tmp_path)
    with pytest.raises(SetupError, match="dataset-fashion-mnist"):
        verb.run(parse("--output", str(tmp_path / "w"), "--data-dir", str(tmp_path)))


def test_the_shipped_weights_are_replaced_by_name_only():
    with pytest.raises(UsageError, match="the weights are here: say --output"):
        verb.run(parse("--epochs", "1", "--limit", "256"))


def test_a_place_that_cannot_be_written_is_named_before_the_training(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="choose another with --output"):
        verb.run(parse("--output", str(tmp_path / "file" / "weights.safetensors")))


@pytest.mark.parametrize("words", [("--epochs", "0"), ("--limit", "5")])
def test_senseless_sizes_are_refused(words):
    with pytest.raises(UsageError, match="at least 1 epoch and 128 images"):
        verb.run(parse(*words))
