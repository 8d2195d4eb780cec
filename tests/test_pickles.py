"""Reading pickles: plain arrays come through as they were, a planted payload never runs and is named, nothing crashes."""

import gzip
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tasks.contract import DataError
from tasks.files.pickles import load_npy, load_npy_object, load_pickle
from tests.hostile_pickles import HOSTILE, POINTER, PROTO, STOP, array, dtype, scalar

PLAIN = {
    "floats": np.arange(6.0).reshape(2, 3),
    "ragged": np.array([np.arange(2, dtype=np.int16), np.arange(3, dtype=np.int16)], dtype=object),
    "text": np.array(["a", "bb"]),
    "bytes": b"\x00\xff",
    "scalar": np.float32(2.5),
    "bool": np.bool_(True),
    "nested": [(1, 2.5, None, True), {"k": {3}}, frozenset({1}), bytearray(b"x"), 1 + 2j, 10**30],
    "fortran": np.asfortranarray(np.eye(3, dtype=np.uint8)),
    "big endian": [np.arange(3, dtype=">f8"), np.array(["a", "bb"], ">U3"), np.array([b"a", b"bbb"])],
    "axes": np.arange(24.0).reshape(2, 3, 4).transpose(1, 2, 0),
    "strided": np.arange(20).reshape(4, 5)[:, ::2],
    "no axes": [np.array(5.0), np.array({"a": 1}, dtype=object)],
    "empty": [np.empty((0, 3)), np.empty(0, object), b"", bytearray(), set(), (), {}, ""],
    "objects": np.array([np.array(3.0), np.arange(3), [1, 2], None, "x"], dtype=object),
    "objects in Fortran order": np.asfortranarray(np.array([[1, "a"], [None, 2.5]], dtype=object)),
    "scalars": [np.str_("ab"), np.bytes_(b"ab"), np.int64(-3), np.complex64(1j), np.float16(0.5)],
    "large": [np.arange(200_000, dtype=np.int16), b"x" * 100_000, bytearray(100_000)],
    "numbers": [-1, -300, 2**31, -(2**40), 1e300, float("inf")],
    "letters": "é\ud800x\n\\",
    "shared": [(1, 2)] * 3,
}


def facts(value):
    """Everything that tells two values apart, in words and tuples."""
    if isinstance(value, np.ndarray):
        items = [facts(v) for v in value.reshape(-1).tolist()]
        flags = value.flags.c_contiguous, value.flags.f_contiguous, value.flags.writeable, value.flags.aligned
        return value.dtype.str, value.shape, flags, items
    if isinstance(value, dict):
        return {k: facts(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [facts(v) for v in value]
    return type(value), value


def same(a, b):
    return facts(a) == facts(b)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("gz", [False, True])
def test_plain_content_comes_through_in_every_protocol(tmp_path, protocol, gz):
    path = tmp_path / "plain.pkl"
    (gzip.open if gz else open)(path, "wb").write(pickle.dumps(PLAIN, protocol))
    back, expected = load_pickle(path, gz=gz), pickle.loads(pickle.dumps(PLAIN, protocol))
    assert back.keys() == PLAIN.keys()
    for key in PLAIN:
        assert facts(back[key]) == facts(expected[key]), key


@pytest.mark.parametrize("protocol", range(4))
def test_the_names_of_numpy_before_2_are_read(tmp_path, protocol):
    path = tmp_path / "old.pkl"
    blob = pickle.dumps(PLAIN, protocol)
    path.write_bytes(blob.replace(b"numpy._core.", b"numpy.core."))
    assert facts(load_pickle(path)) == facts(pickle.loads(blob))


def test_python_2_strings(tmp_path):
    path = tmp_path / "py2.pkl"
    path.write_bytes(b"(dp0\nS'data'\np1\nS'\\xe9'\np2\ns.")
    assert load_pickle(path) == {b"data": b"\xe9"}


def test_arrays_of_python_2(tmp_path):
    """As cPickle of Python 2 wrote CIFAR: text names, counted strings, array bytes in a string."""
    path = tmp_path / "py2.pkl"
    path.write_bytes(
        b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87R"
        b"q\x05(K\x01K\x03\x85cnumpy\ndtype\nq\x06U\x02i2K\x00K\x01\x87Rq\x07(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89T\x06\x00\x00\x00\xff\xff\x01\x00\x80\x00tbU\x06labelsq\x08]q\x09(K\x06K\x09eu."
    )
    table = load_pickle(path)
    assert same(table[b"data"], np.array([-1, 1, 128], np.int16)) and table[b"labels"] == [6, 9]


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


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_programs_are_refused(tmp_path, what):
    path = tmp_path / "hostile.pkl"
    path.write_bytes(PROTO + HOSTILE[what] + STOP)
    with pytest.raises(DataError) as caught:
        load_pickle(path)
    assert caught.value.found.isprintable() and len(caught.value.found) <= 400


@pytest.mark.parametrize("what", [name for name in HOSTILE if "flags" in name or "pointer" in name])
def test_hostile_objects_in_an_npy_file_are_refused(tmp_path, what):
    path = tmp_path / "hostile.npy"
    np.save(path, np.array([None]), allow_pickle=True)
    header = path.read_bytes()[:128]
    path.write_bytes(header + PROTO + HOSTILE[what] + STOP)
    with pytest.raises(DataError):
        load_npy_object(path)


def test_the_same_steps_without_the_hostile_part_are_read(tmp_path):
    """Or the tests above would pass for a reader that reads nothing. A memo slot costs the same wherever it is."""
    path = tmp_path / "plain.pkl"
    for steps, value in (
        (array(dtype("i8"), (1,), POINTER), np.frombuffer(b"A" * 8, np.int64).copy()),
        (scalar(dtype("i8"), POINTER), np.frombuffer(b"A" * 8, np.int64)[0]),
        (array(dtype("O8", "|", 63), (2,), b"](K\x01K\x02e"), np.array([1, 2], object)),
        (array(dtype("b1", "|"), (2,), b"C\x02\x01\x00"), np.array([True, False])),
        (b"Nr\xff\xff\xff\xff", None),
    ):
        path.write_bytes(PROTO + steps + STOP)
        assert facts(load_pickle(path)) == facts(value)


def test_random_programs_neither_crash_nor_call_anything():
    done = subprocess.run([sys.executable, "-m", "tests.fuzz_pickles", "1000"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1,000 programs") and " 0 gave" not in done.stdout


def test_a_small_gzip_file_that_unpacks_to_gigabytes_is_refused_early(tmp_path):
    path = tmp_path / "bomb.gz"
    with gzip.open(path, "wb") as f:
        f.write(b"\x80\x04(" + b"U\xff" * 8)
        for _ in range(100):
            f.write(bytes(2**20))
    assert path.stat().st_size < 2**18
    with pytest.raises(DataError):
        load_pickle(path, gz=True)
    with gzip.open(path, "wb") as f:
        f.write(b"\x8e" + (100 * 2**20).to_bytes(8, "little") + bytes(100 * 2**20) + b".")
    with pytest.raises(DataError, match=r"fewer than 104,857,600|25 times"):
        load_pickle(path, gz=True)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_file_copied_in_text_mode_says_so(tmp_path, protocol):
    path = tmp_path / "mangled.pkl"
    path.write_bytes(pickle.dumps({"data": np.arange(10.0), "n": 10}, protocol).replace(b"\n", b"\r\n"))
    with pytest.raises(DataError, match="CR LF"):
        load_pickle(path)


def test_npy_headers_that_promise_what_is_not_there(tmp_path):
    path = tmp_path / "a.npy"

    def write(descr: object, shape: tuple[int, ...], content: bytes = b"") -> None:
        with path.open("wb") as f:
            np.lib.format.write_array_header_1_0(f, {"descr": descr, "fortran_order": False, "shape": shape})
            f.write(content)

    for descr, shape, content in (
        ("<f8", (2**32, 2**32), b""), ("<f8", (0, 2**62), b""), ("<f8", (-1,), b""), ("<U9999999", (2**40,), b""),
        ("|b1", (8,), b"\xff" * 8), ("<U1", (1,), b"\xff\xff\xff\x7f"), ([("a", "|O")], (1,), POINTER),
        ([("a", "<f8")], (1,), b"A" * 8), ("|V8", (1,), b"A" * 8), ("<M8[s]", (1,), b"A" * 8),
    ):  # fmt: skip
        write(descr, shape, content)
        with pytest.raises(DataError):
            load_npy(path, objects=True)


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
