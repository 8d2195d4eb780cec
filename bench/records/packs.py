"""A pack: a store as one file, to publish and to send, with a manifest of what is in it.

A pack is a `.tar.gz` of records, curves and arrays (weights stay out: their size is another) and of `pack.manifest`, JSON with
the keys of `Manifest`. The same records give the same bytes. `opened` also takes any other `.tar.gz` or `.zip` of a store, which may
come from anybody: members get names of files of a store in one folder and are plain files of bounded size and number, or
the archive is refused.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Annotated, Literal, TypedDict

from bench import __version__
from bench.errors import UsageError
from bench.records.schema import Rule, checker
from bench.records.store import LARGEST_CURVES, SIDECARS, STRICT, Store, to_json
from tasks.files.atomic import replacing
from tasks.files.regular import open_file

REFERENCE = Path(__file__).parent / "reference.tar.gz"
"""The records of the suite `quick` that this project brings, also where it was installed without its checkout."""
NAME = "pack.manifest"
PACKED = tuple(suffix for suffix in SIDECARS if suffix != ".safetensors")
LARGEST, FILES = 4 << 30, 500_000
"""Bytes of an archive, packed or unpacked, and its members: what one that was made to fill a disk is stopped at."""
AT_ONCE = 64 << 20
"""Bytes that a reader of archives may ask for at once: the list of members of a `.zip`, a long name in a `.tar`."""
UNREADABLE = (ValueError, EOFError, RuntimeError, tarfile.TarError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile)
"""What readers of archives raise for one that is damaged, needs a password, or is packed in a way that they do not know."""
Digest = Annotated[str, Rule("a SHA-256", lambda v: len(v) == 64 and set(v) <= set("0123456789abcdef"))]


class Manifest(TypedDict):
    """What a pack says of itself."""

    format: Literal["1"]
    version: str
    """Of this project, which made the pack."""
    commits: list[str]
    """That made the records."""
    count: int
    """Records."""
    files: dict[str, Digest]
    """SHA-256 of every file, records and sidecars."""


@dataclass(frozen=True)
class Opened:
    """A store that is open, and what it says of itself; None of a folder, and of an archive that no pack is."""

    store: Store
    manifest: Manifest | None


def write(store: Store, out: Path) -> tuple[Manifest, str]:
    """Make the pack `out` of all records of a store; its manifest and its own SHA-256.

    UsageError where the store has no record, or a file that is none: what a pack leaves out nobody would miss.
    """
    records, problems = store.scan(("id", "task", "method", "backbone", "seed", "git"))
    if problems or not records:
        said = f"{problems[0].path}: {problems[0].reason}" if problems else "it has no record"
        raise UsageError(f"no pack of {store.folder} was made: {said}")
    paths = (store.sidecar(record, suffix) for record in records for suffix in (".json", *PACKED))
    present = sorted(path for path in paths if path.is_file())
    files = {path.name: _digest(path) for path in present}
    commits = sorted({str(record["git"].get("commit")) for record in records})
    manifest = Manifest(format="1", version=__version__, commits=commits, count=len(records), files=files)
    with replacing(out) as temporary:
        with (
            temporary.open("wb") as file,
            gzip.GzipFile("", "wb", 9, file, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w") as members,
        ):
            _add(members, NAME, io.BytesIO(to_json(manifest)), len(to_json(manifest)))
            for path in present:
                with open_file(path, LARGEST) as content:
                    _add(members, path.name, content, path.stat().st_size)
        return manifest, _digest(temporary)


def _add(members: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)  # owner, times and mode at their defaults, so that bytes follow from records
    member.size = size
    members.addfile(member, content)


@contextlib.contextmanager
def opened(path: Path, sha256: str | None = None) -> Iterator[Opened]:
    """What is at `path`: a results folder itself; an archive unpacked, in a folder that is there as long as this context.

    UsageError where the archive is none, is not safe, holds no record, or differs from its manifest or from `sha256`.
    """
    if path.is_dir():
        if sha256 is not None:
            raise UsageError(f"{path} is a folder: a SHA-256 is that of an archive")
        yield Opened(Store(path), None)
        return
    archive = path.resolve()  # a link of the user's own
    with tempfile.TemporaryDirectory(prefix="bench-pack-") as folder:
        store = Store(Path(folder) / path.name)  # so that messages say which archive a file is of
        store.folder.mkdir()
        try:
            if sha256 is not None and (found := _digest(archive)) != sha256.lower():
                raise ValueError(f"its SHA-256 is {found}, expected {sha256}")
            manifest = _unpack(archive, store.folder)
        except FileNotFoundError:
            raise UsageError(
                f"{path} is no folder and no file: expected a results folder, or an archive of one"
            ) from None
        except UNREADABLE as error:
            raise UsageError(f"{path} is no pack that can be read: {error}") from None
        yield Opened(store, manifest)


def _unpack(archive: Path, folder: Path) -> Manifest | None:
    """Write the files of a store in `archive` to `folder`, return its manifest; ValueError with the reason if that cannot be."""
    left, manifest, held = LARGEST, None, {}
    for count, (member, content) in enumerate(_members(archive)):
        if count >= FILES:
            raise ValueError(f"it has more than {FILES:,} members")
        place = PurePosixPath(member)
        if place.name == NAME:
            manifest = STRICT.decode(content.read(LARGEST_CURVES).decode())
            checker(Manifest)(manifest, NAME)
        elif "work" not in place.parts[:-1] and place.name.endswith((".json", *PACKED)):
            if place.name in held:
                raise ValueError(f"it has two files that are called {ascii(place.name)[:120]}")
            most = min(left, LARGEST_CURVES) if place.suffix == ".json" else left
            size, held[place.name] = _copy(content, folder / place.name, most)
            left -= size
    if manifest is not None and (wrong := sorted(held.items() ^ manifest["files"].items())):
        raise ValueError(f"{ascii(wrong[0][0])[:120]} is not what its manifest says")
    if next(Store(folder).files(), None) is None:
        raise ValueError("it holds no record")
    return manifest


def _copy(content: IO[bytes], path: Path, most: int) -> tuple[int, str]:
    """Bytes copied and their SHA-256; counted as they come, since what an archive says of sizes may be untrue."""
    size, digest = 0, hashlib.sha256()
    with path.open("xb") as file:
        while block := content.read(1 << 16):
            size += len(block)
            if size > most:
                raise ValueError(f"{ascii(path.name)[:120]} has more than {most:,} bytes")
            digest.update(block)
            file.write(block)
    return size, digest.hexdigest()


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of every plain file; ValueError for links and devices, and for what is no archive."""
    with open_file(archive, LARGEST) as file:
        begin = file.peek(4)[:4]
        if begin[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=file) as unpacked:
                plain = Bounded(unpacked)
                with tarfile.open(fileobj=plain, mode="r:") as members:  # type: ignore[call-overload]
                    yield from _tar_members(members)
                while plain.read(1 << 16):  # to the end, where the checksum of all of it stands
                    pass
        elif begin == b"PK\x03\x04":
            with zipfile.ZipFile(Bounded(file)) as packed:  # type: ignore[arg-type]
                yield from _zip_members(packed)
        else:
            raise ValueError("expected a .tar.gz or a .zip")


def _tar_members(members: tarfile.TarFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in members:
        content = members.extractfile(member) if member.isreg() else None
        if content is not None:
            yield member.name, content
        elif not member.isdir():
            raise ValueError(f"{ascii(member.name)[:120]} is a link or a device, a store holds plain files")


def _zip_members(packed: zipfile.ZipFile) -> Iterator[tuple[str, IO[bytes]]]:
    for member in packed.infolist():
        if member.is_dir():
            continue
        if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
            raise ValueError(f"{ascii(member.filename)[:120]} is a link or a device, a store holds plain files")
        with packed.open(member) as content:
            yield member.filename, content


class Bounded:
    """A file for readers of archives that does not go on for ever, and gives none of them gigabytes of names to hold."""

    def __init__(self, file: IO[bytes] | gzip.GzipFile):
        self._file = file
        self.tell, self.seekable = file.tell, file.seekable

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of the file, but not behind `LARGEST`: in what is packed, to go there is to unpack all before it."""
        if offset > LARGEST:
            raise ValueError(f"it unpacks to more than {LARGEST:,} bytes")
        return self._file.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        """At most `AT_ONCE` bytes, and none behind `LARGEST`; ValueError for more."""
        data = self._file.read(AT_ONCE + 1 if size < 0 else min(size, AT_ONCE + 1))
        if len(data) > AT_ONCE or self._file.tell() > LARGEST:
            raise ValueError(f"it unpacks to more than {LARGEST:,} bytes, or to names of more than {AT_ONCE:,}")
        return data


def _digest(path: Path) -> str:
    with open_file(path, LARGEST) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
