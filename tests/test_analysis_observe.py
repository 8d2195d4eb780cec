"""The observer on a small fake body: what a run, a resumed run and an early end leave; and analyses of kept arrays."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

from bench.analysis import features as kept_features
from bench.analysis.discrepancy import discrepancy
from bench.analysis.features import TEST, TRAIN, FeatureFolder, choose_source, read_arrays, same_weights
from bench.analysis.inputs import NotKept
from bench.analysis.observe import LONG, Observer, decided
from bench.analysis.probe import fit_linear, probe
from bench.analysis.summary import summarise
from bench.analysis.target import choose_samples, view_target
from bench.records.arrays import write_arrays
from bench.settings import AnalysisSettings
from tasks.contract import ArraySplit, Data

ALL = AnalysisSettings(probe=True, tsne=True, discrepancy=True, similarity=True)


class Encoder(nn.Module):
    """A fake body: tokens (B, N, 4) -> features (B, N, 6)."""

    def __init__(self, seed=0):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.blocks = nn.ModuleList([nn.Linear(4, 6)])
        for p in self.parameters():
            p.data = torch.randn(p.shape, generator=generator)
        self.calls = 0

    def forward(self, tokens):
        self.calls += 1
        return torch.tanh(self.blocks[0](tokens))


class FakeSource:
    """A stand-in for SourceData: 90 samples of 3 classes that the fake body separates."""

    device = torch.device("cpu")
    name, fingerprint, classes = "fake", "abc", ("zero", "one", "two")
    train_index, test_index = np.arange(60), np.arange(60, 90)

    def __init__(self):
        self.model = nn.Module()
        self.model.encoder = Encoder().requires_grad_(False)
        rng = np.random.default_rng(0)
        self._y = np.arange(90) % 3
        self._x = torch.tensor(rng.normal(size=(90, 5, 4)) * 0.3 + np.eye(4)[self._y][:, None], dtype=torch.float32)

    def labels_of(self, index):
        return self._y[index]

    @torch.no_grad()
    def encoded(self, encoder, index, batch_size=250):
        return encoder(self._x[index]).mean(1)

    def as_pretrained(self, index):
        return self.encoded(self.model.encoder, index).numpy()


class Target(nn.Module):
    """A fake h ∘ f ∘ e for inputs (B, 2, 6)."""

    def __init__(self, encoder=None):
        super().__init__()
        self.embedder = nn.Sequential(nn.Flatten(), nn.Linear(12, 20), nn.Unflatten(1, (5, 4)))
        for p in self.embedder.parameters():
            p.data = torch.randn(p.shape, generator=torch.Generator().manual_seed(1))
        self.encoder = encoder or Encoder()
        self.train()


def data(labels=3, n=80):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 2, 6)).astype(np.float32)
    y = np.arange(n) % labels if labels else rng.normal(size=(n, 1, 6)).astype(np.float32)
    split = ArraySplit(x, y)
    return Data(split, None, split, (2, 6), (labels or 1,))


def fine_tuned(epoch):
    """The body after an epoch: every weight has moved by a tenth per epoch."""
    encoder = Encoder()
    with torch.no_grad():
        for p in encoder.parameters():
            p.mul_(1 + 0.1 * epoch)
    return encoder


def run(folder, settings=ALL, epochs=(0, 1, 2, 3), planned=3, loaded=None, start=fine_tuned, source=None):
    """What the cell does: observe where due, then finish."""
    observer = Observer(settings, source or FakeSource(), folder / "work", seed=0, epochs=planned)
    for epoch in epochs:
        if observer.due(epoch):
            observer.observe(epoch, start(epoch))
    summary = observer.finish(Target(start(epochs[-1])), loaded or data(), folder / "cell.npz", epoch=epochs[-1])
    json.dumps(summary, allow_nan=False)  # it must fit into a record
    return summary, read_arrays(folder / "cell.npz") if observer.wrote_arrays else None


def test_a_run_leaves_every_analysis_and_its_arrays(tmp_path):
    summary, arrays = run(tmp_path)
    assert set(summary) == {"probe", "tsne", "discrepancy", "similarity"}
    found = summary["probe"]
    assert found["epochs"] == [0, 3] and found["n_train"] == 60 and found["n_test"] == 30
    assert found["error"][0] == found["pretrained_error"] and found["source"] == "fake"
    assert all(low <= error <= high for low, error, high in zip(found["low"], found["error"], found["high"]))
    assert summary["similarity"]["cka"]["value"][0] == 1 and summary["similarity"]["cka"]["value"][1] < 1
    assert summary["similarity"]["movement"] == pytest.approx({"blocks.0": 0.3, "all": 0.3})
    assert summary["tsne"]["classes"] == ["zero", "one", "two"] and arrays["tsne_last"].shape == (30, 2)
    assert {"features_pretrained", "features_epoch_3", "tsne_pretrained"} <= set(arrays)
    assert "features_epoch_0" not in arrays and arrays["features_pretrained"].dtype == np.float16


def test_the_numbers_are_those_of_the_plain_functions(tmp_path):
    summary, arrays = run(tmp_path)
    source = FakeSource()
    rows, test = choose_source(source)
    x = source.encoded(fine_tuned(3), rows).numpy().astype(np.float16)
    y = source.labels_of(rows)
    assert np.array_equal(arrays["features_epoch_3"], x) and np.array_equal(arrays["source_labels"], y)
    assert summary["probe"]["error"][1] == probe(x[~test], y[~test], x[test], y[test]).error
    model = Target(fine_tuned(3))
    with torch.no_grad():
        seen = source.model.encoder(model.embedder(torch.from_numpy(data().train.x))).mean(1).numpy()
    h0 = fit_linear(source.encoded(Encoder(), rows[~test]).numpy().astype(np.float16), y[~test])
    expected = discrepancy(h0.log_probabilities(seen), data().train.y)
    assert summary["discrepancy"]["d"] == pytest.approx(expected.unnormalised, abs=1e-5)
    assert summary["discrepancy"]["pairing"] == [
        [str(i), source.classes[s]] for i, s in zip(expected.target_classes, expected.pairing)
    ]
    assert summary["discrepancy"]["target_labels"] == "classes of the task"


def test_chosen_epochs_and_those_never_reached(tmp_path):
    settings = AnalysisSettings(probe=True, probe_epochs=(1, 60))
    summary, _ = run(tmp_path, settings)
    assert summary["probe"]["epochs"] == [0, 1, 3] and summary["probe"]["not_reached"] == [60]


def test_an_early_end_is_probed_where_it_ended(tmp_path):
    summary, arrays = run(tmp_path, epochs=(0, 1, 2), planned=9)
    assert summary["probe"]["epochs"] == [0, 2] and summary["probe"]["not_reached"] == [9]
    assert np.array_equal(
        arrays["features_epoch_2"], run(tmp_path / "other", epochs=(0, 2), planned=2)[1]["features_epoch_2"]
    )


def test_a_resumed_run_keeps_what_the_first_attempt_saw(tmp_path):
    first = Observer(ALL, FakeSource(), tmp_path / "resumed" / "work", 0, 3)
    first.observe(0, fine_tuned(0))
    # After a restart the weights are already those of a later epoch when epoch 0 is announced again.
    summary, arrays = run(tmp_path / "resumed", start=lambda epoch: fine_tuned(max(epoch, 2)))
    reference, expected = run(tmp_path / "whole")
    assert summary == reference
    assert arrays.keys() == expected.keys() and all(np.array_equal(arrays[k], expected[k]) for k in arrays)


def test_a_kept_epoch_is_not_computed_again(tmp_path):
    observer = Observer(ALL, FakeSource(), tmp_path, 0, 3)
    encoder = fine_tuned(3)
    observer.observe(3, encoder)
    observer.observe(3, encoder)
    assert encoder.calls == 1


def test_damaged_and_foreign_files_are_taken_again(tmp_path):
    rows = np.arange(4)
    files = FeatureFolder(tmp_path, "abc", rows)
    kept = files.put(1, np.ones((4, 2)))
    assert np.array_equal(files.get(1), kept) and files.epochs() == [1]
    assert FeatureFolder(tmp_path, "other data", rows).get(1) is None
    assert FeatureFolder(tmp_path, "abc", rows[:3]).get(1) is None
    whole = files.path(1).read_bytes()
    at = whole.index(b"features.npy") + len(b"features.npy") + 20
    packed = whole[:at] + b"\xff" * 30 + whole[at + 30 :]  # its zip directory is whole, its block is not
    for damaged in (b"", whole[: len(whole) // 2], b"no zip at all", packed):
        files.path(1).write_bytes(damaged)
        assert files.get(1) is None


def test_features_beyond_float16_are_kept_in_float32(tmp_path):
    files = FeatureFolder(tmp_path, "abc", np.arange(2))
    assert files.put(1, np.array([[1.0], [1e6]])).dtype == np.float32
    assert files.put(2, np.array([[1.0], [1e4]])).dtype == np.float16


def test_a_body_from_random_weights_has_its_own_epoch_0_and_no_movement(tmp_path):
    summary, arrays = run(tmp_path, start=lambda epoch: Encoder(seed=5 + epoch))
    assert summary["probe"]["epochs"] == [0, 3] and "features_epoch_0" in arrays
    assert not np.array_equal(arrays["features_epoch_0"], arrays["features_pretrained"])
    assert summary["similarity"]["movement"] == {} and "not start" in summary["similarity"]["movement_skipped"]
    assert summary["similarity"]["cka"]["value"][0] < 1


def test_a_model_of_its_own_says_why_nothing_was_analysed(tmp_path):
    observer = Observer(ALL, None, tmp_path, 0, 3)
    assert not observer.due(0)
    summary = observer.finish(nn.Linear(2, 2), data(), tmp_path / "cell.npz")
    assert all("model of its own" in part["skipped"] for part in summary.values()) and len(summary) == 4
    assert not observer.wrote_arrays and not (tmp_path / "cell.npz").exists()


def test_nothing_asked_for_costs_nothing(tmp_path):
    summary, arrays = run(tmp_path, AnalysisSettings())
    assert summary == {} and arrays is None and not (tmp_path / "work").exists()


def test_discrepancy_alone_keeps_no_epochs(tmp_path):
    summary, arrays = run(tmp_path, AnalysisSettings(discrepancy=True))
    assert set(summary) == {"discrepancy"} and not any(name.startswith("features_epoch") for name in arrays)


def test_a_diverged_body_loses_its_analyses_but_not_the_record(tmp_path):
    def broken(epoch):
        encoder = fine_tuned(epoch)
        if epoch:
            encoder.blocks[0].weight.data.fill_(float("nan"))
        return encoder

    summary, _ = run(tmp_path, start=broken)
    for name in ("probe", "tsne", "similarity"):
        assert "NaN" in summary[name]["skipped"], name
    assert summary["discrepancy"]["n"] == 80  # the pretrained body and the embedder are sound


def test_dense_targets_are_clustered_to_at_most_the_source_classes(tmp_path):
    summary, arrays = run(tmp_path, AnalysisSettings(discrepancy=True), loaded=data(labels=0))
    assert summary["discrepancy"]["target_labels"] == "3 k-means clusters of the flattened targets"
    assert set(arrays["target_labels"]) == {0, 1, 2} and arrays["target_names"].tolist()[0] == "cluster 0"


def test_more_target_than_source_classes_are_merged_and_said_so(tmp_path):
    summary, arrays = run(tmp_path, AnalysisSettings(discrepancy=True), loaded=data(labels=7))
    assert summary["discrepancy"]["target_labels"].startswith("7 classes merged into 3 groups")
    members = sorted(int(c) for name in arrays["target_names"] for c in name.split())
    assert members == list(range(7)) and len(summary["discrepancy"]["pairing"]) == 3


def test_a_single_target_class_is_skipped_with_the_reason(tmp_path):
    summary, _ = run(tmp_path, loaded=data(labels=1))
    assert "1 class" in summary["discrepancy"]["skipped"] and "error" in summary["probe"]


def test_the_view_of_the_target_is_seeded_and_leaves_the_model_in_its_mode():
    model, source = Target(), FakeSource()
    views = [view_target(model.embedder, model.encoder, data().train, source.device, 3, seed) for seed in (0, 0)]
    assert (
        np.array_equal(*(arrays["target_features"] for arrays, _ in views))
        and model.embedder.training
        and model.encoder.training
    )
    split = dataclasses.replace(data(n=80).train, x=np.zeros((3000, 1, 2), np.float32), y=np.arange(3000) % 3)
    assert len(choose_samples(split, 0)) == 2000 == len(set(choose_samples(split, 0)))
    assert not np.array_equal(choose_samples(split, 0), choose_samples(split, 1))


def test_the_source_subset_is_the_same_for_every_cell(monkeypatch):
    monkeypatch.setattr(kept_features, "TRAIN", 10)
    monkeypatch.setattr(kept_features, "TEST", 5)
    rows, test = choose_source(FakeSource())
    assert len(rows) == 15 and test.sum() == 5 and (rows[test] >= 60).all() and (rows[~test] < 60).all()
    assert np.array_equal(rows, choose_source(FakeSource())[0])


def test_kept_arrays_can_be_analysed_later(tmp_path):
    _, arrays = run(tmp_path, AnalysisSettings(probe=True))
    assert summarise("tsne", arrays)[1]["tsne_last"].shape == (30, 2)
    assert summarise("similarity", arrays)[0]["cka"]["epochs"] == [0, 3]
    with pytest.raises(NotKept, match=r"kept no target_features, target_labels.*--discrepancy"):
        summarise("discrepancy", arrays)


def test_arrays_are_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.npz"
    write_arrays(path, {"x": np.arange(3)})
    with pytest.raises(ValueError, match="pickle"):
        write_arrays(path, {"x": np.array([object()])})
    assert np.array_equal(read_arrays(path)["x"], np.arange(3)) and len(list(tmp_path.iterdir())) == 1


def test_same_weights():
    assert same_weights(Encoder(), fine_tuned(0)) and not same_weights(Encoder(), fine_tuned(1))
    assert not same_weights(Encoder(), nn.Linear(4, 6))


def test_the_probe_comes_unasked_where_training_is_long_enough_to_make_it_cheap():
    unasked, forbidden, asked = AnalysisSettings(), AnalysisSettings(probe=False), AnalysisSettings(probe=True)
    assert 2 * (TRAIN + TEST) <= 0.02 * 3 * LONG  # two forward passes of the source, three passes' worth of training
    assert decided(unasked, LONG // 10, 10).probe and not decided(unasked, LONG // 10 - 1, 10).probe
    assert not decided(forbidden, LONG, 10).probe and decided(asked, 1, 1).probe
