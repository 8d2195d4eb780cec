"""One cell from data to record, readable top to bottom: load, build, stage 1, stage 2, score, analyse, write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bench import faults, machine
from bench.analysis.features import WEIGHTS
from bench.analysis.observe import Observer
from bench.cell import whole
from bench.cell.batches import Loader
from bench.cell.build import build
from bench.cell.checkpoint import Checkpoints, Unfit
from bench.cell.context import CellContext
from bench.cell.data import load_data
from bench.cell.determinism import determinism, seeded
from bench.cell.draft import Draft
from bench.cell.finetune import finetune
from bench.cell.run import Progress, Run
from bench.cell.scoring import Predicted, Scores, predict, score_arrays, trivial_scores
from bench.cell.trainer import Trainer
from bench.plan import Cell, Places
from bench.records import predictions
from bench.records.predictions import Predictions
from bench.records.record import Record
from bench.records.store import Store
from tasks.losses import share


def run(
    cell: Cell,
    places: Places,
    runtime: Mapping[str, Any],
    progress: Progress | None = None,
    command: str = "",
) -> Record:
    """Run a cell and write its record; a failure is a record too. `command` is what the user typed.

    Resumes from the checkpoints that an earlier attempt left. KeyboardInterrupt leaves the checkpoints in place and
    propagates; so does an OSError that is the machine's fault. Only `done` removes checkpoints.
    """
    store = Store(places.results_dir)
    work = store.work(cell.id)
    draft = Draft.begin(cell, work, runtime, command)
    _forget_earlier_attempts(store, draft.record)
    curves: dict[str, Any] = {}
    while True:
        try:
            with determinism(cell.seed, runtime):
                curves = _curves(Run.of(cell, places, runtime, draft, progress or (lambda word: None)))
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
            draft.failed(error)
        break
    record = draft.close()
    store.write(record, curves)
    if record["status"] == "done":
        _conclude(record, store, work)
    return record


def _curves(run: Run) -> dict[str, Any]:
    """The cell itself: every step adds to the run's draft. Returns the curves."""
    machine.reset_peaks(run.device)
    run.draft.on(run.device)
    run.progress({"stage": "data"})
    context = lend(run)
    state = context.trainer.state
    settings, built = run.config, context.built
    observer = Observer(built.analyses, built.source, run.work, run.cell.seed, settings.trainer.epochs)
    run.draft.trivial(trivial_scores(run.task, context.data, run.metrics))
    before = machine.take_peaks(run.device)

    settings.method.align(context)
    stage1 = machine.take_peaks(run.device)
    run.draft.stage1(state)

    finetune(context, observer)
    stage2 = machine.take_peaks(run.device)

    run.progress({"stage": "eval"})
    last = _tested(context)
    run.progress({"stage": "analysis"})
    _analyse(context, observer)
    if run.config.analysis.keep_weights:
        reported = _chosen_weights(context) or context.model.state_dict()  # before the chosen ones take its place
        whole.write(run.store.sidecar(run.cell.key(), WEIGHTS), context, reported)
    selected = _selected(context, last)
    run.draft.scored(last.scores, None if selected is None else selected.scores, state)
    _keep_predictions(run, last, selected)
    run.draft.cost(state, run.store.sidecar(run.cell.key(), ".curves.json").name)
    run.draft.memory(stage1, stage2, [before, machine.take_peaks(run.device)])
    return state.curves


# -- the steps -------------------------------------------------------------------------------------------------------


def lend(run: Run) -> CellContext:
    """What the method is lent: data, model, and a trainer that begins or goes on from a checkpoint."""
    data = load_data(run)
    context = CellContext(run, data, build(run, data))
    with seeded(run.cell.seed, "prepare", run.device):
        run.config.method.prepare(context)
    context.model.to(run.device)
    run.draft.parameters(context.model, run.config.method.trainable(context.model))
    settings, checkpoints = run.config.trainer, Checkpoints(run.work)
    trainer = Trainer(context.model, context.train, settings, run.cell.seed, checkpoints, run.progress)
    trainer.continue_as(run.draft.made_of, run.draft.commit)
    # A resume keeps what `auto` became when the run began.
    precision = machine.choose_precision(trainer.state.precision or settings.precision, run.device)
    machine.set_matrix_precision(precision)
    trainer.state.precision = precision
    trainer.memory.share = lambda part, whole: share(run.loss, (part.y, part.extra), (whole.y, whole.extra))
    run.draft.trained_as(trainer.state, trainer.memory.retries)
    context.begin(trainer)
    return context


@dataclass(frozen=True)
class Tested:
    """A model on the test split."""

    predicted: Predicted
    scores: Scores


def _tested(context: CellContext) -> Tested:
    """Predictions and every metric of the model as it is, on the test split."""
    with context.trainer.state.timed("eval"):
        predicted = predict(context, Loader(context.data.test, context.device))
        return Tested(predicted, score_arrays(context.run.metrics, *predicted))


def _analyse(context: CellContext, observer: Observer) -> None:
    """The analyses that were asked for, of the model after its last epoch."""
    run, epochs = context.run, len(context.trainer.state.curves["stage2"])
    path = run.store.sidecar(run.cell.key(), ".npz")
    found = observer.finish(context.model, context.data, path, epochs)
    run.draft.analysed(found, path.name if observer.wrote_arrays else None)


def _selected(context: CellContext, last: Tested) -> Tested | None:
    """The epoch best on validation on the test split; None where the protocol, or the data, select none."""
    if context.run.cell.protocol != "strict" or context.trainer.state.best_epoch is None:
        return None
    best = _chosen_weights(context)
    if best is None:
        return last
    context.model.load_state_dict(best)
    return _tested(context)


def _chosen_weights(context: CellContext) -> Mapping[str, torch.Tensor] | None:
    """The weights of the epoch that validation chose; None where the model as it is has them, or none is chosen."""
    trainer = context.trainer
    if context.run.cell.protocol != "strict" or trainer.state.best_epoch == len(trainer.state.curves["stage2"]):
        return None
    return trainer.best_weights


def _keep_predictions(run: Run, last: Tested, selected: Tested | None) -> None:
    """The predictions on the test split beside the record, where they are asked for; else none of an earlier attempt."""
    path, wanted = run.store.sidecar(run.cell.key(), predictions.SUFFIX), run.config.analysis.keep_predictions
    if not (run.cell.profile in ("quick", "converged") if wanted is None else wanted):
        path.unlink(missing_ok=True)
        return
    final, target, extra = last.predicted
    chosen = None if selected is None or selected is last else selected.predicted[0]
    predictions.write(path, Predictions(final, chosen, predictions.fingerprint(target, extra)))
    run.draft.kept(path.name)


# -- around the run ---------------------------------------------------------------------------------------------------


def failure_record(
    cell: Cell, places: Places, runtime: Mapping[str, Any], status: str, error: BaseException, command: str = ""
) -> Record:
    """Write and return the record of a cell that ended outside of `run` (time limit, lost worker).

    Its checkpoints stay, so that a retry goes on from there.
    """
    store = Store(places.results_dir)
    draft = Draft(cell, store.work(cell.id), runtime, command)
    draft.failed(error, status)
    store.write(draft.record)
    return draft.record


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
