"""The record of a cell in the making: what is known from the start, what each step adds, and what a failure makes of it."""

from __future__ import annotations

import json
import socket
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bench import machine, plan, registry, settings
from bench.cell.checkpoint import State
from bench.cell.memory import ran_out
from bench.cell.scoring import Scores, better, metric_names
from bench.cell.trainer import Diverged
from bench.plan import Cell
from bench.records.record import RECORD, SCHEMA, Record
from tasks.metrics import METRICS

if TYPE_CHECKING:
    from bench.models.source import SourceModel
    from bench.sources.arrays import SourceArrays

PARTS = ("embedder", "encoder", "predictor")


class Draft:
    """A record that is not written yet. Each method is a step of the cell's story and adds that step's keys."""

    def __init__(self, cell: Cell, work: Path, runtime: Mapping[str, Any], command: str = ""):
        """Everything that is known before anything runs, and the attempts counted so far in `work`.

        `command` is what the user typed; by default this process's own command line.
        """
        attempts = work / "attempts"
        config = plan.resolve(cell, runtime)
        metric = METRICS[metric_names(registry.tasks()[cell.task], cell.protocol)[0]]
        self.record: Record = {
            **{name: None if key.optional else {} for name, key in RECORD.items() if key.optional or key.nested},
            "schema": SCHEMA,
            **cell.key(),
            "profile": cell.profile,
            "protocol": cell.protocol,
            "origin": cell.origin,
            "overrides": {k: list(v) if isinstance(v, tuple) else v for k, v in cell.overrides},
            "search": cell.search and cell.search.to_dict(),
            "settings": settings.flatten(config, "identity"),
            "runtime": settings.flatten(config, "runtime"),
            "status": "failed",
            "metric": metric.name,
            "unit": metric.unit,
            "higher_is_better": metric.higher_is_better,
            "attempts": len(attempts.read_text().splitlines()) if attempts.exists() else 0,
            "host": socket.gethostname(),
            "device": "unknown",
            "packages": machine.packages(),
            "git": machine.git(),
            "code": registry.code_of(cell.task, cell.method, cell.origin),
            "command": command or machine.command(),
            "start": now(),
            "end": now(),
        }

    @classmethod
    def begin(cls, cell: Cell, work: Path, runtime: Mapping[str, Any], command: str = "") -> Draft:
        """The draft of an attempt that begins now, and counts."""
        work.mkdir(parents=True, exist_ok=True)
        with (work / "attempts").open("a") as handle:
            handle.write(f"{now()} {socket.gethostname()}\n")
        return cls(cell, work, runtime, command)

    # -- the steps, in their order -------------------------------------------------------------------------------

    def on(self, device: torch.device) -> None:
        """What computes it."""
        self.record |= {"device": machine.device_name(device), "driver": machine.driver(device)}
        self.record["threads"] = torch.get_num_threads()

    def data(self, description: Mapping[str, Any], seconds: float) -> None:
        """The data that were read, and how long that took."""
        self.record |= {"data": dict(description), "seconds_data": seconds}

    def body(self, body: SourceModel) -> None:
        """The pretrained body, whatever the model starts from."""
        self.record["body"] = {"sha256": body.sha256, "parameters": _count(body.encoder)}

    def source(self, arrays: SourceArrays, count: int) -> None:
        """The source data, and how many samples of them there are."""
        about = {"name": arrays.name, "origin": arrays.origin, "fingerprint": arrays.fingerprint}
        self.record["source"] = about | {"classes": len(arrays.classes), "count": count}

    def weights(self, weights: str) -> None:
        """What the model's weights started from."""
        self.record["weights"] = weights

    def parameters(self, model: nn.Module, moved: Iterable[nn.Parameter]) -> None:
        """How many parameters the model and its parts have, and how many of them stage 2 moves."""
        parts = {name: _count(getattr(model, name, None)) for name in PARTS}
        trainable = sum(parameter.numel() for parameter in set(moved))
        self.record["parameters"] = {"total": _count(model), "trainable": trainable, **parts}

    def trained_as(self, state: State, retries: dict[str, int]) -> None:
        """The precision and commits of the training so far; `retries` goes on changing where memory runs out."""
        self.record |= {"precision": state.precision, "retries": retries}
        if self.record["git"]:
            self.record["git"] = self.record["git"] | {"commits": state.commits}

    def trivial(self, scores: Mapping[str, Any]) -> None:
        """What predictors reach that learn nothing."""
        self.record["trivial"] = dict(scores)

    def stage1(self, state: State) -> None:
        """Stage 1 is over."""
        self.record |= {"steps_stage1": state.steps["stage1"], "seconds_stage1": state.seconds["stage1"]}

    def analysed(self, analysis: Mapping[str, Any], arrays: str | None) -> None:
        """The analyses, and the file beside the record that holds their arrays."""
        self.record["analysis"] = dict(analysis)
        if arrays is not None:
            self.record["sidecars"]["arrays"] = arrays

    def kept(self, predictions: str) -> None:
        """The name of the file beside the record that holds the predictions on the test split."""
        self.record["sidecars"]["predictions"] = predictions

    def scored(self, last: Scores, selected: Scores | None, state: State) -> None:
        """Test scores after the last epoch and of the selected one; None where the protocol selects none."""
        name, higher = self.record["metric"], self.record["higher_is_better"]
        rows = state.curves["stage2"]
        curve = [row["test"] for row in rows if row.get("test") is not None]
        reported = last if selected is None else selected
        self.record |= {
            "status": "done",
            "metrics_last": last,
            "metrics": reported,
            "score": reported[name]["value"],
            "score_last": last[name]["value"],
            "score_best_val": None if selected is None else selected[name]["value"],
            "score_best_test": (max if higher else min)(curve) if curve else None,
            "epoch_best_val": state.best_epoch,
            "epoch_best_val_at": next((row.get("done") for row in rows if row["epoch"] == state.best_epoch), None),
            "epochs_stage2": len(rows),
            "stopped_early": bool(rows) and rows[-1].get("done", 1.0) < 1,
            "val_score": state.best_val,
            "beats_trivial": better(reported[name]["value"], self.record["trivial"]["score"], higher),
        }

    def cost(self, state: State, curves: str) -> None:
        """What the training took; `curves` is the name of the file beside the record that tells it epoch by epoch."""
        seconds = state.seconds
        self.record |= {
            "seconds_stage2": seconds["stage2"],
            "seconds_eval": seconds["eval"],
            "seconds_checkpoints": seconds["checkpoints"],
            "seconds_total": self.record["seconds_data"] + sum(seconds.values()),
            "steps_stage2": state.steps["stage2"],
            "samples_per_second": state.samples / seconds["stage2"] if seconds["stage2"] > 0 else None,
            "utilisation": state.busy_seconds / state.metered_seconds if state.metered_seconds > 0 else None,
        }
        self.record["sidecars"]["curves"] = curves

    def memory(self, stage1: dict[str, int], stage2: dict[str, int], around: list[dict[str, int]]) -> None:
        """Peaks of memory in bytes by stage, and of the whole cell with what was `around` them."""
        parts = [stage1, stage2, *around]
        self.record |= {f"peak_memory_{kind}": max(part[kind] for part in parts) for kind in stage1}
        self.record |= {"peak_memory_stage1": stage1, "peak_memory_stage2": stage2}

    def failed(self, error: BaseException, status: str | None = None) -> None:
        """The cell ended in `error`, which tells the status by default."""
        trace = "".join(traceback.format_exception(error))
        plain = {"type": type(error).__name__, "message": str(error), "traceback": trace, "log": ""}
        self.record |= {"status": status or _status_of(error), "error": plain}

    def close(self) -> Record:
        """The record, ended now."""
        self.record["end"] = now()
        return self.record

    # -- what it is asked ----------------------------------------------------------------------------------------

    @property
    def made_of(self) -> str:
        """Data, code and weights: a checkpoint made of others is another experiment's."""
        parts = {"data": self.record["data"]["fingerprint"], **self.record["code"], "body": self.record["body"]}
        return json.dumps(parts, sort_keys=True)

    @property
    def commit(self) -> str | None:
        """The commit that computes it; None outside of a checkout."""
        return self.record["git"].get("commit")


def _status_of(error: BaseException) -> str:
    if isinstance(error, Diverged):
        return "diverged"
    return "out_of_memory" if ran_out(error) else "failed"


def _count(part: nn.Module | None) -> int:
    return 0 if part is None else sum(p.numel() for p in part.parameters())


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
