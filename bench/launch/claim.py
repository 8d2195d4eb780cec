"""Who runs a cell: a claim that at most one process holds, on any shared filesystem, without locks.

The claims of a cell are files `claim.1`, `claim.2`, ... in its work folder; the highest number counts. A claim is made
by linking a finished file to the next free number, which exactly one contender can do, on NFS too. A claim that counts
is never renamed or removed by somebody else, so no contender can break a claim that it did not look at.

A holder rewrites its file every `BEAT_SECONDS` with a counter. An observer calls a claim stale when its content has not
changed for `STALE_SECONDS` of the observer's own monotonic clock (no clock of another machine, and no clock that can go
backwards, is ever compared), or at once when the holder's process is gone from this very machine, or when it is an
earlier attempt of the same Slurm job, which cannot run twice. A holder that finds itself overtaken has lost its claim.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from bench.faults import warn
from tasks.files.atomic import write_quickly
from tasks.files.regular import NOTE, read_file

BEAT_SECONDS = 10.0
STALE_SECONDS = 120.0
"""Longer than the 60 s for which an NFS client may show an old file."""

_NAME = re.compile(r"claim\.(\d{1,9})")


@dataclass(frozen=True)
class Owner:
    """What a claim file holds."""

    host: str
    pid: int
    machine: str
    """Boot id and process namespace: where these and the host are equal, `pid` can be looked up."""
    started: str
    """Start time of the process in clock ticks, which tells it from a later one with the same pid."""
    job: str
    """Slurm job (`123_4`), or empty. A requeued job keeps its id and never runs twice at once."""
    since: str
    nonce: str
    counter: int = 0
    released: bool = False

    def __str__(self) -> str:
        return f"{self.host} (pid {self.pid}{f', job {self.job}' if self.job else ''}) since {self.since}"


@dataclass(frozen=True)
class Held:
    """Somebody else has the cell."""

    owner: Owner | None
    """None if the claim cannot be read."""

    def __str__(self) -> str:
        return f"running on {self.owner}" if self.owner else "claimed by a process whose claim cannot be read"


class ClaimLost(BaseException):
    """Another process took the cell over, because this one looked dead. Not an Exception: nothing may swallow it."""


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str | None:
    """Start time of a process of this machine in ticks; None if there is none or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    return None if fields[0] in "ZX" else fields[19]


def myself(job: str = "") -> Owner:
    """This process as the owner of a new claim."""
    return Owner(
        host=socket.gethostname(),
        pid=os.getpid(),
        machine=_machine(),
        started=_started(os.getpid()) or "",
        job=job,
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        nonce=secrets.token_hex(8),
    )


def alive_here(owner: Owner) -> bool | None:
    """Whether the owner's process runs on this machine; None if that cannot be known from here."""
    if not owner.machine or owner.machine != _machine() or owner.host != socket.gethostname():
        return None
    return _started(owner.pid) == owner.started


def parse(raw: bytes) -> Owner | None:
    """The owner that a claim file names, or None if it is no claim."""
    try:
        owner = Owner(**json.loads(raw))
    except (ValueError, TypeError, RecursionError):
        return None
    fits = all(type(getattr(owner, field.name)).__name__ == field.type for field in fields(Owner))
    return owner if fits else None


def newest(folder: Path) -> tuple[int, bytes]:
    """Number and content of the claim that counts; (0, b"") if there is none."""
    while True:
        try:
            numbers = [int(m[1]) for name in os.listdir(folder) if (m := _NAME.fullmatch(name))]  # noqa: PTH208
        except FileNotFoundError:
            return 0, b""
        if not numbers:
            return 0, b""
        try:
            return max(numbers), read_file(folder / f"claim.{max(numbers)}", NOTE)
        except FileNotFoundError:
            continue  # its holder has just been overtaken and cleaned up, or the cell has ended
        except ValueError:
            return max(numbers), b""  # no file: silent for as long as it stays


def holder(folder: Path) -> tuple[int, Owner | None]:
    """Number of the claim that counts (0: none, or it was given back), and its owner; None if it cannot be read."""
    number, raw = newest(folder)
    owner = parse(raw)
    return (0, None) if owner and owner.released else (number, owner)


def _create(path: Path, data: bytes) -> bool:
    """Make `path` with `data` in it, whole, unless it exists; whether this call made it."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    temporary.write_bytes(data)
    try:
        os.link(temporary, path)
        return True
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            return _create_exclusively(path, data)  # a filesystem without hard links
        # Over NFS the answer to a link that was made can get lost; the link count tells.
        return temporary.stat().st_nlink == 2
    finally:
        temporary.unlink(missing_ok=True)


def _create_exclusively(path: Path, data: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


def _bytes(owner: Owner) -> bytes:
    return json.dumps(asdict(owner)).encode()


class Claim:
    """A claim that this process holds, with its heartbeat. Use as a context; `lost` is set when it was taken over."""

    def __init__(self, folder: Path, number: int, owner: Owner, beat_seconds: float):
        self.folder, self.number, self.owner = folder, number, owner
        self.lost = threading.Event()
        self._stop = threading.Event()
        self._seconds = beat_seconds
        self._thread = threading.Thread(target=self._beat, name=f"claim {folder.name}", daemon=True)

    def __enter__(self) -> Claim:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def verify(self) -> None:
        """Raise ClaimLost if the claim was taken over."""
        if self.lost.is_set():
            by = parse(newest(self.folder)[1])
            raise ClaimLost(f"taken over by {by}" if by else "its work folder was removed by somebody else")

    def release(self) -> None:
        """Give the cell back. The file stays, marked: numbers must never be used twice."""
        self._stop.set()
        self._thread.join()
        if not self.lost.is_set() and not self._overtaken():
            self._write(counter=self.owner.counter, released=True)

    def _path(self) -> Path:
        return self.folder / f"claim.{self.number}"

    def _overtaken(self) -> bool:
        try:
            return not self._path().exists() or newest(self.folder)[0] > self.number
        except OSError:
            return False  # a file server that does not answer for a while: the next beat will see

    def _write(self, **changes: int | bool) -> None:
        # On a full disk the beat stops and others may think the holder dead; they cannot make a claim there either.
        try:
            write_quickly(self._path(), _bytes(Owner(**{**asdict(self.owner), **changes})))
        except OSError as error:
            warn(f"claim of {self.folder.name} not refreshed: {error}")

    def _beat(self) -> None:
        counter = 0
        while not self._stop.wait(self._seconds):
            if self._overtaken():
                self.lost.set()
                return
            counter += 1
            self._write(counter=counter)


def acquire(
    folder: Path,
    job: str = "",
    *,
    beat_seconds: float | None = None,
    stale_seconds: float | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Claim | Held:
    """Claim the cell whose work folder this is, or say who has it.

    Returns at once if the cell is free or the other process is on this machine; otherwise watches the other's heartbeat
    until it beats (`Held`) or has been silent for `stale_seconds` (taken over).
    """
    beat = BEAT_SECONDS if beat_seconds is None else beat_seconds
    stale = STALE_SECONDS if stale_seconds is None else stale_seconds
    seen: tuple[int, bytes] | None = None
    since = clock()
    while True:
        number, raw = newest(folder)
        owner = parse(raw)
        if number and not (owner and (owner.released or _gone(owner, job))):
            if owner and alive_here(owner):
                return Held(owner)
            if seen is None:
                seen, since = (number, raw), clock()
            elif seen != (number, raw):
                return Held(owner)
            if clock() - since < stale:
                sleep(min(1.0, beat / 4))
                continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            mine = myself(job)
            created = _create(folder / f"claim.{number + 1}", _bytes(mine))
        except FileNotFoundError:
            continue  # the cell ended and its folder went between two lines
        if created and newest(folder)[0] > number + 1:
            # This contender slept while others came and went: its number had been used and cleaned up.
            (folder / f"claim.{number + 1}").unlink(missing_ok=True)
        elif created:
            for old in range(max(1, number - 3), number + 1):
                (folder / f"claim.{old}").unlink(missing_ok=True)
            return Claim(folder, number + 1, mine, beat)
        seen = None  # somebody else was faster: look at that claim afresh


def _gone(owner: Owner, job: str) -> bool:
    """Whether the holder is known to be dead without any waiting."""
    return alive_here(owner) is False or bool(job and owner.job == job and not alive_here(owner))
