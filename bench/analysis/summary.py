"""From the arrays that a run kept to what its record says: pure functions, so that finished cells can be analysed too.

The arrays of a cell (its `.npz`):

    source_rows, source_labels, source_test   which source samples, their labels, whether for testing, each (n,)
    source_classes                            (K,) names
    features_pretrained                       (n, d) token means of f_0(e0(x)), f_0 the pretrained body
    features_epoch_<e>                        (n, d) the same with the body after epoch e
    started_pretrained                        whether the body started as f_0; if so there is no features_epoch_0
    tsne_rows, tsne_pretrained, tsne_last     rows into the test samples (m,), coordinates (m, 2)
    target_features, target_labels            (n', d) token means of f_0(e(x)) on target inputs, labels (n',)
    target_names                              (K',) names of the target's classes, clusters or groups
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bench.analysis import tsne
from bench.analysis.discrepancy import discrepancy
from bench.analysis.inputs import AnalysisError, NotKept
from bench.analysis.probe import C, fit_linear, probe
from bench.analysis.similarity import linear_cka

Arrays = Mapping[str, np.ndarray]

NAMES = ("probe", "tsne", "discrepancy", "similarity")


def epochs(arrays: Arrays) -> dict[int, np.ndarray]:
    """Epoch -> features (n, d), ascending. Epoch 0 is the body as fine-tuning found it."""
    prefix = "features_epoch_"
    found = {int(name[len(prefix) :]): array for name, array in arrays.items() if name.startswith(prefix)}
    if bool(arrays.get("started_pretrained", False)):
        found[0] = arrays["features_pretrained"]
    return dict(sorted(found.items()))


def need(arrays: Arrays, *names: str) -> None:
    """Raise NotKept if any of the named arrays was not kept."""
    if missing := [name for name in names if name not in arrays]:
        raise NotKept(
            f"the cell kept no {', '.join(missing)}: run it again with the analysis switched on "
            "(`bench run --probe --tsne --discrepancy --similarity`)"
        )


def probe_summary(arrays: Arrays) -> dict[str, Any]:
    """Probe errors (%) by epoch with their 95 % Wilson intervals, and the pretrained body's."""
    need(arrays, "features_pretrained", "source_labels", "source_test")
    test, labels = arrays["source_test"].astype(bool), arrays["source_labels"]

    def measure(features: np.ndarray) -> dict[str, Any]:
        return asdict(probe(features[~test], labels[~test], features[test], labels[test]))

    pretrained = measure(arrays["features_pretrained"])
    by_epoch = {
        epoch: pretrained if features is arrays["features_pretrained"] else measure(features)
        for epoch, features in epochs(arrays).items()
    }
    return {
        "unit": "%",
        "epochs": list(by_epoch),
        **{key: [row[key] for row in by_epoch.values()] for key in ("error", "low", "high", "converged")},
        **{f"pretrained_{key}": pretrained[key] for key in ("error", "low", "high")},
        **{key: pretrained[key] for key in ("n_train", "n_test", "classes")},
        "rule": f"multinomial logistic regression on standardised features, L2, C = {C:g}",
    }


def tsne_summary(arrays: Arrays) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What the panels show, and their coordinates: the pretrained body and the body after the last epoch."""
    need(arrays, "features_pretrained", "source_labels", "source_test", "source_classes")
    by_epoch = epochs(arrays)
    if not by_epoch:
        raise NotKept("the cell kept no features of any epoch: run it again with `bench run --tsne`")
    test = arrays["source_test"].astype(bool)
    labels = arrays["source_labels"][test]
    rows, last = tsne.choose_rows(labels), max(by_epoch)
    panels = {"tsne_pretrained": arrays["features_pretrained"], "tsne_last": by_epoch[last]}
    out = {name: tsne.coordinates(features[test][rows], labels[rows]) for name, features in panels.items()}
    classes = [str(arrays["source_classes"][label]) for label in np.unique(labels[rows])]
    summary = {"classes": classes, "seed": tsne.SEED, "n": len(rows), "epoch": last, "panels": ["pretrained", "last"]}
    return summary, {"tsne_rows": rows, **out}


def similarity_summary(arrays: Arrays) -> dict[str, Any]:
    """Linear CKA between the pretrained body's features and those after each epoch, over all kept source samples."""
    need(arrays, "features_pretrained")
    start = arrays["features_pretrained"]
    values = {epoch: linear_cka(start, features) for epoch, features in epochs(arrays).items()}
    return {"cka": {"epochs": list(values), "value": list(values.values()), "n": len(start)}}


def discrepancy_summary(arrays: Arrays) -> dict[str, Any]:
    """D in its variants with the pairing, h0 being a linear classifier of the pretrained body's source features.

    Bodies come with different heads or none, so h0 is fitted the same way for all of them: the probe's regression.
    """
    need(arrays, "features_pretrained", "source_labels", "source_test", "target_features", "target_labels")
    train = ~arrays["source_test"].astype(bool)
    h0 = fit_linear(arrays["features_pretrained"][train], arrays["source_labels"][train])
    found = discrepancy(h0.log_probabilities(arrays["target_features"]), arrays["target_labels"])
    source, target = arrays["source_classes"], arrays["target_names"]

    def pairs(pairing: np.ndarray) -> list[list[str]]:
        return [[str(target[t]), str(source[h0.classes[s]])] for t, s in zip(found.target_classes, pairing)]

    return {
        "d": found.unnormalised,
        "variant": "unnormalised",
        "unnormalised": found.unnormalised,
        "renormalised": found.renormalised,
        "renormalised_exact": found.renormalised_exact,
        "matched_only": found.matched_only,
        "chance": found.chance,
        "pairing": pairs(found.pairing),
        "renormalised_pairing": pairs(found.renormalised_pairing),
        "n": len(arrays["target_labels"]),
        "classifier": "linear probe of the pretrained body's source features",
    }


def summarise(name: str, arrays: Arrays) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One analysis by name: what the record says, and arrays to keep. Where it has no meaning, `skipped` says why.

    NotKept where the arrays lack what it reads.
    """
    functions = {"probe": probe_summary, "discrepancy": discrepancy_summary, "similarity": similarity_summary}
    try:
        # The arrays are small: on cores shared with other cells, BLAS threads wait far longer than they help.
        with threadpool_limits(1, "blas"):
            return tsne_summary(arrays) if name == "tsne" else (functions[name](arrays), {})
    except AnalysisError as error:
        return {"skipped": str(error)}, {}
