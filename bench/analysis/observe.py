"""What a run calls to have itself analysed: source features at chosen epochs, everything else at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from bench.analysis.features import PRETRAINED, FeatureFolder, choose_source, same_weights
from bench.analysis.inputs import AnalysisError
from bench.analysis.similarity import movement
from bench.analysis.summary import NAMES, summarise
from bench.analysis.target import view_target
from bench.records.arrays import write_arrays
from bench.settings import AnalysisSettings
from bench.sources.data import SourceData
from tasks.contract import Data

NO_BODY = "the method brings a model of its own, without an encoder that could be fed source data"


LONG = 100_000
"""Epochs times training samples from which on the probe is taken unasked. It takes two forward passes of `TRAIN` + `TEST`
= 3,000 source samples; a training sample takes one forward and one backward pass, about three times as much: 2 %."""


def decided(wanted: AnalysisSettings, samples: int, epochs: int) -> AnalysisSettings:
    """The same settings with the probe on or off, where they leave that to its price."""
    return wanted if wanted.probe is not None else replace(wanted, probe=samples * epochs >= LONG)


class Observer:
    """The analyses of one cell. Features are kept in its work folder, so that a resumed run has those of before."""

    def __init__(self, wanted: AnalysisSettings, source: SourceData | None, folder: Path, seed: int, epochs: int):
        """`source` is None for a method with a model of its own; `seed` draws target samples; `epochs` are planned."""
        self.names = tuple(name for name in NAMES if getattr(wanted, name))
        self.wrote_arrays = False
        self._source, self._seed, self._planned = source, seed, epochs
        watches = source is not None and set(self.names) - {"discrepancy"}
        self._chosen = {0, epochs, *wanted.probe_epochs} if watches else set()
        if source is not None and self.names:
            self._rows, self._test = choose_source(source)
            self._files = FeatureFolder(folder, source.fingerprint, self._rows)

    def due(self, epoch: int) -> bool:
        """Whether to call `observe` after this epoch (0: before the first): those asked for, the first, the last."""
        return epoch in self._chosen

    def observe(self, epoch: int, encoder: nn.Module) -> None:
        """Keep the token means of f(e0(x)) on the chosen source samples; an epoch kept already stays as it is."""
        if not self._chosen or self._files.get(epoch) is not None:
            return
        assert self._source is not None
        untouched = epoch == 0 and same_weights(encoder, self._source.model.encoder)
        self._files.put(epoch, self._pretrained() if untouched else self._source.encoded(encoder, self._rows).numpy())

    def finish(self, model: Any, data: Data, path: Path, epoch: int | None = None) -> dict[str, Any]:
        """Run the analyses asked for, write their arrays to `path` (.npz), return what the record says of each.

        `model` is h ∘ f ∘ e after its last epoch, whose number is `epoch` (None: the planned one; say it where a budget
        ended the run early). An analysis that has no meaning for this cell says why under `skipped`.
        """
        if self._source is None:
            return {name: {"skipped": NO_BODY} for name in self.names}
        if not self.names:
            return {}
        last = self._planned if epoch is None else epoch
        arrays = self.source_arrays(model.encoder, last)
        skipped: dict[str, Any] = {}
        context: dict[str, dict[str, Any]] = {name: {} for name in self.names}
        context.get("probe", {})["not_reached"] = sorted(e for e in self._chosen if e > last)
        if "discrepancy" in self.names:
            most, body = len(np.unique(arrays["source_labels"][~self._test])), self._source.model.encoder
            try:
                seen, origin = view_target(model.embedder, body, data.train, self._source.device, most, self._seed)
            except AnalysisError as error:
                skipped["discrepancy"] = {"skipped": str(error)}
            else:
                arrays |= seen
                context["discrepancy"] = {"target_labels": origin, "embedder": f"after epoch {last}"}
        if "similarity" in self.names:
            context["similarity"] = self._movement(model.encoder, bool(arrays["started_pretrained"]))
        summary = {}
        for name in self.names:
            summary[name], more = (skipped[name], {}) if name in skipped else summarise(name, arrays)
            arrays |= more
            if "skipped" not in summary[name]:
                about = {"source": self._source.name, "source_fingerprint": self._source.fingerprint}
                summary[name] |= about | context[name]
        write_arrays(path, arrays)
        self.wrote_arrays = True
        return summary

    def _pretrained(self) -> np.ndarray:
        """Features of the pretrained body, taken once."""
        assert self._source is not None
        kept = self._files.get(PRETRAINED)
        if kept is not None:
            return kept
        return self._files.put(PRETRAINED, self._source.as_pretrained(self._rows))

    def source_arrays(self, encoder: nn.Module, last: int) -> dict[str, np.ndarray]:
        """What a cell keeps of the source side, the body after its `last` epoch included; names as in `summary`."""
        assert self._source is not None
        self.observe(last, encoder)
        kept = {e: f for e in self._files.epochs() if e <= last and (f := self._files.get(e)) is not None}
        pretrained = self._pretrained()
        started = 0 in kept and np.array_equal(kept[0], pretrained)  # then epoch 0 is not stored twice
        return {
            "source_rows": self._rows,
            "source_labels": self._source.labels_of(self._rows),
            "source_test": self._test,
            "source_classes": np.array(self._source.classes),
            "features_pretrained": pretrained,
            "started_pretrained": np.array(started),
            **{f"features_epoch_{e}": f for e, f in kept.items() if not (e == 0 and started)},
        }

    def _movement(self, encoder: nn.Module, started_pretrained: bool) -> dict[str, Any]:
        """Relative weight movement since the pretrained body; none for a body that started elsewhere."""
        assert self._source is not None
        if not started_pretrained:
            return {"movement": {}, "movement_skipped": "the body did not start from the pretrained weights"}
        try:
            return {"movement": movement(encoder, self._source.model.encoder)}
        except AnalysisError as error:  # a method may have put modules of its own into the body
            return {"movement": {}, "movement_skipped": str(error)}
