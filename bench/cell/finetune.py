"""Stage 2: the method's loss over what it moves, with an evaluation after every epoch that asks for one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bench.analysis.observe import Observer
from bench.cell.batches import Loader
from bench.cell.checkpoint import State
from bench.cell.context import CellContext
from bench.cell.phase import Phase, warmup_decay
from bench.cell.scoring import better, evaluate
from methods.contract import TorchBatch


def finetune(context: CellContext, observer: Observer) -> None:
    """Run stage 2, or what is left of it; the weights best on validation are kept in the trainer."""
    config, trainer, model = context.run.config.trainer, context.trainer, context.model
    watched = _watched(context)

    def after_epoch(epoch: int, row: dict[str, Any]) -> None:
        with trainer.state.timed("eval"):
            if epoch % config.eval_every == 0 or epoch >= config.epochs:
                _evaluate(context, watched, epoch, row)
        with trainer.state.timed("analysis"):
            if observer.due(epoch):
                observer.observe(epoch, model.encoder)

    # Not on resume: the weights are then those of the checkpoint, no longer the ones stage 2 began with.
    if observer.due(0) and trainer.state.steps["stage2"] == 0:
        observer.observe(0, model.encoder)
    moved = list(context.run.config.method.trainable(model))
    if not moved:
        after_epoch(0, {})  # stage 1 was all, and validation says how good that is
        return

    def rate(epoch: float) -> float:
        return config.lr * warmup_decay(epoch, config.warmup_epochs, config.decay_epochs)

    def enough() -> bool:
        return 0 < config.patience <= since_best(trainer.state)

    coupled, gradient = "stage2" in context.run.config.method.couples, _gradient(context)
    trainer.fit(Phase("stage2", "stage2", moved, gradient, config.epochs, rate, None, coupled, after_epoch, enough))


def since_best(state: State) -> int:
    """Evaluations on validation since the best one: told by the curves, so that a resumed run knows it, too."""
    return sum("val" in row for row in state.curves["stage2"] if row["epoch"] > (state.best_epoch or 0))


def _gradient(context: CellContext) -> Any:
    method, settings = context.run.config.method, context.trainer.settings
    planned = settings.epochs * context.trainer.steps.per_epoch
    context.compile_for(planned if settings.budget_steps is None else settings.budget_steps)

    def gradient(batch: TorchBatch) -> Mapping[str, torch.Tensor]:
        loss = method.loss(context, context.forward(batch.x), batch)
        loss.backward()
        return {"loss": loss.detach()}

    return gradient


def _watched(context: CellContext) -> dict[str, Loader]:
    """The splits that are scored after an epoch: validation, and test where it is tracked or the protocol does so."""
    data, run = context.data, context.run
    watched = {} if data.val is None else {"val": Loader(data.val, run.device)}
    if run.cell.protocol == "paper" or run.config.trainer.track_test:
        watched["test"] = Loader(data.test, run.device)
    return watched


def _evaluate(context: CellContext, watched: Mapping[str, Loader], epoch: int, row: dict[str, Any]) -> None:
    """Add the scores after an epoch to its row; keep the weights that are best on validation so far."""
    trainer, (name, *_) = context.trainer, context.run.metrics
    score = {}
    for split, loader in watched.items():
        score = evaluate(context, loader, [name])[name]
        row[split] = score["value"]
    if "val" in watched and better(row["val"], trainer.state.best_val, score["higher_is_better"]):
        trainer.state.best_epoch, trainer.state.best_val = epoch, row["val"]
        trainer.best_weights = {k: v.detach().cpu().clone() for k, v in context.model.state_dict().items()}
