"""The four backbones: their sizes, and whether the weights are really the pretrained ones."""

import functools
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.backbones import BACKBONES, STANDIN
from bench.errors import SetupError
from bench.models import source as loading
from bench.models.source import SourceModel, load_source_model
from bench.sources import fashion_mnist
from bench.sources.data import SourceData
from bench.sources.load import load_source
from tasks.contract import Task
from tests.tiny_models import needs_fashion, needs_minilm

EMBEDDED = ["swin_micro", pytest.param("minilm", marks=needs_minilm)]


@functools.cache
def pretrained(name: str) -> SourceModel:
    return load_source_model(BACKBONES[name])


@functools.cache
def random(name: str) -> SourceModel:
    return load_source_model(BACKBONES[name], random_weights=True)


# What a backbone is


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_declared_sizes_are_those_of_the_body(name):
    model, spec = random(name), BACKBONES[name]
    if spec.modality == "vision":
        inputs, tokens = torch.zeros(2, 3, spec.image_size, spec.image_size), (spec.image_size // spec.patch) ** 2
        features = (spec.image_size // spec.stride) ** 2
    else:
        inputs, tokens, features = torch.arange(20).reshape(2, 10), 10, 10
    assert model.embedder(inputs).shape == (2, tokens, spec.width)
    assert model(inputs).shape == (2, features, spec.out_width)
    assert sum(p.numel() for p in model.encoder.parameters()) == spec.parameters


@pytest.mark.slow
@torch.no_grad()
def test_roberta_base_has_its_published_size_and_counts_positions_from_two():
    model = load_source_model(BACKBONES["roberta_base"], random_weights=True)
    assert sum(p.numel() for p in model.encoder.parameters()) == 85_054_464 == BACKBONES["roberta_base"].parameters
    ids = torch.arange(10, 26).reshape(2, 8)
    assert model(ids).shape == (2, 8, 768)
    assert model.embedder.positions.shape == (512, 768)
    tables = model.embedder.embeddings
    summed = tables.word_embeddings(ids) + tables.token_type_embeddings.weight[0] + model.embedder.positions[:8]
    torch.testing.assert_close(model.embedder(ids), model.embedder.norm(summed))
    assert model.head is None


@pytest.mark.slow
@torch.no_grad()
def test_swin_base_has_its_published_size():
    model = load_source_model(BACKBONES["swin_base"], random_weights=True)
    assert sum(p.numel() for p in model.encoder.parameters()) == 86_736_696 == BACKBONES["swin_base"].parameters
    tokens = model.embedder(torch.zeros(1, 3, 224, 224))
    features = model.encoder(tokens)
    assert (tokens.shape, features.shape) == ((1, 3136, 128), (1, 49, 1024))
    assert model.head(features).shape == (1, 21841)


@needs_minilm
@torch.no_grad()
def test_minilm_gives_what_transformers_gives():
    from transformers import AutoModel

    library = AutoModel.from_pretrained(BACKBONES["minilm"].files(), local_files_only=True).eval()
    ids = torch.randint(1000, 20000, (2, 16), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pretrained("minilm")(ids), library(ids).last_hidden_state)


@torch.no_grad()
def test_the_parts_of_a_swin_put_together_give_what_timm_gives():
    from safetensors.torch import load_file

    from bench.models.vision import build_swin_micro

    library = build_swin_micro().eval()
    library.load_state_dict(load_file(BACKBONES["swin_micro"].shipped_weights()))
    images, model = torch.randn(2, 3, 32, 32), pretrained("swin_micro")
    torch.testing.assert_close(model.head(model(images)), library(images), rtol=1e-4, atol=1e-4)


def test_every_modality_has_an_embedded_stand_in_and_every_task_a_modality():
    assert {b.modality for b in BACKBONES.values()} == set(STANDIN)
    assert all(BACKBONES[name].modality == modality and not BACKBONES[name].hub for modality, name in STANDIN.items())
    assert "modality" in vars(Task)


# Whether weights are pretrained


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_pretrained_body_differs_from_a_random_one_and_says_which_it_is(name):
    good, bad = pretrained(name), random(name)
    assert re.fullmatch(r"pretrained: .+, sha256 [0-9a-f]{12}", good.weights)
    assert (bad.weights, bad.sha256) == ("random, seed 0", None) and good.sha256[:12] == good.weights[-12:]
    for (key, a), b in zip(good.encoder.named_parameters(), bad.encoder.parameters()):
        assert not torch.equal(a, b), key


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_body_whose_weights_were_silently_not_loaded_is_refused(name, monkeypatch):
    monkeypatch.setattr(loading, "_parts", lambda spec, folder, real=loading._parts: real(spec, None))
    with pytest.raises(SetupError, match="initial values"):
        load_source_model(BACKBONES[name])


def test_one_forgotten_layernorm_is_enough_to_refuse(monkeypatch):
    body = load_source_model(BACKBONES["swin_micro"]).encoder
    nn.init.ones_(body.norm.weight)
    nn.init.zeros_(body.norm.bias)
    with pytest.raises(SetupError, match="norm holds its initial values"):
        loading.refuse_untrained(BACKBONES["swin_micro"], body)


@pytest.mark.parametrize("name", EMBEDDED)
def test_random_weights_follow_their_seed_and_leave_the_global_random_state_alone(name):
    before = torch.random.get_rng_state()
    same, other = load_source_model(BACKBONES[name], True, seed=0), load_source_model(BACKBONES[name], True, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    assert loading.fingerprint(same.encoder) == loading.fingerprint(random(name).encoder)
    assert loading.fingerprint(other.encoder) != loading.fingerprint(same.encoder)


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_source_model_is_frozen_and_in_evaluation_mode(name):
    assert not any(p.requires_grad for p in pretrained(name).parameters())
    assert not any(m.training for m in pretrained(name).modules())


@pytest.mark.slow
@needs_fashion
def test_the_shipped_swin_micro_makes_the_errors_it_declares():
    from safetensors import safe_open

    path = BACKBONES["swin_micro"].shipped_weights()
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    declared = float(facts["test_error"])
    assert declared < 0.11
    assert path.stat().st_size < 5_000_000
    assert facts["command"].startswith("python -m bench pretrain")
    assert facts["data_sha256"] == fashion_mnist.checksum()

    arrays = load_source("fashion_mnist", BACKBONES["swin_micro"], Path("nowhere"), "none", 0)
    data, model = SourceData(pretrained("swin_micro"), arrays), pretrained("swin_micro")
    index = data.test_index[::5]
    with torch.no_grad():
        logits = torch.cat([model.head(model.encoder(data.tokens(part))) for part in (index[:1000], index[1000:])])
    measured = (logits.argmax(1).numpy() != arrays.y[index]).mean()
    margin = 4 * (declared * (1 - declared) / len(index)) ** 0.5  # four standard errors of a sample of 2,000
    assert measured == pytest.approx(declared, abs=margin)
