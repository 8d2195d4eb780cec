"""`bench analyse` on finished cells: from kept arrays, from kept weights, and what it says where there are neither."""

import argparse
import copy
import functools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bench.analysis import again
from bench.analysis import features as kept_features
from bench.analysis.features import read_weights
from bench.backbones import BACKBONES
from bench.cli import analyse as verb
from bench.errors import Exit, UsageError
from bench.models.source import load_source_model
from bench.records.arrays import write_arrays
from bench.records.store import Store
from bench.sources.data import SourceData
from bench.sources.load import load_source
from tasks.files.arrays import read_arrays
from tests.record_factory import make_record


def record(**changes):
    """A finished cell's record, as far as analyses read it."""
    settings = {"source.name": "digits", "source.corrupt": "none", "trainer.epochs": 3}
    base = {
        "id": "abc",
        "task": "spherical",
        "backbone": "swin_micro",
        "weights": "pretrained: x",
        "settings": settings,
    }
    return make_record(**{**base, "source": {"name": "fake", "fingerprint": "f"}} | changes)


def arrays():
    """What a cell keeps: separable features of two epochs."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    x = (rng.normal(size=(60, 6)) * 0.5 + np.eye(6)[labels]).astype(np.float16)
    return {
        "source_rows": np.arange(60), "source_labels": labels, "source_test": np.arange(60) >= 40,
        "source_classes": np.array(["a", "b", "c"]), "features_pretrained": x, "started_pretrained": np.array(True),
        "features_epoch_3": (x + rng.normal(size=x.shape)).astype(np.float16),
    }  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def command(store, *options):
    parser = argparse.ArgumentParser()
    verb.add_arguments(parser)
    return verb.run(parser.parse_args([*options, "--results-dir", str(store.folder)]))


def test_analyses_are_added_to_a_finished_cell_and_stay(store, capsys):
    cell = record()
    store.write(cell)
    write_arrays(store.sidecar(cell, ".npz"), arrays())
    assert command(store, "--probe", "--tsne") == Exit.OK
    after = store.get(cell)
    assert after["analysis"]["probe"]["epochs"] == [0, 3] and after["analysis"]["probe"]["source"] == "fake"
    assert after["sidecars"]["arrays"] == store.sidecar(cell, ".npz").name
    assert {"tsne_pretrained", "features_epoch_3"} <= read_arrays(store.sidecar(cell, ".npz")).keys()
    assert capsys.readouterr().out.count("added") == 2
    written = store.path(cell).stat().st_mtime_ns
    assert command(store, "--probe") == Exit.OK
    assert "there already" in capsys.readouterr().out and store.path(cell).stat().st_mtime_ns == written


def test_what_only_the_run_knew_survives_doing_it_again(store):
    cell = record(analysis={"similarity": {"movement": {"all": 0.5}, "cka": {"value": [1.0]}, "source": "digits"}})
    store.write(cell)
    write_arrays(store.sidecar(cell, ".npz"), arrays())
    assert command(store, "--similarity", "--again") == Exit.OK
    found = store.get(cell)["analysis"]["similarity"]
    assert found["movement"] == {"all": 0.5} and found["source"] == "digits" and found["cka"]["epochs"] == [0, 3]


def test_a_cell_that_kept_nothing_is_named_with_the_cure_and_left_alone(store, capsys):
    cell = record()
    store.write(cell)
    before = store.path(cell).read_bytes()
    assert command(store, "--probe", "--discrepancy") == Exit.SOME_FAILED
    said = capsys.readouterr().out
    assert said.count("not possible") == 2 and "run it again" in said
    assert store.path(cell).read_bytes() == before and not store.sidecar(cell, ".npz").exists()


def test_a_method_without_a_body_stays_skipped(store, capsys):
    cell = record(analysis={"probe": {"skipped": "a model of its own"}})
    store.write(cell)
    assert command(store, "--probe", "--again") == Exit.OK and "stays as it is" in capsys.readouterr().out
    assert store.get(cell) == cell


def test_selection_by_wildcard_seed_and_status(store, capsys):
    for name, seed in (("spherical", 0), ("darcy_flow", 0), ("darcy_flow", 1)):
        cell = record(task=name, seed=seed)
        store.write(cell)
        write_arrays(store.sidecar(cell, ".npz"), arrays())
    store.write(record(task="ecg", status="failed"))
    assert command(store, "--probe", "--tasks", "darcy*", "--seeds", "1") == Exit.OK
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "darcy_flow.vanilla.swin_micro.s1" in said
    with pytest.raises(UsageError, match="did you mean spherical"):
        command(store, "--probe", "--tasks", "sferical")
    with pytest.raises(UsageError, match="unknown task among the finished cells 'ecg'"):
        command(store, "--probe", "--tasks", "ecg")
    with pytest.raises(UsageError, match="name at least one of --probe"):
        command(store)


def test_an_empty_store_is_no_error(store, capsys):
    assert command(store, "--probe") == Exit.OK and "no finished cell" in capsys.readouterr().out


@pytest.mark.slow
def test_kept_weights_give_the_source_analyses(store, tmp_path, monkeypatch):
    """A body of swin_micro's architecture, with random weights, moved by a tenth."""
    monkeypatch.setattr(kept_features, "TRAIN", 60)
    monkeypatch.setattr(kept_features, "TEST", 40)
    backbone = BACKBONES["swin_micro"]
    random = functools.partial(load_source_model, random_weights=True, seed=1)
    monkeypatch.setattr("bench.models.source.load_source_model", random)
    source = SourceData(random(backbone), load_source("digits", backbone, tmp_path, "none", 0))
    model = torch.nn.Module()
    model.embedder, model.encoder = torch.nn.Linear(2, 2), copy.deepcopy(source.model.encoder)
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.mul_(1.1)
    cell = record()
    store.folder.mkdir()
    save_file(model.state_dict(), store.sidecar(cell, ".safetensors"))
    store.write(cell)

    assert command(store, "--probe", "--similarity") == Exit.OK
    found = store.get(cell)["analysis"]
    assert found["probe"]["epochs"] == [0, 3] and found["probe"]["source"] == "digits"
    assert found["probe"]["n_test"] == 40
    assert found["similarity"]["movement"]["all"] == pytest.approx(0.1, rel=1e-4)
    kept = read_arrays(store.sidecar(cell, ".npz"))
    assert np.array_equal(kept["features_epoch_3"], source.encoded(model.encoder, kept["source_rows"]).half().numpy())


def test_damaged_weights_are_named_and_end_nothing(store, capsys):
    cell = record()
    store.folder.mkdir()
    store.write(cell)
    store.sidecar(cell, ".safetensors").write_bytes(b"no weights")
    assert command(store, "--probe") == Exit.SOME_FAILED
    assert "not possible" in (said := capsys.readouterr().out) and "no whole safetensors file" in said


def test_weights_survive_the_round_trip(tmp_path):
    part = torch.nn.BatchNorm1d(3)
    save_file({f"encoder.{k}": v for k, v in part.state_dict().items()}, tmp_path / "w.safetensors")
    again_ = torch.nn.BatchNorm1d(3)
    again_.load_state_dict(read_weights(tmp_path / "w.safetensors", "encoder"))
    assert all(torch.equal(a, b) for a, b in zip(part.state_dict().values(), again_.state_dict().values()))


def test_discrepancy_of_kept_arrays_needs_the_target_side(store):
    kept = arrays() | {
        "target_features": arrays()["features_pretrained"][:30], "target_labels": np.arange(30) % 3,
        "target_names": np.array(["0", "1", "2"]),
    }  # fmt: skip
    cell = record()
    store.write(cell)
    write_arrays(store.sidecar(cell, ".npz"), kept)
    assert again.analyse(store, cell, ["discrepancy"], store.folder) == {"discrepancy": "added"}
    found = store.get(cell)["analysis"]["discrepancy"]
    assert sorted(pair[1] for pair in found["pairing"]) == ["a", "b", "c"] and found["d"] < found["chance"]
