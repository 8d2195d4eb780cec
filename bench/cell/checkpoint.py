"""A run's state, and checkpoints of it on disk: whole or not there, checked when read, with the one before to fall back to. Never unpickles code."""

from __future__ import annotations

import contextlib
import io
import pickle
import time
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils._pytree import tree_map_only

from bench import faults
from tasks.files.atomic import write_atomically


@dataclass
class State:
    """All that a run has become so far, apart from model, optimiser and random generators."""

    finished: list[str] = field(default_factory=list)
    """Names of the phases that are over."""
    phase: str | None = None
    epoch: int = 0
    """Whole epochs of the current phase that are over."""
    group: int = 0
    """Optimiser steps of the current epoch that are over."""
    phase_steps: int = 0
    phase_seconds: float = 0.0
    epoch_seconds: float = 0.0
    steps: dict[str, int] = field(default_factory=lambda: {"stage1": 0, "stage2": 0})
    """Optimiser steps by stage."""
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("stage1", "stage2", "eval", "analysis", "checkpoints"), 0.0)
    )
    samples: int = 0
    """Training samples that stage 2 has seen."""
    metered_seconds: float = 0.0
    """Seconds of stage 2 in which the load of the device was read."""
    busy_seconds: float = 0.0
    """The same, times the load."""
    curves: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {"stage1": [], "stage2": []})
    best_epoch: int | None = None
    best_val: float | None = None
    """Validation score at `best_epoch`, in the metric's own direction."""
    precision: str | None = None
    """What `auto` became when the run began; a resume keeps it, on whatever device."""
    made_of: str | None = None
    """Data, code and weights of the run: a checkpoint made of others is another experiment's."""
    commits: list[str] = field(default_factory=list)
    """The commit of each attempt that went into this state, in order, each once."""

    @contextlib.contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Add the seconds that the block takes to those of `what`."""
        clock = time.perf_counter()
        yield
        self.seconds[what] += time.perf_counter() - clock

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> State:
        """The state that a checkpoint holds; ValueError if it is another's, or none."""
        for name, default in asdict(cls()).items():
            value = plain[name]
            kind = (int, float, str, type(None)) if default is None else type(default)
            if not isinstance(value, kind) or (isinstance(value, dict) and set(value) != set(default)):
                raise ValueError(f"its {name} is {value!r:.60}")
        return cls(**plain)


class Unfit(ValueError):
    """A checkpoint that is whole but does not fit this cell, or no longer; `path` is its file."""

    def __init__(self, path: Path, reason: object):
        super().__init__(f"{path.name} is passed over, it does not fit this cell: {reason}")
        self.path = path


def save_checked(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values to `path` atomically, as an archive with a checksum of each part.

    `content` may hold tensors, numbers, strings, None, dicts, lists and tuples. OSError if the disk is full.
    """
    buffer = io.BytesIO()  # torch's writer to a file hides what a full disk says behind an error of its own
    torch.save(dict(content), buffer)
    write_atomically(path, buffer.getbuffer())


def load_checked(path: Path) -> dict[str, Any]:
    """What `save_checked` wrote, on the CPU; ValueError if the file is not whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself does not compare the checksums
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged, or no checkpoint: {error}") from error
    if damaged is not None:
        raise ValueError(f"{path} is damaged: its checksum does not fit")
    return torch.load(path, map_location="cpu", weights_only=True)


UNREADABLE = (
    OSError, ValueError, RuntimeError, KeyError, EOFError, TypeError, AttributeError, IndexError, pickle.UnpicklingError,
)  # fmt: skip
"""What reading a file raises that is damaged or holds something else."""


class Checkpoints:
    """The checkpoints of one cell: the newest, the one before it, and the weights that were best on validation."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.newest, self.previous = folder / "checkpoint.pt", folder / "checkpoint.previous.pt"
        self.loaded: Path | None = None
        """The file that `load` took its answer from."""
        self._best_before: int | None = None
        """The best epoch of the checkpoint before, which its weights are kept for."""
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._writing: Future[None] | None = None

    def save(self, content: Mapping[str, Any], best: Mapping[str, torch.Tensor] | None) -> None:
        """Save a state and the weights of its best epoch, these first and only where they are not there yet.

        A disk that fails or is full costs this checkpoint, not the training: the next one may succeed.
        """
        self.wait()
        self._try_to_write(content, best)

    def save_beside(self, content: Mapping[str, Any], best: Mapping[str, torch.Tensor] | None) -> None:
        """The same by a thread, of a copy on the host: the tensors of `content` may change at once."""
        self.wait()
        copied = tree_map_only(torch.Tensor, lambda t: t.detach().to("cpu", copy=True), dict(content))
        self._writing = self._thread.submit(self._try_to_write, copied, best)

    @property
    def busy(self) -> bool:
        """Whether one is being written."""
        return self._writing is not None and not self._writing.done()

    def wait(self) -> None:
        """Until the last one is on the disk, or cannot be; raises what was wrong with it that is no fault of the machine."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _try_to_write(self, content: Mapping[str, Any], best: Mapping[str, torch.Tensor] | None) -> None:
        try:
            self._write(content, best)
        except OSError as error:
            if faults.of_machine(error) is None:
                raise
            faults.warn(f"no checkpoint could be written ({error}); training goes on, and the next is tried")

    def _write(self, content: Mapping[str, Any], best: Mapping[str, torch.Tensor] | None) -> None:
        epoch = content["state"]["best_epoch"]
        if best is not None and not self._best(epoch).exists():
            save_checked(self._best(epoch), {"weights": dict(best)})
        if self.newest.exists():
            # The new file takes the old one's place in two steps; a kill between them leaves the previous one.
            self.newest.replace(self.previous)
        save_checked(self.newest, content)
        needed = {self._best(epoch), self._best(self._best_before)}
        self._best_before = epoch
        for path in self.folder.glob("best-*.pt"):
            if path not in needed:
                path.unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, Any], dict[str, torch.Tensor] | None] | None:
        """(state, best weights) of the newest checkpoint that is whole, or None; says which it passes over.

        A disk that fails raises OSError: the checkpoint may be good, and the training in it must not be lost.
        """
        for path in (self.newest, self.previous):
            if not path.exists():
                continue
            try:
                content = load_checked(path)
                epoch = content["state"]["best_epoch"]
                best = None if epoch is None else load_checked(self._best(epoch))["weights"]
            except UNREADABLE as error:
                if faults.of_machine(error) is not None:
                    raise
                faults.warn(f"{path.name} is passed over: {first_line(error)}")
            else:
                self.loaded, self._best_before = path, epoch
                return content, best
        return None

    def files(self) -> list[Path]:
        """All that training has left here, checkpoints and the features of analyses."""
        return [p for pattern in ("checkpoint*.pt", "best-*.pt", "features-*.npz") for p in self.folder.glob(pattern)]

    def set_aside(self, path: Path) -> None:
        """Take a checkpoint out of the way that does not fit, without losing it."""
        path.replace(self.folder / f"checkpoint.unfit{path.stat().st_mtime_ns}.pt")

    def _best(self, epoch: int | None) -> Path:
        return self.folder / f"best-{epoch}.pt"


def first_line(error: BaseException) -> str:
    """What an error says, without the pages that torch adds."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def refuse_other_shapes(given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor]) -> None:
    """ValueError unless both hold tensors of the same names and shapes."""
    bad = sorted(name for name in {*given, *wanted} if name not in given or name not in wanted
                 or given[name].shape != wanted[name].shape)  # fmt: skip
    if bad:
        raise ValueError(f"names or shapes differ at {', '.join(bad[:3])}")
