"""The record of a cell before and around its run: what is known from the start, and what a failure makes of it."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import machine, plan, registry, settings
from bench.cell.memory import ran_out
from bench.cell.scoring import metric_names
from bench.cell.trainer import Diverged
from bench.plan import Cell
from bench.records.record import RECORD, SCHEMA, Record
from tasks.metrics import METRICS


def begin(cell: Cell, work: Path, runtime: Mapping[str, Any], command: str = "") -> Record:
    """A record with everything that is known before anything runs; counts the attempt."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "attempts").open("a") as handle:
        handle.write(f"{now()} {socket.gethostname()}\n")
    return draft_of(cell, work, runtime, command)


def draft_of(cell: Cell, work: Path, runtime: Mapping[str, Any], command: str = "") -> Record:
    """A record with everything that is known before anything runs, and the attempts counted so far.

    `command` is what the user typed; by default this process's own command line.
    """
    attempts = work / "attempts"
    task = registry.tasks()[cell.task]
    config = plan.resolve(cell, runtime)
    metric = METRICS[metric_names(task, cell.protocol)[0]]
    unknown: dict[str, Any] = dict.fromkeys(name for name, key in RECORD.items() if key.optional)
    return {
        "schema": SCHEMA,
        **cell.key(),
        "profile": cell.profile,
        "protocol": cell.protocol,
        "origin": cell.origin,
        "overrides": {k: list(v) if isinstance(v, tuple) else v for k, v in cell.overrides},
        "settings": settings.flatten(config, "identity"),
        "runtime": settings.flatten(config, "runtime"),
        "status": "failed",
        "metric": metric.name,
        "unit": metric.unit,
        "higher_is_better": metric.higher_is_better,
        **unknown,
        "metrics": {},
        "metrics_last": {},
        "trivial": {},
        "data": {},
        "source": {},
        "parameters": {},
        "attempts": len(attempts.read_text().splitlines()) if attempts.exists() else 0,
        "retries": {},
        "host": socket.gethostname(),
        "device": "unknown",
        "packages": machine.packages(),
        "git": machine.git(),
        "code": registry.code_of(cell.task, cell.method, cell.origin),
        "command": command or machine.command(),
        "start": now(),
        "end": now(),
        "analysis": {},
        "sidecars": {},
    }


def fail(draft: Record, status: str, error: BaseException) -> None:
    """Make a record of a draft whose cell ended in `error`."""
    draft["status"] = status
    trace = "".join(traceback.format_exception(error))
    draft["error"] = {"type": type(error).__name__, "message": str(error), "traceback": trace, "log": ""}


def status_of(error: BaseException) -> str:
    """The status of a record for an exception."""
    if isinstance(error, Diverged):
        return "diverged"
    return "out_of_memory" if ran_out(error) else "failed"


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
