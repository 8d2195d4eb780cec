"""What of a selection is on this machine: official data or not, and the backbones whose weights are here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench import registry
from bench import standins as data
from bench.backbones import BACKBONES, STANDIN
from bench.errors import SetupError, UsageError


def choose_backbone(name: str, task: str, allow_random: bool) -> tuple[str, bool]:
    """(backbone, random weights?) for a task. `auto`: the published one if its weights are here, else the stand-in."""
    spec = registry.tasks()[task]
    if name == "auto":
        published = BACKBONES[spec.backbone]
        name = spec.backbone if published.missing() is None else STANDIN[spec.modality]
    backbone = BACKBONES[name]
    if backbone.modality != spec.modality:
        fitting = [b.name for b in BACKBONES.values() if b.modality == spec.modality]
        raise UsageError(
            f"backbone {name!r} is a {backbone.modality} model, task {task!r} has {spec.dims}D input and takes "
            f"{' or '.join(fitting)}"
        )
    problem = backbone.unusable()
    if problem is not None and not allow_random:
        raise SetupError(f"{problem} (tests may pass --allow-random-weights, which marks the record)")
    return name, problem is not None


def what_is_here(
    tasks: Iterable[str], backbones: Sequence[str], data_dir: Path, official_only: bool, allow_random: bool
) -> dict[str, tuple[str, list[tuple[str, bool]]]]:
    """By task: the origin of its data, and its backbones as `choose_backbone` gives them.

    Raises one SetupError that names everything that is missing, each thing once.
    """
    names = registry.match("backbone", backbones, ["auto", *BACKBONES])
    out, missing = {}, dict[str, None]()
    for task in dict.fromkeys(tasks):
        try:
            origin = data.origin_here(registry.tasks()[task], data_dir, official_only)
            out[task] = origin, [choose_backbone(b, task, allow_random) for b in _fitting(names, task)]
        except SetupError as error:
            missing[str(error)] = None
    if missing:
        raise SetupError(
            "\n  ".join(["nothing was started, for something is missing:"] * (len(missing) > 1) + [*missing])
        )
    return out


def _fitting(names: Sequence[str], task: str) -> list[str]:
    """Of several backbones given, those of the task's modality; one alone is taken as given, so that a misfit is an error."""
    modality = registry.tasks()[task].modality
    fitting = [n for n in names if n == "auto" or BACKBONES[n].modality == modality]
    return fitting or list(names)
