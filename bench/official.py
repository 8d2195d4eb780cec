"""Whether data that are called official are what was published: files, numbers of samples, shapes. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.contract import Data, Task
from tasks.files.verify import in_words


def verification(task: Task, paths: Sequence[Path], data_dir: Path) -> dict[str, str]:
    """What is known of each official file of the task, computing nothing: `verified`, `not verified`, how it differs."""
    return {file.path: in_words(path, file, data_dir) for file, path in zip(task.files, paths, strict=True)}


def unlike_published(task: Task, data: Data, protocol: str, limit: int | None) -> list[str]:
    """In words, everything in which what was read is not what was published; empty where all of it fits.

    Compared are `Task.splits` (their sum where `paper` merges some; `limit` is the user's own cut), the shapes, and what
    the reader itself puts beside each other: its notes `stored` and `published`.
    """
    wrong = [f"{part}: {found}, published {wanted}" for part, found, wanted in _sizes(task, data, protocol, limit)]
    input_shape = data.notes.get("published_input_shape", task.input_shape)
    for what, found, wanted in (
        ("input", data.input_shape, input_shape),
        ("output", data.output_shape, data.notes.get("published_output_shape", task.output_shape)),
    ):
        if tuple(found) != tuple(wanted):
            wrong.append(f"{what} of shape {_shape(found)}, published {_shape(wanted)}")
    stored: Mapping[str, int] = data.notes.get("stored", {})
    published: Mapping[str, int] = data.notes.get("published", {})
    wrong += [f"{name}: {stored[name]:,}, published {n:,}" for name, n in published.items() if stored[name] != n]
    return wrong


def _sizes(task: Task, data: Data, protocol: str, limit: int | None) -> list[tuple[str, str, str]]:
    """(split, samples found, samples published) where they differ."""
    parts = {"train": data.train, "val": data.val, "test": data.test}
    # FSD50K is published in clips, and evaluated in chunks of clips.
    found = data.notes.get("clips") or {name: len(part) for name, part in parts.items() if part is not None}
    wanted = dict(task.splits)
    if protocol == "paper" and sum(found.values()) == sum(wanted.values()):
        return []  # merged, or (ECG) cut into other parts
    if limit is not None:
        found = {name: n for name, n in found.items() if name != "train"}
    return [(name, f"{n:,} samples", f"{wanted[name]:,}") for name, n in found.items() if n != wanted[name]]


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
