"""A method's own modules: trained by stage 2, counted, checkpointed and resumed; and where training is, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from torch import nn

from bench import registry
from bench.cell import check
from bench.cell.checkpoint import Checkpoints
from bench.cell.phase import Phase
from bench.cell.story import run
from bench.cell.trainer import Trainer
from bench.plan import Places
from bench.settings import TrainerSettings
from methods.contract import Method, MethodError
from tests.tiny_training import Killed, data, network


@dataclass(frozen=True)
class Gated(Method):
    """The task's loss times a gate, and a term that fades."""

    name = "gated"
    title = "Gated"
    citation = "none"

    def prepare(self, context):
        """A gate of the method's own."""
        context.model.gate = nn.Linear(1, 1)

    def loss(self, context, output, batch):
        """The gate's weight fades out as training goes on."""
        gate = context.model.gate(output.new_ones(1)).squeeze()
        return context.loss(output, batch) + (1 - context.position.done) * gate.square()


@dataclass(frozen=True)
class Late(Gated):
    """Makes its gate too late: in stage 1, when the checkpoint has been read."""

    name = "late"

    def prepare(self, context):
        """Nothing."""

    def align(self, context):
        """The gate."""
        context.model.gate = nn.Linear(1, 1)


@pytest.fixture
def places(shared_data, tmp_path, monkeypatch):
    for kind in (Gated, Late):
        monkeypatch.setitem(registry.methods().items, kind.name, kind)
        monkeypatch.setitem(registry.methods().module, kind.name, registry.methods().module["vanilla"])
    return Places(shared_data, tmp_path / "results")


@pytest.mark.slow
def test_a_gate_is_trained_counted_and_resumed(places):
    check._moves("gated", places)
    check._resumes("gated", places)
    record = run(check._cell("advection", "gated", places), places, {})
    parts = sum(record["parameters"][part] for part in ("embedder", "encoder", "predictor"))
    assert record["parameters"]["total"] == record["parameters"]["trainable"] == parts + 2


@pytest.mark.slow
def test_a_gate_that_is_made_too_late_is_found_by_check(places):
    with pytest.raises(AssertionError, match="steps after the checkpoint"):
        check._resumes("late", places)


def positions(folder, kill_at=None):
    """(epoch, epochs, done) at each of six steps; those after a kill, if there was one before in the folder."""
    model, seen = network(), []
    trainer = Trainer(
        model, data(12), TrainerSettings(batch_size=4, checkpoint_seconds=0.0), 0, Checkpoints(folder), str
    )

    def gradient(batch):
        if len(seen) == kill_at:
            raise Killed
        seen.append(trainer.position)
        loss = model(batch.x).square().mean()
        loss.backward()
        return {"loss": loss}

    trainer.fit(Phase("stage2", "stage2", model.parameters(), gradient, 2, lambda epoch: 0.1))
    with pytest.raises(MethodError, match="no training is under way"):
        _ = trainer.position
    return seen


def test_a_resumed_run_sees_the_positions_of_an_uninterrupted_one(tmp_path):
    whole = positions(tmp_path / "whole")
    assert [p.epoch for p in whole] == [0, 0, 0, 1, 1, 1] and {p.epochs for p in whole} == {2}
    assert [p.done for p in whole] == pytest.approx([k / 6 for k in range(6)])
    with pytest.raises(Killed):
        positions(tmp_path / "killed", kill_at=4)
    assert positions(tmp_path / "killed") == whole[4:]
