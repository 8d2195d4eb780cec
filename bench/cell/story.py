"""One cell from data to record, readable top to bottom: load, build, stage 1, stage 2, score, analyse, write."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench import faults, machine, plan, registry
from bench.analysis.observe import Observer, decided
from bench.analysis.summary import NAMES
from bench.backbones import BACKBONES
from bench.cell.batches import Loader
from bench.cell.checkpoint import Checkpoints, Unfit
from bench.cell.context import CellContext
from bench.cell.data import load_data
from bench.cell.determinism import determinism
from bench.cell.draft import begin, draft_of, fail, now, status_of
from bench.cell.scoring import better, loss_name, metric_names, predict, score_arrays, trivial_scores
from bench.cell.trainer import Progress, Trainer, warmup_decay
from bench.models.source import load_source_model
from bench.models.target import build_target, compiled, randomise, set_recompute
from bench.plan import Cell, Places
from bench.records.record import Record
from bench.records.store import Store
from bench.settings import Settings
from bench.sources import SourceData, load_source
from methods.contract import TorchBatch
from tasks.contract import Data
from tasks.losses import LOSSES, share
from tasks.metrics import METRICS


def run(
    cell: Cell,
    places: Places,
    runtime: Mapping[str, Any],
    progress: Progress | None = None,
    passthrough: tuple[type[BaseException], ...] = (),
    command: str = "",
) -> Record:
    """Run a cell and write its record; a failure is a record too. `command` is what the user typed.

    Resumes from the checkpoints that an earlier attempt left. KeyboardInterrupt and `passthrough` exceptions leave the
    checkpoints in place and propagate; so does an OSError that is the machine's fault. Only `done` removes checkpoints.
    """
    store = Store(places.results_dir)
    work = store.work(cell.id)
    draft = begin(cell, work, runtime, command)
    _forget_earlier_attempts(store, draft)
    curves: dict[str, Any] = {}
    while True:
        try:
            with determinism(cell.seed, runtime):
                curves = _run(cell, places, runtime, draft, progress or (lambda word: None))
        except passthrough:
            raise
        except Unfit as error:
            # The model may hold half of it by now: build it anew, and go on from the checkpoint before, or from none.
            faults.warn(str(error))
            Checkpoints(work).set_aside(error.path)
            continue
        # Whatever task, method or library code raises belongs into the cell's record, and the other cells go on.
        except Exception as error:
            fault = faults.of_machine(error)
            if fault is not None:
                raise fault from error
            fail(draft, status_of(error), error)
        break
    draft["end"] = now()
    store.write(draft, curves)
    if draft["status"] == "done":
        _conclude(draft, store, work)
    return draft


def _run(cell: Cell, places: Places, runtime: Mapping[str, Any], draft: Record, progress: Progress) -> dict[str, Any]:
    """Fill `draft` step by step; returns the curves."""
    task, method = registry.tasks()[cell.task], registry.methods()[cell.method]
    config = plan.resolve(cell, runtime)
    device = machine.choose_device(config.trainer.device)
    machine.choose_precision(config.trainer.precision, device)  # what cannot be is said before anything is read
    machine.reset_peaks(device)
    draft |= {"device": machine.device_name(device), "driver": machine.driver(device)}
    draft["threads"] = torch.get_num_threads()

    progress({"stage": "data"})
    clock = time.perf_counter()
    loaded = load_data(cell, task, config, places, draft)
    draft["seconds_data"] = time.perf_counter() - clock

    backbone = BACKBONES[cell.backbone]
    model_of_body = load_source_model(backbone, random_weights=cell.random_weights, seed=cell.seed)
    draft["body"] = {"sha256": model_of_body.sha256, "parameters": _parameters(model_of_body)["encoder"]}
    own = config.method.build(task.kind, loaded.input_shape, loaded.output_shape)
    source, wanted = None, config.analysis
    if own is None:
        shapes = loaded.input_shape, loaded.output_shape
        built = build_target(model_of_body, task.kind, *shapes, config.model, cell.seed)
        if not method.pretrained:
            randomise(built.encoder, cell.seed)
        set_recompute(built, config.trainer.recompute)
        target: torch.nn.Module = built
        draft["weights"] = model_of_body.weights if method.pretrained else f"random, seed {cell.seed}"
        wanted = decided(wanted, len(loaded.train), config.trainer.epochs)
        if method.needs_source or any(getattr(wanted, name) for name in NAMES):
            source = _source(cell, config, places, model_of_body.to(device), device, draft)
    else:
        trained = any(True for _ in own.parameters())
        target, draft["weights"] = own, "random: a model of the method's own" if trained else "none: a closed form"
    target.to(device)
    draft["parameters"] = _parameters(target)

    checkpoints = Checkpoints(Store(places.results_dir).work(cell.id))
    train = Loader(loaded.train, device)
    trainer = Trainer(target, train, config.trainer, cell.seed, checkpoints, progress)
    precision = _continue(trainer, config, device, draft)
    draft["retries"] = trainer.memory.retries  # which fills where memory runs out
    named = loss_name(task, cell.protocol)
    trainer.memory.share = lambda part, whole: share(named, (part.y, part.extra), (whole.y, whole.extra))
    loss = LOSSES[named]
    context = CellContext(target, loaded, train, source, config, cell.seed, loss, trainer, device, precision)
    observer = Observer(wanted, source, checkpoints.folder, cell.seed, config.trainer.epochs)
    names = metric_names(task, cell.protocol)
    draft["trivial"] = trivial_scores(task, loaded, names)

    before = machine.take_peaks(device)
    config.method.align(context)
    stage1 = machine.take_peaks(device)
    draft |= {"steps_stage1": trainer.state.steps["stage1"], "seconds_stage1": trainer.state.seconds["stage1"]}
    _finetune(cell, config, context, trainer, observer, loaded, names)
    stage2 = machine.take_peaks(device)
    _score(cell, config, context, trainer, observer, loaded, names, draft, Store(places.results_dir), progress)
    whole = {kind: max(p[kind] for p in (before, stage1, stage2, machine.take_peaks(device))) for kind in before}
    draft |= {f"peak_memory_{kind}": peak for kind, peak in whole.items()}
    draft |= {"peak_memory_stage1": stage1, "peak_memory_stage2": stage2}
    return trainer.state.curves


def _continue(trainer: Trainer, config: Settings, device: torch.device, draft: Record) -> str:
    """Begin, or go on from a checkpoint with what it was begun with; returns the precision, and sets it."""
    made_of = {"data": draft["data"]["fingerprint"], **draft["code"], "body": draft["body"]}
    trainer.continue_as(json.dumps(made_of, sort_keys=True), draft["git"].get("commit"))
    precision = machine.choose_precision(trainer.state.precision or config.trainer.precision, device)
    machine.set_matrix_precision(precision)
    trainer.state.precision = draft["precision"] = precision
    if draft["git"]:
        draft["git"] = draft["git"] | {"commits": trainer.state.commits}
    return precision


# -- the steps -------------------------------------------------------------------------------------------------------


def _source(cell: Cell, config: Settings, places: Places, body: Any, device: torch.device, draft: Record) -> SourceData:
    arrays = load_source(
        config.source.name, BACKBONES[cell.backbone], places.data_dir, config.source.corrupt, cell.seed
    )
    source = SourceData(body, arrays, device, cell.seed, places.data_dir / ".cache" / "sources")
    draft["source"] = {
        "name": arrays.name,
        "fingerprint": arrays.fingerprint,
        "classes": len(arrays.classes),
        "count": len(source),
    }
    return source


def _finetune(
    cell: Cell,
    config: Settings,
    context: CellContext,
    trainer: Trainer,
    observer: Observer,
    loaded: Data,
    names: list[str],
) -> None:
    """Stage 2, with an evaluation after every epoch that asks for one."""
    settings_, method = config.trainer, config.method
    val = Loader(loaded.val, context.device) if loaded.val is not None else None
    test = Loader(loaded.test, context.device) if cell.protocol == "paper" or settings_.track_test else None
    higher = METRICS[names[0]].higher_is_better
    forward = compiled(context.model, context.device) if settings_.compile else context.model

    def gradient(batch: TorchBatch) -> Mapping[str, torch.Tensor]:
        with context.autocast():
            output = forward(batch.x)
        loss = method.loss(context, output, batch)
        loss.backward()
        return {"loss": loss.detach()}

    def after_epoch(epoch: int, row: dict[str, Any]) -> None:
        clock = time.perf_counter()
        if epoch % settings_.eval_every == 0 or epoch >= settings_.epochs:
            for name, loader in (("val", val), ("test", test)):
                if loader is not None:
                    row[name] = score_arrays(names[:1], *predict(context, loader, settings_.eval_batch_size))[names[0]][
                        "value"
                    ]
            if val is not None and better(row["val"], trainer.state.best_val, higher):
                trainer.state.best_epoch, trainer.state.best_val = epoch, row["val"]
                trainer.best_weights = {k: v.detach().cpu().clone() for k, v in context.model.state_dict().items()}
        trainer.state.seconds["eval"] += time.perf_counter() - clock
        clock = time.perf_counter()
        if observer.due(epoch):
            observer.observe(epoch, context.model.encoder)
        trainer.state.seconds["analysis"] += time.perf_counter() - clock

    # Not on resume: the weights are then those of the checkpoint, no longer the ones stage 2 began with.
    if observer.due(0) and trainer.state.steps["stage2"] == 0:
        observer.observe(0, context.model.encoder)
    moved = list(method.trainable(context.model))
    if not moved:
        after_epoch(0, {})  # stage 1 was all, and validation says how good that is
        return
    trainer.fit(
        "stage2",
        moved,
        gradient,
        stage="stage2",
        epochs=settings_.epochs,
        lr=settings_.lr,
        lr_at=lambda epoch: warmup_decay(epoch, settings_.warmup_epochs, settings_.decay_epochs),
        after_epoch=after_epoch,
    )


def _score(
    cell: Cell, config: Settings, context: CellContext, trainer: Trainer, observer: Observer, loaded: Data,
    names: list[str], draft: Record, store: Store, progress: Progress,
) -> None:  # fmt: skip
    """Test scores of the last and the selected epoch, the analyses, and what the run has cost."""
    progress({"stage": "eval"})
    state, higher = trainer.state, draft["higher_is_better"]
    test = Loader(loaded.test, context.device)
    clock = time.perf_counter()
    last = score_arrays(names, *predict(context, test, config.trainer.eval_batch_size))
    state.seconds["eval"] += time.perf_counter() - clock

    progress({"stage": "analysis"})
    draft["analysis"] = observer.finish(
        context.model, loaded, store.sidecar(cell.key(), ".npz"), len(state.curves["stage2"])
    )
    if observer.wrote_arrays:
        draft["sidecars"]["arrays"] = store.sidecar(cell.key(), ".npz").name

    chosen = last
    epochs_done = len(state.curves["stage2"])
    if state.best_epoch is not None and trainer.best_weights is not None and state.best_epoch != epochs_done:
        clock = time.perf_counter()
        context.model.load_state_dict(trainer.best_weights)
        chosen = score_arrays(names, *predict(context, test, config.trainer.eval_batch_size))
        state.seconds["eval"] += time.perf_counter() - clock
    selected = cell.protocol == "strict" and state.best_epoch is not None
    test_curve = [row["test"] for row in state.curves["stage2"] if row.get("test") is not None]
    draft |= {
        "status": "done",
        "metrics_last": last,
        "metrics": chosen if selected else last,
        "score_last": last[names[0]]["value"],
        "score_best_val": chosen[names[0]]["value"] if selected else None,
        "score_best_test": (max if higher else min)(test_curve) if test_curve else None,
        "epoch_best_val": state.best_epoch,
        "val_score": state.best_val,
    }
    draft["score"] = draft["score_best_val"] if selected else draft["score_last"]
    draft["beats_trivial"] = better(draft["score"], draft["trivial"]["score"], higher)
    seconds = state.seconds
    draft |= {
        "seconds_stage2": seconds["stage2"],
        "seconds_eval": seconds["eval"],
        "seconds_checkpoints": seconds["checkpoints"],
        "seconds_total": draft["seconds_data"] + sum(seconds.values()),
        "steps_stage2": state.steps["stage2"],
        "samples_per_second": state.samples / seconds["stage2"] if seconds["stage2"] > 0 else None,
        "utilisation": state.busy_seconds / state.metered_seconds if state.metered_seconds > 0 else None,
    }
    draft["sidecars"]["curves"] = store.sidecar(cell.key(), ".curves.json").name


# -- around the run ---------------------------------------------------------------------------------------------------


def failure_record(
    cell: Cell, places: Places, runtime: Mapping[str, Any], status: str, error: BaseException, command: str = ""
) -> Record:
    """Write and return the record of a cell that ended outside of `run` (time limit, lost worker).

    Its checkpoints stay, so that a retry goes on from there.
    """
    store = Store(places.results_dir)
    work = store.work(cell.id)
    draft = draft_of(cell, work, runtime, command)
    fail(draft, status, error)
    store.write(draft)
    return draft


def _parameters(model: torch.nn.Module) -> dict[str, int]:
    def count(part: Any) -> int:
        return sum(p.numel() for p in part.parameters()) if part is not None else 0

    parts = {name: count(getattr(model, name, None)) for name in ("embedder", "encoder", "predictor")}
    return {"total": count(model), **parts}


def _forget_earlier_attempts(store: Store, draft: Record) -> None:
    """Remove checkpoints of an attempt that ended in a record: it was done, has diverged, or was made by other code."""
    before = store.get(draft)
    if before is None or (before["status"] not in ("done", "diverged") and before["code"] == draft["code"]):
        return
    recorded = store.path(draft).stat().st_mtime_ns
    for path in Checkpoints(store.work(draft["id"])).files():
        if path.stat().st_mtime_ns <= recorded:  # later ones are of an attempt to replace the record
            path.unlink()


def _conclude(record: Record, store: Store, work: Path) -> None:
    """Remove what a finished cell no longer needs; its claim is the launcher's.

    The record is written: nothing that goes wrong here may say otherwise.
    """
    try:
        for path in Checkpoints(work).files():
            path.unlink(missing_ok=True)
        (work / "attempts").unlink(missing_ok=True)
    except OSError as error:
        faults.warn(f"the record is written, tidying up after it failed: {error}")
