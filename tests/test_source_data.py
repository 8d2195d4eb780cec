"""Source data behind the source embedder: tokens, features, and their cache."""

import functools
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.backbones import BACKBONES
from bench.errors import SetupError
from bench.models.source import SourceModel, load_source_model
from bench.sources.arrays import SourceArrays
from bench.sources.data import SourceData
from methods.contract import Source
from tasks import source
from tests.tiny_models import VISION, digits, needs_minilm, topics


@functools.cache
def body(name: str) -> SourceModel:
    return load_source_model(BACKBONES[name], random_weights=True)


def vision_data(cache_dir: Path | None = None, seed: int = 0) -> SourceData:
    return SourceData(body("swin_micro"), digits(), "cpu", seed, cache_dir)


def test_source_data_implements_what_methods_are_promised():
    promised = {name for name in vars(Source) if not name.startswith("_")} | set(Source.__annotations__)
    assert promised <= set(dir(vision_data()))


# Behind the source embedder


def test_images_come_out_resized_and_normalised_as_the_backbone_expects():
    white = SourceArrays("white", np.full((4, 1, 8, 8), 255, np.uint8), np.array([0, 0, 1, 1]), ("a", "b"), 4)
    images = SourceData(body("swin_micro"), white).inputs(np.arange(2))
    assert images.shape == (2, 3, 32, 32)
    torch.testing.assert_close(images, torch.full_like(images, (1 - 0.286) / 0.353))


def test_tokens_are_those_of_the_frozen_embedder():
    data = vision_data()
    tokens = data.tokens(np.array([3, 1]))
    assert tokens.shape == (2, 64, 64)
    assert not tokens.requires_grad
    torch.testing.assert_close(tokens, body("swin_micro").embedder(data.inputs(np.array([3, 1]))))


@needs_minilm
def test_text_tokens_have_the_width_of_the_backbone():
    assert SourceData(body("minilm"), topics()).tokens(np.arange(3)).shape == (3, 32, 384)


def test_training_samples_are_all_that_methods_see():
    data = vision_data()
    assert len(data) == len(data.labels) == len(data.train_index) == 1347
    assert len(data.test_index) == 450
    assert not set(data.train_index) & set(data.test_index)
    assert (data.labels_of(data.test_index) == digits().y[1347:]).all()


def test_features_are_token_means_of_a_seeded_shuffle_and_the_first_ones_stay_the_same():
    data = vision_data()
    few, labels = data.features(20)
    more, _ = data.features(300)
    index = np.random.default_rng(0).permutation(1347)[:20]
    torch.testing.assert_close(few, data.tokens(index).mean(1))
    assert (labels.numpy() == data.labels[index]).all()
    torch.testing.assert_close(more[:20], few)
    assert not torch.equal(vision_data(seed=1).features(20)[0], few)


def test_more_features_than_samples_gives_all_samples():
    assert len(vision_data().features(10**6)[0]) == 1347


def test_cached_features_equal_recomputed_ones_and_are_really_read(tmp_path, monkeypatch):
    first = vision_data(tmp_path).features(50)
    assert len(list(tmp_path.glob("*.npz"))) == len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(SourceData, "tokens", lambda *_: pytest.fail("recomputed"))
    cached = vision_data(tmp_path).features(50)
    assert all(torch.equal(a, b) for a, b in zip(first, cached))


def test_the_cache_tells_weights_data_count_and_seed_apart(tmp_path):
    other = replace(digits(), fingerprint="another")
    vision_data(tmp_path).features(50)
    vision_data(tmp_path).features(51)
    vision_data(tmp_path, seed=1).features(50)
    SourceData(body("swin_micro"), other, "cpu", 0, tmp_path).features(50)
    SourceData(load_source_model(VISION, random_weights=True, seed=1), digits(), "cpu", 0, tmp_path).features(50)
    assert len(list(tmp_path.iterdir())) == 5


def test_an_edit_of_the_code_that_makes_the_features_makes_them_again(tmp_path, monkeypatch):
    vision_data(tmp_path).features(50)
    (kept,) = tmp_path.iterdir()
    changed, hashed = source.places("bench")[0] / "models" / "vision.py", source._file_hash
    monkeypatch.setattr(source, "_file_hash", lambda path: "edited" if path == changed else hashed(path))
    vision_data(tmp_path).features(50)
    assert len([*tmp_path.iterdir()]) == 2 and kept.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half a file", b"not an archive at all"])
def test_a_damaged_cache_file_is_made_again(tmp_path, content):
    first, _ = vision_data(tmp_path).features(50)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    assert torch.equal(vision_data(tmp_path).features(50)[0], first)
    assert path.stat().st_size > len(content)


def test_a_damaged_block_in_a_packed_cache_file_is_made_again(tmp_path):
    first, _ = vision_data(tmp_path).features(50)
    (path,) = tmp_path.iterdir()
    np.savez_compressed(path, points=first.numpy())
    content = bytearray(path.read_bytes())
    content[100:-200] = b"\xff" * len(content[100:-200])
    path.write_bytes(content)
    assert torch.equal(vision_data(tmp_path).features(50)[0], first)


@pytest.mark.parametrize("locked", [0o555, 0o000])
def test_features_need_no_cache_folder_that_can_be_written(tmp_path, locked):
    """As a user without rights: the data folder may be read, or not even its `.cache` entered."""
    first, _ = vision_data().features(50)
    outside, root = Path(tempfile.mkdtemp()), os.geteuid() == 0
    (outside / ".cache").mkdir()
    (outside / ".cache").chmod(locked)
    outside.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        assert torch.equal(vision_data(outside / ".cache" / "sources").features(50)[0], first)
    finally:
        if root:
            os.seteuid(0)
        outside.chmod(0o755)
        (outside / ".cache").chmod(0o755)
        shutil.rmtree(outside)


def test_encoded_features_are_means_of_the_encoders_output_in_evaluation_mode():
    data, encoder = vision_data(), body("swin_micro").encoder
    encoder.train()
    features = data.encoded(encoder, data.test_index[:7], batch_size=3)
    assert encoder.training
    encoder.eval()
    torch.testing.assert_close(features, encoder(data.tokens(data.test_index[:7])).mean(1))


def test_features_of_the_pretrained_body_are_taken_once_for_all_cells_of_its_kind(tmp_path, monkeypatch):
    rows = vision_data().test_index[:9]
    first = vision_data(tmp_path).as_pretrained(rows)
    assert np.array_equal(first, vision_data().encoded(body("swin_micro").encoder, rows).numpy())
    calls, encoded = [], SourceData.encoded
    monkeypatch.setattr(SourceData, "encoded", lambda *args: (calls.append(1), encoded(*args))[1])
    again = vision_data(tmp_path, seed=1)
    assert np.array_equal(again.as_pretrained(rows), first) and not calls
    again.as_pretrained(rows[:-1])
    monkeypatch.setattr("torch.get_num_threads", lambda: 64)  # other threads round otherwise
    again.as_pretrained(rows)
    other = SourceData(load_source_model(VISION, random_weights=True, seed=1), digits(), "cpu", 0, tmp_path)
    other.as_pretrained(rows)
    assert len(calls) == 3


def test_no_features_at_all_is_refused():
    with pytest.raises(SetupError, match="0 source samples were asked for, expected at least 1"):
        vision_data().features(0)
