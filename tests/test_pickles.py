"""The restricted unpickler: plain arrays come through, a planted payload never runs and is named."""

import gzip
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tasks.contract import DataError
from tasks.files.pickles import load_npy, load_npy_object, load_pickle

PLAIN = {
    "floats": np.arange(6.0).reshape(2, 3),
    "ragged": np.array([np.arange(2, dtype=np.int16), np.arange(3, dtype=np.int16)], dtype=object),
    "text": np.array(["a", "bb"]),
    "bytes": b"\x00\xff",
    "scalar": np.float32(2.5),
    "bool": np.bool_(True),
    "nested": [(1, 2.5, None, True), {"k": {3}}, frozenset({1}), bytearray(b"x"), 1 + 2j, 10**30],
    "fortran": np.asfortranarray(np.eye(3, dtype=np.uint8)),
}


def same(a, b):
    if isinstance(a, np.ndarray) and a.dtype == object:
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return a == b


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("gz", [False, True])
def test_plain_content_comes_through_in_every_protocol(tmp_path, protocol, gz):
    path = tmp_path / "plain.pkl"
    (gzip.open if gz else open)(path, "wb").write(pickle.dumps(PLAIN, protocol))
    back = load_pickle(path, gz=gz)
    assert back.keys() == PLAIN.keys()
    assert all(same(PLAIN[k], back[k]) for k in PLAIN)


def test_the_names_of_numpy_before_2_are_read(tmp_path):
    path = tmp_path / "old.pkl"
    path.write_bytes(pickle.dumps(PLAIN["floats"], 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert same(PLAIN["floats"], load_pickle(path))


def test_python_2_strings(tmp_path):
    path = tmp_path / "py2.pkl"
    path.write_bytes(b"(dp0\nS'data'\np1\nS'\\xe9'\np2\ns.")
    assert load_pickle(path) == {b"data": b"\xe9"}
    assert load_pickle(path, encoding="latin1") == {"data": "é"}


class Call:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def payloads(mark: Path):
    touch = f"touch {mark}"
    code = f"open({str(mark)!r}, 'w')"
    return {
        "os.system": (Call(os.system, touch), ("posix.system", "nt.system")),
        "eval": (Call(eval, code), ("builtins.eval",)),
        "exec": (Call(exec, code), ("builtins.exec",)),
        "open": (Call(open, str(mark), "w"), ("open",)),
        "in a list": ([1, Call(os.system, touch)], ("system",)),
        "in an object array": (np.array([Call(eval, code)], dtype=object), ("builtins.eval",)),
        "as a dict key": ({Call(eval, code): 1}, ("builtins.eval",)),
        "import": (Call(__import__, "antigravity"), ("builtins.__import__",)),
        "numpy load": (Call(np.load, str(mark)), ("numpy",)),
        "path": (Call(Path.touch, mark), ("getattr", "pathlib")),
    }


@pytest.mark.parametrize("name", payloads(Path("x")))
@pytest.mark.parametrize("gz", [False, True])
def test_a_planted_payload_never_runs_and_is_named(tmp_path, name, gz):
    mark = tmp_path / "ran"
    payload, names = payloads(mark)[name]
    blob = pickle.dumps({"data": payload})
    path = tmp_path / "planted.pkl"
    (gzip.open if gz else open)(path, "wb").write(blob)
    with pytest.raises(DataError) as caught:
        load_pickle(path, gz=gz)
    assert not mark.exists()
    assert any(n in caught.value.found for n in names), caught.value.found
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "blob, name",
    [
        (b"cos\nsystem\n(S'echo'\ntR.", "os.system"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "__builtin__.eval"),
        (b"csubprocess\nPopen\n(S'ls'\ntR.", "subprocess.Popen"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0cload.__doc__\x93.", "numpy.load.__doc__"),
        (b"\x80\x04\x8c\x0enumpy._globals\x8c\x03foo\x93.", "numpy._globals.foo"),
        (b"c_codecs\nencode\n(Vabc\nVrot13\ntR.", "a call of 'encode'"),
        (b"P123\n.", "the step PERSID"),
        (b"\x82\x01.", "the step EXT1"),
    ],
)
def test_hand_written_opcodes_are_refused_by_name(tmp_path, blob, name):
    path = tmp_path / "bad.pkl"
    path.write_bytes(blob)
    with pytest.raises(DataError) as caught:
        load_pickle(path)
    assert name in caught.value.found


def test_a_payload_in_an_npy_file_never_runs(tmp_path):
    mark, path = tmp_path / "ran", tmp_path / "bad.npy"
    np.save(path, np.array({"data": Call(os.system, f"touch {mark}")}, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="system"):
        load_npy_object(path)
    assert not mark.exists()


def test_npy_files_of_all_kinds(tmp_path):
    path = tmp_path / "a.npy"
    for value in (np.arange(6).reshape(2, 3), np.asfortranarray(np.eye(3)), np.array(["ab", "c"]), np.array(5.0)):
        np.save(path, value)
        assert same(value, load_npy(path))
    np.save(path, np.array({"data": np.eye(2)}, dtype=object), allow_pickle=True)
    np.testing.assert_array_equal(load_npy_object(path)["data"], np.eye(2))
    with pytest.raises(DataError, match="object array"):
        load_npy(path)


def test_damaged_files_end_in_one_message(tmp_path):
    whole = pickle.dumps(PLAIN)
    npy = io.BytesIO()
    np.save(npy, np.arange(100.0))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as z:
        z.writestr("a", "b")
    cases = {
        "cut.pkl": (whole[:-40], load_pickle),
        "empty.pkl": (b"", load_pickle),
        "page.pkl": (b"<!DOCTYPE html><html>Quota exceeded</html>", load_pickle),
        "zip.pkl": (zipped.getvalue(), load_pickle),
        "cut.gz": (gzip.compress(whole)[:-30], lambda p: load_pickle(p, gz=True)),
        "notgz.gz": (whole, lambda p: load_pickle(p, gz=True)),
        "cut.npy": (npy.getvalue()[:-8], load_npy),
        "header.npy": (npy.getvalue()[:40], load_npy),
        "page.npy": (b"<html></html>", load_npy),
    }
    for name, (blob, load) in cases.items():
        path = tmp_path / name
        path.write_bytes(blob)
        with pytest.raises(DataError) as caught:
            load(path)
        assert caught.value.file == str(path) and caught.value.expected and caught.value.cure, name
    with pytest.raises(DataError, match="missing"):
        load_pickle(tmp_path / "nothing.pkl")
    with pytest.raises(DataError, match="directory"):
        load_npy(tmp_path)
