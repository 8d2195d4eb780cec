"""What one cell leaves: the record, key by key. A record is a plain dict, valid JSON, complete in itself.

`RECORD` lists every key with its type, meaning and when it may be absent (None). `check` refuses what does not fit, so
that neither a bug nor an edited file can enter a table unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = 1

STATUSES = ("done", "failed", "diverged", "out_of_memory", "timeout", "lost")

Record = dict[str, Any]


@dataclass(frozen=True)
class Key:
    """One key of a record."""

    types: tuple[type, ...]
    meaning: str
    optional: bool = False
    """May be None (failures have no score; a CPU has no device memory)."""


_text, _int, _dict = (str,), (int,), (dict,)
_number = (int, float)

RECORD: Mapping[str, Key] = {
    "schema": Key(_int, "version of this layout"),
    "id": Key(_text, "the cell's id: SHA-256 of its identity"),
    "task": Key(_text, "task name"),
    "method": Key(_text, "method name"),
    "backbone": Key(_text, "backbone name"),
    "seed": Key(_int, "seed of everything random in the cell"),
    "profile": Key(_text, "which recipe and stand-in size: published, quick or tiny"),
    "protocol": Key(_text, "strict or paper"),
    "origin": Key(_text, "official or generated data"),
    "overrides": Key(_dict, "identity settings that differ from the task's recipe, by dotted name"),
    "settings": Key(_dict, "every resolved identity setting, by dotted name"),
    "runtime": Key(_dict, "every resolved runtime setting, by dotted name"),
    "status": Key(_text, f"one of {', '.join(STATUSES)}"),
    "metric": Key(_text, "name of the metric that `score` is in"),
    "unit": Key(_text, "its unit"),
    "higher_is_better": Key((bool,), "its direction"),
    "score": Key(_number, "the score the protocol reports: best on validation (strict), last epoch (paper)", True),
    "score_last": Key(_number, "test score after the last epoch", True),
    "score_best_val": Key(_number, "test score of the epoch best on validation", True),
    "score_best_test": Key(
        _number, "best test score of any epoch: an oracle, kept under paper or trainer.track_test", True
    ),
    "epoch_best_val": Key(_int, "the epoch best on validation, counted from 1", True),
    "val_score": Key(_number, "validation score at that epoch", True),
    "metrics": Key(_dict, "every metric of the reported model on test: name -> {value, unit, higher_is_better}"),
    "metrics_last": Key(_dict, "the same after the last epoch"),
    "trivial": Key(_dict, "the best trivial predictor on the same split: {name, score, metrics, all: {name: score}}"),
    "beats_trivial": Key((bool,), "whether `score` is better than the trivial predictor's", True),
    "data": Key(
        _dict, "{fingerprint, verification, files, sizes: {train, val, test}, input_shape, output_shape, notes}"
    ),
    "weights": Key(_text, "what the body started from, e.g. 'pretrained: ...' or 'random, seed 0'", True),
    "source": Key(_dict, "the source data used: {name, fingerprint, classes, count}, {} if none"),
    "parameters": Key(_dict, "{total, trainable, embedder, encoder, predictor}"),
    "seconds_data": Key(_number, "loading (and generating) data", True),
    "seconds_stage1": Key(_number, "stage 1", True),
    "seconds_stage2": Key(_number, "stage 2, evaluations excluded", True),
    "seconds_eval": Key(_number, "evaluations", True),
    "seconds_total": Key(_number, "whole cell, all attempts", True),
    "steps_stage1": Key(_int, "optimiser steps of stage 1", True),
    "steps_stage2": Key(_int, "optimiser steps of stage 2", True),
    "samples_per_second": Key(_number, "training samples per second in stage 2", True),
    "peak_memory_host": Key(_int, "largest resident set, bytes", True),
    "peak_memory_device": Key(_int, "largest device allocation, bytes", True),
    "peak_memory_stage1": Key(_dict, "the same during stage 1: {host, and device where there is one}", True),
    "peak_memory_stage2": Key(_dict, "the same during stage 2 with its evaluations", True),
    "utilisation": Key(_number, "device utilisation in stage 2, 0..1, where it can be read", True),
    "precision": Key(_text, "what `auto` became", True),
    "attempts": Key(_int, "times the cell was started"),
    "retries": Key(_dict, "what a retry changed, e.g. {'trainer.batch_size': 8}, {} if nothing"),
    "host": Key(_text, "host name"),
    "device": Key(_text, "device name"),
    "driver": Key(_text, "driver version", True),
    "threads": Key(_int, "CPU threads of torch", True),
    "packages": Key(_dict, "versions of the packages that matter"),
    "git": Key(_dict, "{commit, dirty} at execution, {} outside of a checkout"),
    "code": Key(
        _dict, "{task, method}: hash of the source of the plug-in and of all modules that it imports (`tasks.source`)"
    ),
    "command": Key(_text, "the command that made the record"),
    "start": Key(_text, "UTC, ISO 8601"),
    "end": Key(_text, "UTC, ISO 8601"),
    "error": Key(_dict, "for a failure: {type, message, traceback, log}", True),
    "analysis": Key(_dict, "probe, t-SNE, discrepancy, similarity: small results; arrays are in the sidecar"),
    "sidecars": Key(_dict, "{curves, arrays}: file names beside the record, where written"),
}


def check(record: Any) -> None:
    """Raise ValueError naming the first key that does not fit `RECORD`."""
    if not isinstance(record, dict):
        raise ValueError(f"a record is a JSON object, this is a {type(record).__name__}")
    schema = record.get("schema")
    if not isinstance(schema, int):
        raise ValueError("no schema number: not a record of this project")
    if schema > SCHEMA:
        raise ValueError(f"schema {schema} is newer than this version's {SCHEMA}: update the project to read it")
    for name, key in RECORD.items():
        if name not in record and not key.optional:
            raise ValueError(f"key {name!r} is missing")
        value = record.get(name)
        if value is None and key.optional:
            continue
        if not isinstance(value, key.types) or (isinstance(value, bool) and bool not in key.types):
            raise ValueError(f"key {name!r} is {value!r}, expected {' or '.join(t.__name__ for t in key.types)}")
    if record["status"] not in STATUSES:
        raise ValueError(f"status {record['status']!r} is none of {', '.join(STATUSES)}")


CURVES = """
The sidecar `.curves.json`: {"stage1": [row...], "stage2": [row...]}, one row per epoch. A row of stage 1 has `phase` (the
name the method gave), `epoch` (from 1), `steps`, `seconds`, `loss` and what else the method logs. A row of stage 2 has
`epoch` (from 1), `steps` (so far), `seconds`, `lr` (at the epoch's end), `loss` (mean training loss), and where evaluated `val` and `test` (scores
in the record's metric, in its unit); None where not finite.
"""
