"""t-SNE of source features: the same classes, samples and seed in every panel (MoNA, Fig. 2)."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from bench.analysis.inputs import AnalysisError, check_features, check_labels

SEED = 0
MOST_CLASSES = 10
PER_CLASS = 100
PERPLEXITY = 30.0


def choose_rows(labels: np.ndarray, most_classes: int = MOST_CLASSES, per_class: int = PER_CLASS) -> np.ndarray:
    """Rows to show, ascending: the first `per_class` of each of the `most_classes` smallest labels; no draw."""
    labels = np.asarray(labels)
    kept = np.unique(labels)[:most_classes]
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:per_class] for label in kept]))


def coordinates(features: np.ndarray, labels: np.ndarray, seed: int = SEED) -> np.ndarray:
    """(n, d) features -> (n, 2) float32 t-SNE coordinates, without unit; deterministic.

    Scikit-learn's t-SNE with PCA initialisation; perplexity 30, or a third of the samples where they are fewer.
    """
    from sklearn.manifold import TSNE

    x = check_features(features)
    check_labels(labels, len(x))
    if len(x) < 4:
        raise AnalysisError(f"{len(x)} samples: t-SNE needs at least 4")
    if np.ptp(x, axis=0).max() == 0:
        raise AnalysisError("the features are the same for every sample: t-SNE has nothing to show")
    if x.shape[1] == 1:  # the PCA start needs two components
        x = np.concatenate([x, np.zeros_like(x)], axis=1)
    perplexity = min(PERPLEXITY, (len(x) - 1) / 3)
    solver = TSNE(2, perplexity=perplexity, init="pca", learning_rate="auto", random_state=seed, n_jobs=1)
    # Scikit-learn's t-SNE takes every core whatever n_jobs says; threads that wait for busy cores cost minutes.
    with threadpool_limits(1):
        return solver.fit_transform(x).astype(np.float32)
