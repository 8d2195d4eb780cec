"""The two protocols, and the settings by which `paper` computes what published code computes.

How models are selected and scored is told in docs/protocols.md; readers and metrics of a task ask for the protocol by
name. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from methods.contract import Method
from tasks.contract import Task

PROTOCOLS = ("strict", "paper")

PAPER: Mapping[str, Any] = {
    "trainer.precision": "fp32",
    "trainer.accumulate": "published_sum",
    "model.dense_head": "pooled",
    "model.antialias": False,
}
"""What published code does on every task."""
DROP_PATH = 0.1
"""Stochastic depth of the published Swin: its library's default, which published code leaves on."""
TEXT_SOURCE = "conll2003"
"""What published tables of 1D tasks were made with. A stand-in serves where it is not here, and the record says so."""


def recipe(task: Task, protocol: str) -> Mapping[str, Any]:
    """The task's published settings; under `paper` with what published code really computes where it says otherwise."""
    return {**task.recipe, **task.paper_recipe} if protocol == "paper" else task.recipe


def layer(task: Task, method: type[Method], protocol: str) -> Mapping[str, Any]:
    """The settings that the protocol itself brings, whatever the task's profile says."""
    if protocol != "paper":
        return {}
    start = "published_untrained" if method.align is Method.align else "published"
    own: Mapping[str, Any]
    own = {"model.drop_path": DROP_PATH} if task.modality == "vision" else {"source.name": TEXT_SOURCE}
    return {**PAPER, **own, "model.embedder_init": start}
