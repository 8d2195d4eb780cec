"""Every metric by name."""

from __future__ import annotations

from tasks.metrics.classes import CLASS_METRICS
from tasks.metrics.core import Metric
from tasks.metrics.dense import DENSE_METRICS
from tasks.metrics.pde import PDE_METRICS
from tasks.metrics.ranking import RANKING_METRICS

_ALL: tuple[Metric, ...] = (*CLASS_METRICS, *RANKING_METRICS, *DENSE_METRICS, *PDE_METRICS)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
if len(METRICS) != len(_ALL):
    raise ImportError(f"two metrics share a name: {sorted(m.name for m in _ALL)}")
