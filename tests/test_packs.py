"""Packs: the same records give the same bytes; an archive that is not what it should be is refused and writes nothing."""

import functools
import hashlib
import io
import re
import stat
import tarfile
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bench import cli, cost, plan
from bench.errors import Exit, UsageError
from bench.plan import Selection
from bench.records import packs
from bench.records.store import Store
from tests.record_factory import make_curves, make_record, make_store

QUICK = Path(__file__).parent.parent / "results" / "quick"


@pytest.fixture
def store(tmp_path):
    record = make_record()
    store = make_store(tmp_path / "results", record, make_record(seed=1), curves=make_curves())
    store.sidecar(record, ".npz").write_bytes(b"arrays")
    store.sidecar(record, ".safetensors").write_bytes(b"weights")
    return store


@pytest.fixture
def pack(store, tmp_path):
    packs.write(store, tmp_path / "pack.tar.gz")
    return tmp_path / "pack.tar.gz"


def merged(capsys, *arguments) -> tuple[int, str]:
    code = cli.main(["merge", *map(str, arguments)])
    return code, "".join(capsys.readouterr())


def test_a_pack_is_its_store_without_weights_and_the_same_bytes_each_time(store, pack, tmp_path, capsys):
    again = tmp_path / "again.tar.gz"
    assert cli.main(["export", "--results-dir", str(store.folder), "--out", str(again)]) == Exit.OK
    assert hashlib.sha256(pack.read_bytes()).hexdigest() in capsys.readouterr().out
    assert again.read_bytes() == pack.read_bytes()
    with packs.opened(pack) as found:
        held = {path.name: path.read_bytes() for path in found.store.folder.iterdir()}
        assert found.manifest["count"] == 2 and found.manifest["files"].keys() == held.keys()
    assert held == {path.name: path.read_bytes() for path in store.folder.iterdir() if path.suffix != ".safetensors"}


def test_a_store_that_is_not_whole_makes_no_pack(store, tmp_path):
    (store.folder / "note.json").write_text("{")
    with pytest.raises(UsageError, match=r"note\.json"):
        packs.write(store, tmp_path / "new.tar.gz")
    assert not (tmp_path / "new.tar.gz").exists()


def test_what_this_project_brings_are_the_records_of_the_suite_quick():
    """Made by `python -m bench export --results-dir results/quick --out bench/records/reference.tar.gz`."""
    with packs.opened(packs.REFERENCE) as found:
        assert {p.name: p.read_bytes() for p in found.store.files()} == {
            p.name: p.read_bytes() for p in Store(QUICK).files()
        }


def test_a_plan_is_estimated_by_what_this_project_brings(tmp_path):
    cells = plan.cells(Selection(tasks=("ecg",), methods=("ridge",), profile="quick"), tmp_path)
    assert cost.of_plan(cells, Store(tmp_path / "none")).measured == 1


def in_tar(path, *members: tuple[tarfile.TarInfo | str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def in_zip(path, *members: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members:
            archive.writestr(member, content)
    return path


@pytest.mark.parametrize("form", [in_tar, in_zip])
def test_any_archive_of_a_store_is_merged_and_no_member_leaves_the_folder(form, store, tmp_path, capsys):
    (path, *_) = store.files()
    members = [(f"../../{path.name}", path.read_bytes()), ("/etc/x.txt", b"no"), ("a/work/00/claim.json", b"{}")]
    code, said = merged(
        capsys, form(tmp_path / "a" if form is in_tar else tmp_path / "a.zip", *members), "--out", tmp_path / "out"
    )
    assert code == Exit.OK and "1 record copied" in said
    assert [p.name for p in (tmp_path / "out").iterdir()] == [path.name]


def test_a_file_in_an_archive_that_is_no_record_is_named(tmp_path, capsys):
    code, said = merged(capsys, in_tar(tmp_path / "a.tar.gz", ("x.json", b"[]")), "--out", tmp_path / "out")
    assert code == Exit.SOME_FAILED and "a.tar.gz/x.json" in said


def link(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("x.json")
    member.type, member.linkname = kind, "/etc/passwd"
    return member


def zip_link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("x.json")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


BAD = {
    "link": (in_tar, [(link(tarfile.SYMTYPE), b"")], "is a link or a device"),
    "hard link": (in_tar, [(link(tarfile.LNKTYPE), b"")], "is a link or a device"),
    "pipe": (in_tar, [(link(tarfile.FIFOTYPE), b"")], "is a link or a device"),
    "link in a zip": (in_zip, [(zip_link(), b"/etc/passwd")], "is a link or a device"),
    "twice": (in_tar, [("a/x.json", b"1"), ("b/x.json", b"2")], "two files that are called 'x.json'"),
    "nothing": (in_zip, [("readme.txt", b"")], "no record"),
    "bomb": (in_zip, [("x.json", bytes(3000))], "more than 2,000 bytes"),
    "bomb in parts": (in_tar, [(f"{n}.npz", bytes(900)) for n in range(9)], "more than"),
    "bomb beside": (in_tar, [("x.txt", bytes(90_000))], "more than 2,000 bytes"),
    "long name": (in_tar, [("x" * 5000, b"")], "names of more than 1,000"),
    "many": (in_zip, [(f"{n}.txt", b"") for n in range(6)], "more than 5 members"),
    "false manifest": (in_tar, [(packs.NAME, b"{}"), ("x.json", b"1")], "'pack.manifest.format' is missing"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_archive_that_is_not_safe_is_refused(name, tmp_path, capsys, monkeypatch):
    form, members, message = BAD[name]
    archive = form(tmp_path / "a", *members)
    if "bomb" in name or name in ("long name", "many"):
        monkeypatch.setattr(packs, "LARGEST", 2000 if archive.stat().st_size < 2000 else 4000)
        monkeypatch.setattr(packs, "AT_ONCE", 1000)
        monkeypatch.setattr(packs, "FILES", 5)
    code, said = merged(capsys, archive, "--out", tmp_path / "out")
    assert code == Exit.USAGE and re.search(message, said) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("cut", [0, 1, 10, 300, -1])
def test_an_archive_that_is_cut_or_changed_is_refused(pack, tmp_path, capsys, cut):
    whole = pack.read_bytes()
    pack.write_bytes(whole[:cut])
    assert merged(capsys, pack, "--out", tmp_path / "out")[0] == Exit.USAGE
    pack.write_bytes(whole[: len(whole) // 2] + b"!!!" + whole[len(whole) // 2 + 3 :])
    assert merged(capsys, pack, "--out", tmp_path / "out")[0] == Exit.USAGE
    assert not (tmp_path / "out").exists()


def test_a_pack_whose_records_were_edited_is_refused(pack, tmp_path, capsys):
    with tarfile.open(pack) as archive:
        members = [(m.name, archive.extractfile(m).read()) for m in archive]
    edited = [(name, data.replace(b'"score": 0.25', b'"score": 0.15')) for name, data in members]
    code, said = merged(capsys, in_tar(pack, *edited), "--out", tmp_path / "out")
    assert code == Exit.USAGE and "is not what its manifest says" in said


@pytest.fixture
def address(tmp_path):
    """The folder of this test, served."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_address_is_taken_with_its_checksum_alone(pack, address, tmp_path, capsys):
    url, out = f"{address}/pack.tar.gz", tmp_path / "out"
    code, said = merged(capsys, url, "--out", out)
    assert code == Exit.USAGE and "--sha256" in said
    code, said = merged(capsys, url, "--out", out, "--sha256", 64 * "0")
    assert code == Exit.SOME_FAILED and "sha256" in said and not out.exists()
    digest = hashlib.sha256(pack.read_bytes()).hexdigest()
    assert merged(capsys, url, "--out", out, "--sha256", digest)[0] == Exit.OK
    assert len(Store(out).scan()[0]) == 2


def test_a_checksum_is_of_one_archive(pack, store, tmp_path, capsys):
    digest = hashlib.sha256(pack.read_bytes()).hexdigest()
    assert merged(capsys, pack, "--out", tmp_path / "out", "--sha256", digest)[0] == Exit.OK
    for sources in ([pack, pack], [store.folder]):
        assert merged(capsys, *sources, "--out", tmp_path / "no", "--sha256", digest)[0] == Exit.USAGE
    code, said = merged(capsys, tmp_path / "missing.zip", "--out", tmp_path / "no")
    assert code == Exit.USAGE and "no folder and no file" in said
