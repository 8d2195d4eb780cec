"""The two protocols, and the settings by which `paper` computes what published code computes.

How models are selected and scored is told in docs/protocols.md; readers and metrics of a task ask for the protocol by
name. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.contract import Task

PROTOCOLS = ("strict", "paper")

PAPER: Mapping[str, Any] = {
    "trainer.precision": "fp32",
    "trainer.accumulate": "published_sum",
    "model.dense_head": "pooled",
}
"""What published code does on every task."""


def recipe(task: Task, protocol: str) -> Mapping[str, Any]:
    """The task's published settings; under `paper` with what published code really computes where it says otherwise."""
    return {**task.recipe, **task.paper_recipe} if protocol == "paper" else task.recipe


def layer(task: Task, protocol: str) -> Mapping[str, Any]:
    """The settings that the protocol itself brings, whatever the task's profile says."""
    return PAPER if protocol == "paper" else {}
