"""Analyses of cells that are finished: from the arrays that they kept, or from their weights."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from bench.analysis.features import WEIGHTS, read_weights
from bench.analysis.inputs import NotKept
from bench.analysis.similarity import movement
from bench.analysis.summary import summarise
from bench.records.arrays import write_arrays
from bench.records.record import Record
from bench.records.store import Store
from tasks.files.arrays import read_arrays


def analyse(store: Store, record: Record, names: Iterable[str], data_dir: Path, again: bool = False) -> dict[str, str]:
    """Add the named analyses to a finished cell's record and arrays; returns, for each, what came of it in words.

    What the record has already stays unless `again`. Nothing is written where nothing could be added. A record is
    written after its arrays, so that it never points to ones that are not there.
    """
    done = record["analysis"]
    outcome = {name: "there already" for name in names if name in done and not again}
    missing = [name for name in names if name not in outcome]
    if not missing:
        return outcome
    try:
        arrays, known = _arrays(store, record, data_dir)
    except NotKept as error:
        return outcome | dict.fromkeys(missing, f"not possible: {error}")
    added: dict[str, Any] = {}
    for name in missing:
        try:
            found, more = summarise(name, arrays)
        except NotKept as error:
            outcome[name] = "stays as it is" if name in done else f"not possible: {error}"
            continue
        arrays |= more
        before = {k: v for k, v in done.get(name, {}).items() if k != "skipped"}
        about = {"source": record["source"].get("name"), "source_fingerprint": record["source"].get("fingerprint")}
        added[name] = found if "skipped" in found else {**about, **before, **known.get(name, {}), **found}
        outcome[name] = f"skipped: {found['skipped']}" if "skipped" in found else "added"
    if added:
        path = store.sidecar(record, ".npz")
        write_arrays(path, arrays)
        store.write(record | {"analysis": done | added, "sidecars": record["sidecars"] | {"arrays": path.name}})
    return outcome


def _arrays(store: Store, record: Record, data_dir: Path) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """What the cell kept as arrays, taken from its kept weights where there are none; and what only weights tell."""
    path, weights = store.sidecar(record, ".npz"), store.sidecar(record, WEIGHTS)
    try:
        kept = read_arrays(path)
    except FileNotFoundError:
        kept = {}
    except ValueError as error:
        raise NotKept(f"{path.name}: {error}") from None
    if not weights.exists() or any(name.startswith("features_epoch") for name in kept):
        return kept, {}
    arrays, known = _from_weights(store, record, weights, data_dir)
    return kept | arrays, known


def _from_weights(
    store: Store, record: Record, weights: Path, data_dir: Path
) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
    """The source side of a cell, from the encoder that it kept: the pretrained body and the last epoch."""
    from bench.analysis.observe import Observer
    from bench.backbones import BACKBONES
    from bench.models.source import load_source_model
    from bench.settings import AnalysisSettings
    from bench.sources.data import SourceData
    from bench.sources.load import load_source

    backbone, settings = BACKBONES[record["backbone"]], record["settings"]
    source_arrays = load_source(settings["source.name"], backbone, data_dir, settings["source.corrupt"], record["seed"])
    source = SourceData(load_source_model(backbone), source_arrays)
    encoder = copy.deepcopy(source.model.encoder)
    try:
        encoder.load_state_dict(read_weights(weights, "last.encoder") or read_weights(weights, "encoder"))
    except ValueError as error:
        raise NotKept(f"{weights.name}: {error}") from None
    last = len(store.curves(record).get("stage2", ())) or settings["trainer.epochs"]
    with tempfile.TemporaryDirectory() as folder:
        observer = Observer(AnalysisSettings(similarity=True), source, Path(folder), record["seed"], last)
        if started := str(record["weights"]).startswith("pretrained"):
            observer.observe(0, source.model.encoder)
        arrays = observer.source_arrays(encoder, last)
    about = {"source": source.name, "source_fingerprint": source.fingerprint}
    moved = {"movement": movement(encoder, source.model.encoder) if started else {}}
    return arrays, {"probe": about, "tsne": about, "similarity": about | moved}
