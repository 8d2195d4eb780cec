"""Getting one official file: resumed where it stopped, checked before it gets its name, never an error page.

A download grows in `<file>.part`. It becomes the file when its size and checksum are the published ones. It is kept for
the next call only if that can go on with it: the size is known, and the server continues where it is asked to.
"""

from __future__ import annotations

import shutil
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from tasks.contract import DataError, File, require
from tasks.files.locate import human, locate
from tasks.files.verify import digest, verify

if TYPE_CHECKING:
    import requests

CHUNK = 2**16
"""Bytes per read: at most this much is lost when a connection breaks."""
TRIES = 5
"""Connections per file before giving up; each goes on where the last one broke."""
TIMEOUT = (10, 60)
"""Seconds to wait for a connection, and for the next bytes."""
SPARE = 100 * 2**20
"""Bytes to leave free on the disk."""
MOST_UNKNOWN = 10 * 10**9
"""Bytes to take of a file whose size neither its publisher nor the server tells."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Remote:
    """What a server says of a file before it is downloaded."""

    size: int | None
    resumable: bool


def fetch(
    file: File, data_dir: Path, say: Say, dry_run: bool = False, progress: Callable[[int], None] | None = None
) -> Path | None:
    """Bring `file` to its place below `data_dir`; its path, or None where that is up to the user or it is a dry run.

    Says the size first. A file that is there already is verified, not fetched. `progress` gets the number of bytes as
    they come. DataError when the server refuses, the size or checksum is wrong, or the disk is too small.
    """
    here, target = locate(data_dir, file), data_dir / file.path
    if here is not None and here.is_file():
        return _already(here, file, data_dir, say, dry_run)
    if file.url is None:
        say(f"{target}: no direct link. {file.get or 'See the task description (`bench describe`).'}")
        return None
    if file.archive is not None:
        return _from_archive(file, data_dir, say, dry_run, progress)
    if dry_run:
        size = human(file.size) if file.size else "exact size told by the server"
        say(f"{target}: would fetch {file.url} ({size}, {file.checksum or 'no checksum'}); {file.get}")
        return None
    import requests

    with requests.Session() as session:
        remote = _ask(session, file)
        say(f"{target}: {human(remote.size) if remote.size else 'unknown size'} from {file.url}")
        part = _part_of(target)
        _check_space(part, (remote.size or 0) - _size(part))
        try:
            _download_all(session, file, part, remote, say, progress)
        except BaseException:
            if remote.size is None or not remote.resumable:
                part.unlink(missing_ok=True)
            raise
    return _finish(part, target, file, data_dir, say, "done")


def _download_all(
    session: requests.Session,
    file: File,
    part: Path,
    remote: Remote,
    say: Say,
    progress: Callable[[int], None] | None,
) -> None:
    for attempt in range(1, TRIES + 1):
        if _download(session, file, part, remote, progress):
            return
        say(f"{PurePosixPath(file.path).name}: the connection broke at {human(_size(part))} ({attempt} of {TRIES})")
    goes_on = "goes on where it stopped" if remote.resumable and remote.size is not None else "starts anew"
    raise DataError(part, f"{_size(part):,} bytes after {TRIES} connections", f"{remote.size or 0:,} bytes",
                    f"Fetch again: it {goes_on}.")  # fmt: skip


def _from_archive(
    file: File, data_dir: Path, say: Say, dry_run: bool, progress: Callable[[int], None] | None
) -> Path | None:
    """Fetch the archive like any file, keep it for its other members, and copy `file` out of it."""
    url = file.url or ""
    archive = fetch(File(PurePosixPath(url).name, None, url, file.archive, file.get), data_dir, say, dry_run, progress)
    if archive is None or dry_run:
        return None
    target = data_dir / file.path
    part = _part_of(target)
    try:
        with tarfile.open(archive) as members, part.open("wb") as out:
            stream = members.extractfile(file.path)
            if stream is None:
                raise KeyError(f"{file.path} is no file")
            _check_space(part, members.getmember(file.path).size)
            shutil.copyfileobj(stream, out)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, tarfile.TarError | KeyError | EOFError | zlib.error):
            raise DataError(archive, f"no member {file.path} ({error})", "the published archive",
                            "Remove it and fetch again.") from error  # fmt: skip
        raise
    said = f"taken out of {archive.name}; the archive is no longer needed when all files are here"
    return _finish(part, target, file, data_dir, say, said)


def _already(path: Path, file: File, data_dir: Path, say: Say, dry_run: bool) -> Path:
    verdict = verify(path, file, data_dir, compute=not dry_run)
    if verdict is not None and verdict.status in ("differs", "generated"):
        raise DataError(path, verdict.detail, "the published file", "Remove it and fetch again.")
    say(f"{path}: here already ({verdict.detail if verdict else 'not verified yet'})")
    return path


def _part_of(target: Path) -> Path:
    """Where `target` grows; makes the folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(target.name + ".part")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _refuse(file: File, found: str) -> DataError:
    cure = f"Try again later, or get it by hand: {file.get}" if file.get else "Try again later."
    return DataError(file.url or file.path, found, "the data file", cure)


def _ask(session: requests.Session, file: File) -> Remote:
    """Size and resumability, from the first byte (a HEAD request is refused by some hosts that serve data)."""
    import requests

    try:
        with session.get(file.url or "", headers={"Range": "bytes=0-0"}, stream=True, timeout=TIMEOUT) as answer:
            _refuse_page(file, answer)
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            length = total if answer.status_code == 206 else answer.headers.get("Content-Length", "")
            remote = Remote(int(length) if length.isdecimal() else file.size, answer.status_code == 206)
    except requests.RequestException as error:
        raise _refuse(file, f"no connection ({error})") from error
    if file.size is not None and remote.size != file.size:
        raise _refuse(file, f"{remote.size:,} bytes on the server, published are {file.size:,}")
    return remote


def _refuse_page(file: File, answer: requests.Response) -> None:
    """DataError for an error status, and for a web page where data should be."""
    if answer.status_code >= 400:
        raise _refuse(file, f"HTTP {answer.status_code} {answer.reason}")
    kind = answer.headers.get("Content-Type", "").lower()
    if "html" in kind or "xml" in kind:
        raise _refuse(file, f"a web page ({kind})")


def _check_space(part: Path, more: int) -> None:
    """DataError where the disk of `part` has no room for that many bytes and some to spare."""
    free = shutil.disk_usage(part.parent).free
    require(free >= more + SPARE, part, f"{human(free)} free on its disk", human(more + SPARE),
            "Free some space, or choose another folder with --data-dir.")  # fmt: skip


def _download(
    session: requests.Session, file: File, part: Path, remote: Remote, progress: Callable[[int], None] | None
) -> bool:
    """One connection: append what is missing to `part`; whether all is there now."""
    import requests

    start = _size(part) if remote.resumable else 0
    if remote.size is not None and start > remote.size:
        start = 0
    if start and start == remote.size:
        return True
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        with session.get(file.url or "", headers=headers, stream=True, timeout=TIMEOUT) as answer:
            _refuse_page(file, answer)
            goes_on = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(
                f"bytes {start}-"
            )
            with part.open("ab" if start and goes_on else "wb") as out:
                for block in answer.iter_content(CHUNK):
                    if out.tell() == 0 and block.lstrip()[:1] == b"<":
                        part.unlink()
                        raise _refuse(file, f"a web page (it begins with {block[:24]!r})")
                    _write(file, part, out, block, remote)
                    if progress is not None:
                        progress(len(block))
    except requests.RequestException:
        return False
    return remote.size is None or _size(part) == remote.size


def _write(file: File, part: Path, out: IO[bytes], block: bytes, remote: Remote) -> None:
    """Append `block`; DataError where that is more than was announced, or more than the disk has to spare."""
    most = MOST_UNKNOWN if remote.size is None else remote.size
    if out.tell() + len(block) > most:
        part.unlink()
        known = "without telling its size" if remote.size is None else "though it told that size"
        raise _refuse(file, f"more than {most:,} bytes, {known}")
    _check_space(part, len(block))
    out.write(block)


def _finish(part: Path, target: Path, file: File, data_dir: Path, say: Say, said: str) -> Path:
    """`part` becomes `target` if size and checksum are as published; a wrong one is removed, so that it is not resumed."""
    found = f"{_size(part):,} bytes" if file.size is not None and _size(part) != file.size else ""
    if not found and file.checksum is not None:
        algorithm, _, expected = file.checksum.partition(":")
        value = digest(part, algorithm)
        found = f"{algorithm} {value}" if value != expected else ""
    if found:
        part.unlink()
        raise _refuse(file, f"{found} after the download")
    part.replace(target)
    verify(target, file, data_dir)
    say(f"{target}: {said}")
    return target
