"""What a cell lends its method: labels without walking the data, clusters that never hold all targets, physical units."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bench.analysis import target as module
from bench.analysis.target import CLUSTERS
from bench.cell.build import Built
from bench.cell.context import CellContext
from bench.settings import AnalysisSettings, Stage1Settings, TrainerSettings
from methods.contract import MethodError
from tasks.contract import ArraySplit, Batch, Data


@dataclass
class Recorded:
    """A split whose targets are made when they are read, as those of a data set larger than memory; keeps how many."""

    centres: np.ndarray
    """(groups, *shape): sample i has the target of group i mod groups, and a little noise."""
    n: int
    labels: np.ndarray | None = None
    read: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return self.n

    def batch(self, index: np.ndarray, rng: np.random.Generator | None) -> Batch:
        assert self.labels is None, "labels are known, so the data need not be read"
        self.read.append(len(index))
        noise = np.stack([np.random.default_rng(int(i)).normal(size=self.centres.shape[1:]) for i in index])
        y = self.centres[np.asarray(index) % len(self.centres)] + 0.05 * noise
        return Batch(np.zeros((len(index), 1, 4), np.float32), y.astype(np.float32))


def centres(groups: int = 10) -> np.ndarray:
    return 5 * np.random.default_rng(1).normal(size=(groups, 2, 16))


def context(split, decode=None) -> CellContext:
    data = Data(split, None, split, (1, 4), (2, 16), decode)
    config = SimpleNamespace(trainer=TrainerSettings(), stage1=Stage1Settings())
    run = SimpleNamespace(config=config, device=torch.device("cpu"), cell=SimpleNamespace(seed=3), loss="mse")
    return CellContext(run, data, Built(None, None, AnalysisSettings()))


def assert_same_groups(found: np.ndarray, groups: int) -> None:
    """Each true group is one cluster, and no two share one."""
    clusters = [set(found[k::groups]) for k in range(groups)]
    assert all(len(c) == 1 for c in clusters) and len(set.union(*clusters)) == groups


def test_class_labels_are_the_label_vector_and_nothing_is_read():
    split = Recorded(centres(), 100, labels=np.arange(100) % 7)
    assert context(split).labels() is split.labels and not split.read


def clusters(split, seed):
    return module.cluster_targets(split, np.arange(len(split)), CLUSTERS, seed)


def test_dense_targets_are_clustered_once_and_alike_for_a_seed():
    split = Recorded(centres(), 200)
    lent = context(split)
    found = lent.labels()
    reads = len(split.read)
    assert lent.labels() is found and len(split.read) == reads
    assert_same_groups(found, 10)
    assert np.array_equal(found, clusters(split, 3))


def test_targets_that_may_not_fit_in_memory_are_read_a_part_at_a_time(monkeypatch):
    """Here 60 samples' targets are too many bytes at once; a rest smaller than the clusters joins the part before."""
    monkeypatch.setattr(module, "WHOLE_TARGETS", 60 * centres()[0].size * 4)
    split = Recorded(centres(), 605)
    assert_same_groups(clusters(split, 0), 10)
    assert max(split.read) <= 60 + 5 and sum(split.read) == 1 + 2 * 605


def test_several_labels_per_sample_are_clustered_too():
    kinds = np.triu(np.ones((10, 12), np.float32))
    y = kinds[np.arange(40) % 10]
    assert_same_groups(clusters(ArraySplit(np.zeros((40, 1, 4), np.float32), y), 0), 10)


def test_fewer_samples_than_clusters_are_a_cluster_each():
    assert sorted(clusters(Recorded(centres(), 4), 0)) == [0, 1, 2, 3]


def test_the_loss_compares_in_physical_units():
    split = ArraySplit(np.zeros((3, 1, 4), np.float32), np.full((3, 2, 16), 7, np.float32))
    shift, scale = np.full((2, 16), 1.0), np.full((2, 16), 3.0)
    lent = context(split, (shift, scale))
    assert float(lent.loss(torch.full((3, 2, 16), 2.0), lent.batch(np.arange(3)))) == 0  # 2 * 3 + 1


def test_a_method_that_did_not_ask_for_source_data_is_told_how():
    with pytest.raises(MethodError, match="needs_source = True"):
        _ = context(Recorded(centres(), 4)).source
