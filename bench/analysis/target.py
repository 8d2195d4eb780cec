"""What the pretrained body makes of embedded target inputs: the side of the discrepancy that needs the model."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from bench.analysis.discrepancy import group_classes
from tasks.contract import Split, targets_of

SAMPLES = 2000
"""Target samples that the discrepancy is estimated from."""
CLUSTERS = 10
"""Pseudo-classes of a dense, multi-label or regression target (k-means on the flattened targets), as ORCA has it."""
WHOLE_TARGETS = 256 << 20
"""Targets up to so many bytes are clustered at once; larger ones in batches, so that they are never in memory whole. The
discrepancy takes fewer samples of them."""
BATCH = 64


def choose_samples(split: Split, seed: int) -> np.ndarray:
    """Up to SAMPLES rows of a split, drawn without replacement from `seed`, ascending."""
    count = min(SAMPLES, len(split))
    if split.labels is None:
        size = targets_of(split, np.arange(1))[0].size * 4
        count = min(count, max(CLUSTERS, WHOLE_TARGETS // size))
    return np.sort(np.random.default_rng([seed, len(split)]).permutation(len(split))[:count])


@torch.no_grad()
def view_target(
    embedder: nn.Module, encoder: nn.Module, split: Split, device: torch.device, most_classes: int, seed: int
) -> tuple[dict[str, np.ndarray], str]:
    """Samples of `split` through e and the pretrained f, not augmented, with at most `most_classes` labels.

    Returns `target_features`, `target_labels` and `target_names` as `bench.analysis.summary` has them, and in words where
    the labels come from. Deterministic in `seed`. Labels are the task's classes; k-means clusters of the flattened targets where it has none;
    groups of classes (k-means on class means of the embedded inputs) where it has more classes than the source.
    """
    index = choose_samples(split, seed)
    features, tokens = [], []
    was_training = embedder.training, encoder.training
    embedder.eval(), encoder.eval()
    try:
        for start in range(0, len(index), BATCH):
            batch = split.batch(index[start : start + BATCH], None)
            embedded = embedder(torch.as_tensor(batch.x, dtype=torch.float32, device=device))
            features.append(encoder(embedded).mean(dim=1).float().cpu().numpy())
            tokens.append(embedded.mean(dim=1).float().cpu().numpy())
    finally:
        embedder.train(was_training[0]), encoder.train(was_training[1])
    if split.labels is None:
        labels, names, origin = _clusters(split, index, most_classes, seed)
    else:
        labels, names, origin = _classes(split.labels[index], np.concatenate(tokens), most_classes, seed)
    arrays = {"features": np.concatenate(features), "labels": labels, "names": np.array(names)}
    return {f"target_{name}": array for name, array in arrays.items()}, origin


def _clusters(split: Split, index: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, tuple[str, ...], str]:
    k = min(CLUSTERS, most, len(np.unique(flat_targets(split, index), axis=0)))
    labels = cluster_targets(split, index, k, seed)
    return labels, tuple(f"cluster {i}" for i in range(k)), f"{k} k-means clusters of the flattened targets"


def flat_targets(split: Split, index: np.ndarray) -> np.ndarray:
    """(n, values) float32 targets of the samples at `index`."""
    y, _ = targets_of(split, index)
    return np.ascontiguousarray(y.reshape(len(y), -1), dtype=np.float32)


def cluster_targets(split: Split, index: np.ndarray, k: int, seed: int) -> np.ndarray:
    """(n,) k-means clusters, at most `k`, of the flattened targets of the samples at `index`; deterministic in `seed`.

    Targets above `WHOLE_TARGETS` bytes are read in batches by mini-batch k-means.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    k, size = min(k, len(index)), flat_targets(split, index[:1]).nbytes
    if size * len(index) <= WHOLE_TARGETS and len(index) <= 10_000:
        return KMeans(k, n_init=4, random_state=seed).fit_predict(flat_targets(split, index)).astype(np.int64)
    rows = max(k, min(1024, WHOLE_TARGETS // max(1, size)))
    chunks = [index[i : i + rows] for i in range(0, len(index), rows)]
    if len(chunks) > 1 and len(chunks[-1]) < k:
        chunks[-2:] = [np.concatenate(chunks[-2:])]
    model = MiniBatchKMeans(k, n_init=4, random_state=seed)
    for chunk in chunks:
        model.partial_fit(flat_targets(split, chunk))
    return np.concatenate([model.predict(flat_targets(split, c)) for c in chunks]).astype(np.int64)


def _classes(labels: np.ndarray, tokens: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, tuple[str, ...], str]:
    classes, y = np.unique(labels, return_inverse=True)
    if len(classes) <= most:
        return y.astype(np.int64), tuple(map(str, classes)), "classes of the task"
    y, groups = group_classes(tokens, labels, most, seed)
    names = tuple(" ".join(str(c) for c in classes[groups == group]) for group in range(most))
    how = "as many as the source has classes, by k-means on class means of embedded inputs"
    origin = f"{len(classes)} classes merged into {most} groups, {how}"
    return y, names, origin
