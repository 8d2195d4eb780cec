"""Downloads against a server on this machine: resume, checksum, and everything that must not become a data file."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.contract import DataError, File
from tasks.files import fetch as fetching
from tasks.files.fetch import fetch
from tasks.files.verify import verify

BODY = bytes(range(256)) * 4096


@dataclass
class Script:
    """How the server behaves, and what it was asked for."""

    body: bytes = BODY
    status: int = 200
    kind: str = "application/octet-stream"
    ranges: bool = True
    told: int | None = -1
    """The size that the server tells; None: it tells none; -1: the true one."""
    cut: list[int] = field(default_factory=list)
    """For each answer with data: after how many bytes the connection breaks."""
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[tuple[Script, str]]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Keep quiet."""

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            script.asked.append(wanted)
            if script.status != 200:
                page = b"<html>no</html>"
                self.send_response(script.status)
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)
                return
            body, total = script.body, len(script.body)
            if wanted and script.ranges:
                first, _, last = wanted.removeprefix("bytes=").partition("-")
                stop = int(last) + 1 if last else total
                body = body[int(first) : stop]
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{total}")
            else:
                self.send_response(200)
            self.send_header("Content-Type", script.kind)
            if script.told is not None:
                self.send_header("Content-Length", str(len(body) if script.told < 0 else script.told))
            self.end_headers()
            if len(body) > 1 and script.cut:
                body = body[: script.cut.pop(0)]
            try:
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                return

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield script, f"http://127.0.0.1:{httpd.server_port}/file"
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def official(url: str) -> File:
    return File("1D/a.hdf5", len(BODY), url, "md5:" + hashlib.md5(BODY).hexdigest(), "PDEBench, doi:10.1")


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def test_size_is_said_first_then_the_file_is_there_and_verified(server, tmp_path):
    script, url = server
    said, counts = [], []
    path = fetch(official(url), tmp_path, said.append, progress=counts.append)
    assert path == tmp_path / "1D/a.hdf5" and path.read_bytes() == BODY and left(tmp_path) == ["a.hdf5"]
    assert said[0].endswith(f"1.05 MB from {url}") and sum(counts) == len(BODY)
    verdict = verify(path, official(url), tmp_path)
    assert (verdict.status, verdict.remembered) == ("verified", True)
    before = len(script.asked)
    assert fetch(official(url), tmp_path, said.append) == path and len(script.asked) == before, "not fetched twice"


def test_a_broken_connection_is_resumed_where_it_stopped(server, tmp_path):
    script, url = server
    script.cut = [300_000, 200_000]
    assert fetch(official(url), tmp_path, lambda _: None).read_bytes() == BODY
    read = fetching.CHUNK
    first, second = 300_000 // read * read, 300_000 // read * read + 200_000 // read * read
    assert script.asked == ["bytes=0-0", None, f"bytes={first}-", f"bytes={second}-"], "whole reads are kept"


def test_an_interrupted_download_goes_on_in_the_next_call(server, tmp_path):
    script, url = server
    script.cut = [100_000] * fetching.TRIES
    with pytest.raises(DataError, match="goes on where it stopped"):
        fetch(official(url), tmp_path, lambda _: None)
    assert left(tmp_path) == ["a.hdf5.part"]
    script.cut, already = [], len(script.asked)
    assert fetch(official(url), tmp_path, lambda _: None).read_bytes() == BODY
    assert script.asked[already:] == ["bytes=0-0", f"bytes={fetching.TRIES * fetching.CHUNK}-"]


def test_a_server_that_cannot_resume_starts_again(server, tmp_path):
    script, url = server
    script.ranges, script.cut = False, [300_000]
    (tmp_path / "1D").mkdir()
    (tmp_path / "1D/a.hdf5.part").write_bytes(b"old" * 10)
    assert fetch(official(url), tmp_path, lambda _: None).read_bytes() == BODY


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_error_answer_never_becomes_a_file(server, tmp_path, status):
    script, url = server
    script.status = status
    with pytest.raises(DataError, match=rf"HTTP {status}.*get it by hand: PDEBench"):
        fetch(official(url), tmp_path, lambda _: None)
    assert left(tmp_path) == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/xml", "application/octet-stream"])
def test_a_page_with_status_200_never_becomes_a_file(server, tmp_path, kind):
    """A quota page by its type, or, where the type lies, by its first byte."""
    script, url = server
    script.kind, script.body = kind, b"  <!DOCTYPE html>" + b" " * 1000
    with pytest.raises(DataError, match="a web page"):
        fetch(replace(official(url), size=None), tmp_path, lambda _: None)
    assert not (tmp_path / "1D/a.hdf5").exists()


def test_another_size_on_the_server_is_refused_before_the_download(server, tmp_path):
    script, url = server
    script.body = BODY[:-1]
    with pytest.raises(DataError, match=r"1,048,575 bytes on the server, published are 1,048,576"):
        fetch(official(url), tmp_path, lambda _: None)
    assert script.asked == ["bytes=0-0"] and left(tmp_path) == []


def test_a_download_of_unknown_size_is_bounded_and_leaves_nothing(server, tmp_path, monkeypatch):
    script, url = server
    script.ranges, script.told = False, None
    file = replace(official(url), size=None)
    monkeypatch.setattr(fetching, "MOST_UNKNOWN", 300_000)
    with pytest.raises(DataError, match="more than 300,000 bytes, without telling its size"):
        fetch(file, tmp_path, lambda _: None)
    assert left(tmp_path) == []
    monkeypatch.setattr(fetching, "MOST_UNKNOWN", 3_000_000)
    assert fetch(file, tmp_path, lambda _: None).read_bytes() == BODY


def test_more_bytes_than_the_server_told_are_refused(server, tmp_path, monkeypatch):
    """A range that is answered with all of the file, under the size of a part."""
    script, url = server
    script.told = None
    script.ranges = False
    with pytest.raises(DataError, match="more than 1,000 bytes, though it told that size"):
        fetch(replace(official(url), size=1000), tmp_path, lambda _: None)
    assert left(tmp_path) == []


def test_a_disk_that_fills_up_meanwhile_keeps_only_what_can_go_on(server, tmp_path, monkeypatch):
    script, url = server
    real, written = shutil.disk_usage(tmp_path), []
    usage = lambda _: real._replace(free=10**12 if len(written) < 4 else 0)  # noqa: E731
    monkeypatch.setattr(fetching.shutil, "disk_usage", usage)
    with pytest.raises(DataError, match="0 B free on its disk"):
        fetch(official(url), tmp_path, lambda _: None, progress=written.append)
    assert left(tmp_path) == ["a.hdf5.part"], "its size is known and the server goes on"
    written.clear()
    (tmp_path / "1D/a.hdf5.part").unlink()
    script.ranges = False
    with pytest.raises(DataError, match="0 B free on its disk"):
        fetch(official(url), tmp_path, lambda _: None, progress=written.append)
    assert left(tmp_path) == []


def test_a_wrong_checksum_is_refused_and_not_resumed(server, tmp_path):
    script, url = server
    script.body = BODY[::-1]
    with pytest.raises(DataError, match=r"md5 [0-9a-f]{32} after the download"):
        fetch(official(url), tmp_path, lambda _: None)
    assert left(tmp_path) == []


def test_no_server_at_all(tmp_path):
    with pytest.raises(DataError, match="no connection"):
        fetch(official("http://127.0.0.1:9/file"), tmp_path, lambda _: None)


def test_too_small_a_disk_is_said_before_the_download(server, tmp_path, monkeypatch):
    script, url = server
    monkeypatch.setattr(fetching, "SPARE", 10**18)
    with pytest.raises(DataError, match="free on its disk"):
        fetch(official(url), tmp_path, lambda _: None)
    assert script.asked == ["bytes=0-0"]


def test_dry_run_asks_nobody_and_says_size_link_checksum_and_place(server, tmp_path):
    script, url = server
    said = []
    assert fetch(official(url), tmp_path, said.append, dry_run=True) is None
    assert script.asked == [] and left(tmp_path) == []
    for part in (str(tmp_path / "1D/a.hdf5"), "1.05 MB", url, official(url).checksum):
        assert part in said[0]


def test_without_a_link_it_says_what_to_get_and_where_it_goes(tmp_path):
    said = []
    file = File("ecg/challenge2017.pkl", get="the Google Drive folder, file id 1j7Y")
    assert fetch(file, tmp_path, said.append) is None
    assert said == [f"{tmp_path}/ecg/challenge2017.pkl: no direct link. the Google Drive folder, file id 1j7Y"]


def archive(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(url: str, name: str, content: bytes, packed: bytes) -> File:
    md5 = [f"md5:{hashlib.md5(b).hexdigest()}" for b in (content, packed)]
    return File(f"pack/{name}", None, f"{url}.tar.gz", md5[0], "by hand", md5[1])


def test_members_of_an_archive_are_taken_out_of_one_download(server, tmp_path):
    script, url = server
    script.body = packed = archive({"pack/train": BODY, "pack/test": b"small"})
    said = []
    train, test = member(url, "train", BODY, packed), member(url, "test", b"small", packed)
    assert fetch(train, tmp_path, said.append, dry_run=True) is None and script.asked == [] and train.archive in said[0]
    assert fetch(train, tmp_path, said.append).read_bytes() == BODY
    asked = len(script.asked)
    assert fetch(test, tmp_path, said.append).read_bytes() == b"small" and len(script.asked) == asked
    assert left(tmp_path) == ["file.tar.gz", "test", "train"] and "taken out of file.tar.gz" in said[-1]
    assert verify(tmp_path / "pack/test", test, tmp_path).status == "verified"


def test_a_wrong_archive_or_member_leaves_no_file(server, tmp_path):
    script, url = server
    script.body = packed = archive({"pack/train": BODY})
    with pytest.raises(DataError, match="no member pack/test"):
        fetch(member(url, "test", b"small", packed), tmp_path, lambda _: None)
    with pytest.raises(DataError, match=r"md5 [0-9a-f]{32} after the download"):
        fetch(member(url, "train", b"other", packed), tmp_path, lambda _: None)
    (tmp_path / "file.tar.gz").unlink()
    with pytest.raises(DataError, match=r"md5 [0-9a-f]{32} after the download"):
        fetch(member(url, "train", BODY, b"another archive"), tmp_path, lambda _: None)
    assert left(tmp_path) == []


def test_a_wrong_file_in_the_place_is_not_overwritten(server, tmp_path):
    script, url = server
    target = tmp_path / "a.hdf5"
    target.write_bytes(BODY[::-1])
    with pytest.raises(DataError, match=r"published is [0-9a-f]{32}; expected the published file\. Remove it"):
        fetch(official(url), tmp_path, lambda _: None)
    assert target.read_bytes() == BODY[::-1] and script.asked == []
