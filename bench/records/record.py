"""What one cell leaves: the record, key by key. A record is a plain dict, valid JSON, complete in itself.

`RECORD` lists every key with its type, meaning and when it may be absent (None); `bench.records.layout` has the types of what lies
deeper. `check` refuses what does not fit, so that neither a bug nor an edited file can enter a table unnoticed.
"""

from __future__ import annotations

import marshal
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bench.records import layout
from bench.records.layout import AnyText, Count, Name, Setting, Time, Word
from bench.records.schema import checker

SCHEMA = 2

STATUSES = ("done", "failed", "diverged", "out_of_memory", "timeout", "lost")

Record = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """One key of a record."""

    kind: Any
    """Its type, in the words of `bench.records.schema`."""
    meaning: str
    optional: bool = False
    """May be None (failures have no score; a CPU has no device memory)."""

    @property
    def nested(self) -> bool:
        """Whether its value is an object, with keys of its own."""
        return typing.is_typeddict(self.kind) or typing.get_origin(self.kind) is dict


RECORD: Mapping[str, Key] = {
    "schema": Key(int, "version of this layout"),
    "id": Key(Name, "the cell's id: SHA-256 of its identity"),
    "task": Key(Name, "task name"),
    "method": Key(Name, "method name"),
    "backbone": Key(Name, "backbone name"),
    "seed": Key(int, "seed of everything random in the cell"),
    "profile": Key(Literal["published", "quick", "converged", "tiny"], "which recipe and stand-in size"),
    "protocol": Key(Literal["strict", "paper"], "strict or paper"),
    "origin": Key(Literal["official", "generated"], "official or generated data"),
    "overrides": Key(dict[str, Setting], "identity settings that differ from the task's recipe, by dotted name"),
    "search": Key(
        layout.Searched,
        "the search that the cell belongs to: {space, sampler, seed, trials}; trials is None of a trial, else it is a "
        "repeat of what was chosen from so many",
        True,
    ),
    "settings": Key(dict[str, Setting], "every resolved identity setting, by dotted name"),
    "runtime": Key(dict[str, Setting], "every resolved runtime setting, by dotted name"),
    "status": Key(Literal[STATUSES], "how the cell ended"),
    "metric": Key(Word, "name of the metric that `score` is in"),
    "unit": Key(Word, "its unit"),
    "higher_is_better": Key(bool, "its direction"),
    "score": Key(float, "the score the protocol reports: best on validation (strict), last epoch (paper)", True),
    "score_last": Key(float, "test score after the last epoch", True),
    "score_best_val": Key(float, "test score of the epoch best on validation", True),
    "score_best_test": Key(
        float, "best test score of any epoch: an oracle, kept under paper or trainer.track_test", True
    ),
    "epoch_best_val": Key(Count, "the epoch best on validation, counted from 1", True),
    "epoch_best_val_at": Key(float, "the part of stage 2 as it was planned, 0..1, that was over at its end", True),
    "epochs_stage2": Key(Count, "epochs of stage 2 that were run", True),
    "stopped_early": Key(bool, "whether stage 2 ended by `trainer.patience`, before its epochs or budget did", True),
    "val_score": Key(float, "validation score at the epoch best on validation", True),
    "metrics": Key(
        dict[str, layout.Metric], "every metric of the reported model on test: name -> {value, unit, higher_is_better}"
    ),
    "metrics_last": Key(dict[str, layout.Metric], "the same after the last epoch"),
    "trivial": Key(
        layout.Trivial, "the best trivial predictor on the same split: {name, score, metrics, all: {name: score}}"
    ),
    "beats_trivial": Key(bool, "whether `score` is better than the trivial predictor's", True),
    "data": Key(
        layout.Data,
        "{fingerprint, verification, unlike_published (official data alone), files, members, sizes: {train, val, test}, "
        "input_shape, output_shape, notes}",
    ),
    "weights": Key(AnyText, "what the body started from, e.g. 'pretrained: ...' or 'random, seed 0'", True),
    "body": Key(
        layout.Body, "the pretrained body of the backbone, whatever the model starts from: {sha256, parameters}", True
    ),
    "source": Key(layout.Source, "the source data used: {name, origin, fingerprint, classes, count}, {} if none"),
    "parameters": Key(dict[str, Count], "{total, trainable, embedder, encoder, predictor}"),
    "seconds_data": Key(float, "loading (and generating) data", True),
    "seconds_stage1": Key(float, "stage 1", True),
    "seconds_stage2": Key(float, "stage 2, evaluations excluded", True),
    "seconds_eval": Key(float, "evaluations", True),
    "seconds_checkpoints": Key(float, "writing and reading checkpoints", True),
    "seconds_total": Key(float, "whole cell, all attempts", True),
    "steps_stage1": Key(Count, "optimiser steps of stage 1", True),
    "steps_stage2": Key(Count, "optimiser steps of stage 2", True),
    "samples_per_second": Key(float, "training samples per second in stage 2", True),
    "peak_memory_host": Key(Count, "largest resident set, bytes", True),
    "peak_memory_device": Key(Count, "largest device allocation, bytes", True),
    "peak_memory_stage1": Key(dict[str, Count], "the same during stage 1: {host, and device where there is one}", True),
    "peak_memory_stage2": Key(dict[str, Count], "the same during stage 2 with its evaluations", True),
    "utilisation": Key(float, "device utilisation in stage 2, 0..1, where it can be read", True),
    "precision": Key(str, "what `auto` became", True),
    "attempts": Key(Count, "times the cell was started"),
    "retries": Key(
        dict[str, Setting], "samples at once where memory ran out, e.g. {'micro_batch': 8}, {} if it did not"
    ),
    "host": Key(AnyText, "host name"),
    "device": Key(str, "device name"),
    "driver": Key(str, "driver version", True),
    "threads": Key(Count, "CPU threads of torch", True),
    "packages": Key(dict[str, str], "versions of the packages that matter"),
    "git": Key(
        layout.Git,
        "{commit, dirty} at execution and the commits of all attempts, {} outside of this project's checkout",
    ),
    "code": Key(
        layout.Code,
        "{task, method}: hash of the source of the plug-in and of all modules that it imports (`tasks.source`)",
    ),
    "command": Key(AnyText, "the command that made the record"),
    "start": Key(Time, "UTC, ISO 8601"),
    "end": Key(Time, "UTC, ISO 8601"),
    "error": Key(layout.Error, "for a failure: {type, message, traceback, log}", True),
    "analysis": Key(layout.Analysis, "probe, t-SNE, discrepancy, similarity: small results; arrays are in the sidecar"),
    "sidecars": Key(layout.Sidecars, "{curves, arrays, predictions}: file names beside the record, where written"),
}


CHECKS = {name: checker(key.kind) for name, key in RECORD.items()}
COMMON = RECORD.keys() - {"id", "start", "end", "metrics", "metrics_last", "error", "analysis", "sidecars"}
"""Keys whose texts and objects many records have in common."""
OPTIONAL = frozenset(name for name, key in RECORD.items() if key.optional)


class Shared:
    """Texts and objects of the records read so far; equal ones become one.

    Thousands of records have a few dozen different settings, packages and machines: each is checked and kept once.
    """

    def __init__(self) -> None:
        self._parts: dict[str, dict[str | bytes, Any]] = {name: {} for name in COMMON}

    def __call__(self, name: str, value: Any) -> Any:
        """The checked part that equals `value`, which stands at the key `name`; ValueError if it does not fit."""
        # Version 2 has no references, so equal values have equal bytes; 1, 1.0 and True have different ones.
        key = value if isinstance(value, str) else marshal.dumps(value, 2)
        parts = self._parts[name]
        if key not in parts:
            CHECKS[name](value, name)
            parts[key] = value
        return parts[key]


def check(record: Any, shared: Shared | None = None) -> None:
    """Raise ValueError naming the first key that does not fit `RECORD`; optional keys that are not there become None.

    With `shared`, parts that other records have too are replaced by theirs.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a record is a JSON object, this is a {type(record).__name__}")
    schema = record.get("schema")
    if type(schema) is not int:
        raise ValueError("no schema number: not a record of this project")
    if schema > SCHEMA:
        raise ValueError(f"schema {schema} is newer than this version's {SCHEMA}: update the project to read it")
    for name, fits in CHECKS.items():
        value = record.get(name)
        if value is None and name in OPTIONAL:
            record[name] = None
        elif value is None and name not in record:
            raise ValueError(f"key {name!r} is missing")
        elif shared is not None and name in COMMON and isinstance(value, (str, dict)):
            record[name] = shared(name, value)
        else:
            fits(value, name)
