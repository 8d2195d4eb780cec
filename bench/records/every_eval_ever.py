"""Finished records in the shared format of Every Eval Ever: one file for each cell, where its datastore wants it.

Written to version 0.3.0 of its schema (`every_eval_ever/schemas/eval.schema.json` of the package every-eval-ever).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from bench.records.record import Record
from bench.search.space import is_trial
from tasks.metrics import METRICS

SCHEMA = "0.3.0"
LIBRARY = "cross-modality-bench"
READ = (
    *(
        "task",
        "method",
        "backbone",
        "seed",
        "id",
        "status",
        "protocol",
        "profile",
        "origin",
        "overrides",
        "search",
        "weights",
    ),
    *("metric", "metrics", "parameters", "data", "git", "device", "start", "end"),
)


def file_of(record: Record, organisation: str) -> tuple[PurePosixPath, dict[str, Any]]:
    """Path below the datastore and content, for a record that is done; `organisation` is who ran the cell.

    The name of the file follows from the record, so that a second export writes the same file.
    """
    developer = re.sub(r"[^\w.-]+", "-", organisation).strip(".-")
    model = f"{record['backbone']}-{record['method']}"
    created = str(round(datetime.fromisoformat(record["end"]).timestamp()))
    name = hashlib.sha256(f"{record['id']} {record['end']}".encode()).digest()[:16]
    path = PurePosixPath("data", LIBRARY, developer, model, f"{uuid.UUID(bytes=name, version=4)}.json")
    content = {
        "schema_version": SCHEMA,
        "evaluation_id": f"{LIBRARY}/{developer}/{model}/{record['id']}/{created}",
        "evaluation_timestamp": record["start"],
        "retrieved_timestamp": created,
        "source_metadata": {
            "source_name": LIBRARY,
            "source_type": "evaluation_run",
            "source_organization_name": organisation,
            "evaluator_relationship": "first_party",
        },
        "eval_library": {
            "name": LIBRARY,
            "version": record["git"].get("commit") or "unknown",
            "additional_details": _texts(changed_since_commit=record["git"].get("dirty")),
        },
        "model_info": _model(record, f"{developer}/{model}", organisation),
        "evaluation_results": [_result(record, metric) for metric in _finite(record)],
    }
    return path, content


def can_be_said(record: Record) -> bool:
    """Whether the format has a place for a record: it is done, has a score that is a number, and is no search's trial."""
    return record["status"] == "done" and bool(_finite(record)) and not is_trial(record)


def _finite(record: Record) -> list[str]:
    """The metrics that have a value, the task's own first."""
    names = [name for name, metric in record["metrics"].items() if metric["value"] is not None]
    return sorted(names, key=lambda name: name != record["metric"])


def _model(record: Record, model_id: str, organisation: str) -> dict[str, Any]:
    """The adapted model. Whether its weights are published, the record does not know."""
    return {
        "name": f"{record['backbone']}, transferred by {record['method']}",
        "id": model_id,
        "developer": organisation,
        "additional_details": {
            "deployment_type": "self_deployed",
            "model_availability": "unknown",
            **_texts(
                backbone=record["backbone"],
                method=record["method"],
                settings_changed=record["overrides"],
                seed=record["seed"],
                profile=record["profile"],
                started_from=record["weights"],
                parameters=record["parameters"].get("total"),
                device=record["device"],
            ),
        },
    }


def _result(record: Record, name: str) -> dict[str, Any]:
    metric, data = record["metrics"][name], record["data"]
    generated = record["origin"] == "generated"
    sizes = data.get("sizes", {})
    return {
        "evaluation_result_id": f"{record['id']}/{name}",
        "evaluation_name": record["task"],
        "source_data": {
            "dataset_name": f"{record['task']} (a stand-in that {LIBRARY} generates)" if generated else record["task"],
            "source_type": "other",
            "additional_details": _texts(
                origin=record["origin"], fingerprint=data.get("fingerprint"), test_samples=sizes.get("test")
            ),
        },
        "metric_config": {
            "metric_id": f"{LIBRARY}.{name}",
            "metric_name": name,
            "metric_unit": metric["unit"],
            "lower_is_better": not metric["higher_is_better"],
            **_range(name),
        },
        "score_details": {
            "score": metric["value"],
            "details": _texts(protocol=record["protocol"], score_of_the_task=name == record["metric"]),
        },
    }


def _range(name: str) -> dict[str, Any]:
    """What the format wants to know of a metric with a range; nothing where the metric is not one of this project."""
    if name not in METRICS:
        return {}
    low, high = (value if math.isfinite(value) else f"{'-' * (value < 0)}Infinity" for value in METRICS[name].range)
    formula = METRICS[name].formula
    return {"evaluation_description": formula, "score_type": "continuous", "min_score": low, "max_score": high}


def _texts(**details: Any) -> Mapping[str, str]:
    """Details as the format has them: all text, without those that are not known."""
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in details.items() if v is not None}
