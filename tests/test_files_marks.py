"""Finding, marking, fingerprinting and verifying data files, and the manifest they come from."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tasks.contract import DataError, File
from tasks.files import fingerprint as fingerprints
from tasks.files import manifest
from tasks.files import verify as verifying
from tasks.files.fingerprint import fingerprint
from tasks.files.generated import origin_of, read_mark, sidecar, writing
from tasks.files.locate import find, human
from tasks.files.verify import verify
from tests.pde_helpers import NAMES, TASKS, tiny


def test_manifest_names_every_file_with_link_and_md5():
    rows = manifest.rows()
    assert len(rows) > 90
    assert all(re.fullmatch("[0-9a-f]{32}", row["md5"]) and row["datafile_id"].isdecimal() for row in rows.values())
    for name in NAMES:
        (file,) = TASKS[name].files
        row = rows[Path(file.path).name]
        assert file.url.endswith("/datafile/" + row["datafile_id"]) and file.checksum == "md5:" + row["md5"]
    advection = TASKS["advection"].files[0]
    assert (advection.path, advection.size) == ("1D/Advection/Train/1D_Advection_Sols_beta0.4.hdf5", 8_232_966_952)


def test_missing_file_says_size_link_checksum_place_and_the_stand_in(tmp_path):
    file = TASKS["advection"].files[0]
    with pytest.raises(DataError) as caught:
        find(tmp_path, file)
    for part in (str(tmp_path / file.path), "no such file", "8.23 GB", file.checksum, file.url, "bench data generate"):
        assert part in str(caught.value)


def test_a_file_may_lie_directly_in_the_data_folder(tmp_path):
    file = File("deep/below/a.npy")
    (tmp_path / "a.npy").write_bytes(b"1")
    assert find(tmp_path, file) == tmp_path / "a.npy"
    (tmp_path / "deep/below").mkdir(parents=True)
    (tmp_path / "deep/below/a.npy").write_bytes(b"2")
    assert find(tmp_path, file) == tmp_path / "deep/below/a.npy", "its own place comes first"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission_is_said(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"1")
    (tmp_path / "a.npy").chmod(0)
    with pytest.raises(DataError, match="no permission to read it"):
        find(tmp_path, File("a.npy"))


def test_no_permission_is_said_whoever_asks(tmp_path, monkeypatch):
    (tmp_path / "a.npy").write_bytes(b"1")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(DataError, match=r"no permission to read it.*chmod u\+r"):
        find(tmp_path, File("a.npy"))


def test_sizes_for_people():
    assert [human(n) for n in (0, 999, 1000, 8_232_966_952, 55_050_245_208)] == [
        "0 B", "999 B", "1 kB", "8.23 GB", "55.1 GB",
    ]  # fmt: skip


def test_stand_ins_are_told_apart_wherever_they_lie(tmp_path):
    path = tiny("advection", tmp_path)
    assert origin_of(path) == "generated"
    mark = json.loads(sidecar(path).read_text())
    assert mark["task"] == "advection" and mark["samples"] == 24 and mark["size"] == {"nt": 11, "nx": 64}
    assert "generators, version" in mark["generated_by"] and "SeedSequence" in mark["seed"]
    moved = tmp_path / "elsewhere.hdf5"
    shutil.copy(path, moved)
    assert read_mark(moved) is None and origin_of(moved) == "generated", "by the attribute inside"
    with h5py.File(moved, "r+") as h5:
        del h5.attrs["generated_by"]
    assert origin_of(moved) == "official"
    shutil.copy(moved, path)
    path.write_bytes(path.read_bytes() + b"\0")
    assert origin_of(path) == "official", "an official file put over a stand-in does not inherit its sidecar"


def test_a_generator_that_fails_leaves_nothing_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.hdf5"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), writing(path, task="t", samples=1, size={}) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and [p.name for p in tmp_path.iterdir()] == ["a.hdf5"]


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path):
    (tmp_path / "file").write_bytes(b"1")
    with (
        pytest.raises(DataError, match=r"it cannot be written.*--data-dir"),
        writing(tmp_path / "file" / "a.hdf5", task="t", samples=1, size={}) as temporary,
    ):
        temporary.write_bytes(b"1")


def test_fingerprint_is_of_name_size_and_content_not_of_place_or_time(tmp_path):
    a, b = tmp_path / "a.npy", tmp_path / "b" / "a.npy"
    b.parent.mkdir()
    a.write_bytes(b"123")
    b.write_bytes(b"123")
    os.utime(b, (1, 1))
    assert fingerprint([a]) == fingerprint([b]) == hashlib.sha256(b"a.npy\x003\x00123").hexdigest()
    b.write_bytes(b"124")
    assert fingerprint([a]) != fingerprint([b])
    c = tmp_path / "c.npy"
    c.write_bytes(b"123")
    assert fingerprint([a, c]) == fingerprint([c, a]) != fingerprint([a])


def test_fingerprint_of_a_large_file_samples_it(tmp_path, monkeypatch):
    monkeypatch.setattr(fingerprints, "WHOLE", 2**20)
    path = tmp_path / "large"
    content = np.random.default_rng(0).bytes(20 * 2**20)
    path.write_bytes(content)
    first = fingerprint([path])
    for position in (0, len(content) - 1):
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        assert fingerprint([path]) != first, f"byte {position}"
    path.write_bytes(content)
    assert fingerprint([path]) == first


def test_checksum_is_computed_once_until_size_or_time_change(tmp_path, monkeypatch):
    path, file = tmp_path / "a.npy", File("a.npy", 3, None, "sha256:" + hashlib.sha256(b"123").hexdigest())
    path.write_bytes(b"123")
    calls = []
    real = verifying.digest
    monkeypatch.setattr(verifying, "digest", lambda *a: calls.append(a) or real(*a))
    assert verify(path, file, tmp_path, compute=False) is None, "never computed: nothing is claimed"
    assert verify(path, file, tmp_path).status == "verified"
    assert verify(path, file, tmp_path) == verifying.Verdict("verified", "sha256 " + file.checksum[7:], True)
    assert verify(path, file, tmp_path, compute=False).status == "verified"
    assert len(calls) == 1
    path.write_bytes(b"124")
    os.utime(path, ns=(5, 5))
    verdict = verify(path, file, tmp_path)
    assert verdict.status == "differs" and file.checksum[7:] in verdict.detail and len(calls) == 2
    (tmp_path / ".verified.json").write_text("{broken")
    assert verify(path, file, tmp_path).status == "differs" and len(calls) == 3


def test_verdicts_that_need_no_checksum(tmp_path):
    path = tmp_path / "a.npy"
    path.write_bytes(b"123")
    assert verify(path, File("a.npy"), tmp_path).status == "unknown"
    wrong = verify(path, File("a.npy", 4), tmp_path)
    assert (wrong.status, wrong.detail) == ("differs", "3 bytes, published are 4")
    assert verify(tiny("burgers", tmp_path), TASKS["burgers"].files[0], tmp_path).status == "generated"


def test_a_web_page_saved_as_data_is_told_without_a_checksum(tmp_path):
    """Dead links of NAS-Bench-360 leave an error body under the file's name; nothing is published to compare with."""
    path = tmp_path / "ecg" / "challenge2017.pkl"
    path.parent.mkdir()
    for page in (b"<!DOCTYPE html><html>Quota exceeded</html>", b'\n<?xml version="1.0"?><Error>AccessDenied</Error>'):
        path.write_bytes(page)
        verdict = verify(path, File("ecg/challenge2017.pkl"), tmp_path, compute=False)
        assert verdict == verifying.Verdict("differs", "a web page (an error message saved as data)")
    path.write_bytes(b"<not a page")
    assert verify(path, File("ecg/challenge2017.pkl"), tmp_path).status == "unknown"


def test_a_record_says_what_is_known_of_an_official_file(tmp_path):
    path, file = tmp_path / "a.npy", File("a.npy", None, None, "sha256:" + hashlib.sha256(b"123").hexdigest())
    path.write_bytes(b"123")
    assert verifying.in_words(path, file, tmp_path) == "not verified"
    verify(path, file, tmp_path)
    assert verifying.in_words(path, file, tmp_path) == "verified"
    assert verifying.in_words(path, File("a.npy", 4), tmp_path) == "differs: 3 bytes, published are 4"
    assert verifying.in_words(path, File("a.npy"), tmp_path) == "unknown: no checksum was published"
