"""Every metric by name."""

from __future__ import annotations

from tasks.metrics_classes import CLASS_METRICS
from tasks.metrics_core import Metric
from tasks.metrics_dense import DENSE_METRICS
from tasks.metrics_pde import PDE_METRICS
from tasks.metrics_ranking import RANKING_METRICS

_ALL: tuple[Metric, ...] = (*CLASS_METRICS, *RANKING_METRICS, *DENSE_METRICS, *PDE_METRICS)
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
if len(METRICS) != len(_ALL):
    raise ImportError(f"two metrics share a name: {sorted(m.name for m in _ALL)}")
