"""Checkpoints on disk: whole or not there, checked when read, with the one before to fall back to. Never unpickles code."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

MAGIC = b"bench-checkpoint 1 "


def save_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values to `path` atomically, with a checksum in front.

    `content` may hold tensors, numbers, strings, None, dicts, lists and tuples. OSError if the disk is full.
    """
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    payload = buffer.getbuffer()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as handle:
            handle.write(MAGIC + f"{zlib.crc32(payload):08x} {len(payload):016x}\n".encode())
            handle.write(payload)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checked(path: Path) -> dict[str, Any]:
    """What `save_checked` wrote, on the CPU; ValueError if the file is not whole."""
    with path.open("rb") as handle:
        head = handle.readline(len(MAGIC) + 32)
        payload = handle.read()
    if not head.startswith(MAGIC):
        raise ValueError(f"{path} is not a checkpoint of this project")
    crc, size = head[len(MAGIC) :].split()
    if len(payload) != int(size, 16) or zlib.crc32(payload) != int(crc, 16):
        raise ValueError(f"{path} is damaged: its checksum or size does not fit")
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


class Checkpoints:
    """The checkpoints of one cell: the newest, the one before it, and the weights that were best on validation."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.newest, self.previous = folder / "checkpoint.pt", folder / "checkpoint.previous.pt"
        self.problems: list[str] = []
        """Checkpoints that could not be read, in words, for the record's log."""

    def save(self, content: Mapping[str, Any], best: tuple[int, Mapping[str, torch.Tensor]] | None) -> None:
        """Save a state; `best` is (epoch, weights), written first and only when that epoch's are not there yet."""
        if best is not None and not self._best(best[0]).exists():
            save_checked(self._best(best[0]), {"weights": dict(best[1])})
        if self.newest.exists():
            # The new file takes the old one's place in two steps; a kill between them leaves the previous one.
            self.newest.replace(self.previous)
        save_checked(self.newest, content)
        keep = {self._best(best[0])} if best is not None else set()
        keep |= {self._best(e) for e in self._epochs_needed()}
        for path in self.folder.glob("best-*.pt"):
            if path not in keep:
                path.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, Any], dict[str, torch.Tensor] | None] | None:
        """(state, best weights) of the newest checkpoint that is whole, or None; `problems` says what was passed over."""
        for path in (self.newest, self.previous):
            if not path.exists():
                continue
            try:
                content = load_checked(path)
                epoch = content["state"]["best_epoch"]
                best = None
                if epoch is not None and content["has_best"]:
                    best = load_checked(self._best(epoch))["weights"]
                return content, best
            # A damaged zip or a missing best file: whatever the reader says, the one before is tried.
            except (OSError, ValueError, RuntimeError, KeyError, EOFError) as error:
                self.problems.append(f"{path.name}: {error}")
        return None

    def _best(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.pt"

    def _epochs_needed(self) -> list[int]:
        try:
            return [e for e in [load_checked(self.previous)["state"]["best_epoch"]] if e is not None]
        except (OSError, ValueError):
            return []
