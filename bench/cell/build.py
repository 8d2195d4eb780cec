"""From a run and its data to the model, the source data beside it, and what is to be analysed."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from bench.analysis.observe import decided
from bench.analysis.summary import NAMES
from bench.backbones import BACKBONES
from bench.cell.run import Run
from bench.models.source import SourceModel, load_source_model
from bench.models.target import build_target, randomise, set_recompute
from bench.settings import AnalysisSettings
from bench.sources.data import SourceData
from bench.sources.load import load_source
from tasks.contract import Data


@dataclass(frozen=True)
class Built:
    """What a cell trains, on its device."""

    model: nn.Module
    source: SourceData | None
    """None where neither the method nor an analysis reads any."""
    analyses: AnalysisSettings


def build(run: Run, data: Data) -> Built:
    """h ∘ f ∘ e around the cell's body, or the model of the method's own."""
    body = load_source_model(BACKBONES[run.cell.backbone], random_weights=run.cell.random_weights, seed=run.cell.seed)
    run.draft.body(body)
    own = run.config.method.build(run.task.kind, data.input_shape, data.output_shape)
    if own is not None:
        trained = any(True for _ in own.parameters())
        run.draft.weights("random: a model of the method's own" if trained else "none: a closed form")
        return Built(own.to(run.device), None, run.config.analysis)
    model = _around(body, run, data)
    analyses = decided(run.config.analysis, len(data.train), run.config.trainer.epochs)
    reads = run.config.method.needs_source or any(getattr(analyses, name) for name in NAMES)
    return Built(model.to(run.device), _source(run, body) if reads else None, analyses)


def _around(body: SourceModel, run: Run, data: Data) -> nn.Module:
    config, pretrained, seed = run.config, run.config.method.pretrained, run.cell.seed
    model = build_target(body, run.task.kind, data.input_shape, data.output_shape, config.model, seed)
    if not pretrained:
        randomise(model.encoder, seed)
    set_recompute(model, config.trainer.recompute)
    run.draft.weights(body.weights if pretrained else f"random, seed {seed}")
    return model


def _source(run: Run, body: SourceModel) -> SourceData:
    wanted, places, seed = run.config.source, run.places, run.cell.seed
    arrays = load_source(wanted.name, BACKBONES[run.cell.backbone], places.data_dir, wanted.corrupt, seed)
    source = SourceData(body.to(run.device), arrays, run.device, seed, places.data_dir / ".cache" / "sources")
    run.draft.source(arrays, len(source))
    return source
