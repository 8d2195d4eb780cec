"""Random damage to records and what lies beside them, and every verb that reads a store: none may end in a traceback.

    python -m tests.fuzz_records 5000        5,000 damaged files; prints the seed of a batch that ended a command

A batch is a store in which every cell has one damaged file, so that whatever passes the checks meets all the others.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from bench import cli, doctor, plan
from bench.plan import Selection
from bench.records.store import Store
from tests.record_factory import make_analysis, make_arrays, make_curves, make_record

CHOICE = {"tasks": ("advection", "ecg"), "methods": ("vanilla", "mona", "orca"), "seeds": tuple(range(6))}
HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 2**63, 10**400, 1e308, -1e99, 5e-324, 0.5),
    *("", "x", "done", "\x1b[2J\x07", "\ud800", "a" * 300, "../../x", "a/b", "a\x00b", "\n\n# x\n", "`<img src=x>`"),
    *("<script>alert(1)</script>", "![x](http://x)", "=1+1", "$\\x$", "{x!r}", "[red]", "%s", "é" * 90, "_x", "1_0"),
    *([], [[[]]], {}, {"": {}}, [None], [1, "x"], {"x": 1}, {"\ud800": 1}, {"value": None}),
)
SECONDS = 60
"""For one verb on one store; a file that makes it wait for ever is as bad as one that ends it."""
VERBS = (
    ("list", "tasks"),
    ("status",),
    ("status", "--json"),
    ("plan", *(word for name, values in CHOICE.items() for word in (f"--{name}", *map(str, values)))),
    ("report", "--html", "--out", "OUT/report"),
    ("report", "--study", "mona-ablation", "--out", "OUT/study"),
    ("report", "--compare", "STORE", "OTHER", "--out", "OUT/compared"),
    ("export", "--out", "OUT/table.json"),
    ("export", "--format", "csv"),
    ("export", "--out", "OUT/table.parquet"),
    ("merge", "STORE", "OTHER", "--out", "OUT/merged"),
    ("doctor",),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value, from the top down."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


def damaged(value: Any, rng: random.Random) -> Any:
    """A copy of a JSON value with one thing in it replaced, removed, or moved to a wrong place."""
    value = copy.deepcopy(value)
    found = list(places(value))
    *path, last = rng.choice(found)
    inner = value
    for key in path:
        inner = inner[key]
    if rng.random() < 0.15:
        del inner[last]
    elif rng.random() < 0.1:
        inner[last] = copy.deepcopy(value[rng.choice(list(value))])
    else:
        inner[last] = copy.deepcopy(rng.choice(HOSTILE))
    return value


def torn(data: bytes, rng: random.Random) -> bytes:
    """Bytes cut short, with some of them changed, or with words that are no JSON."""
    kind = rng.randrange(4)
    if kind == 0:
        return data[: rng.randrange(len(data))]
    if kind == 1:
        return data.replace(b"0.", rng.choice((b"NaN", b"-Infinity", b"1e999", b"9" * 5000)), 1)
    if kind == 2:
        return b"[" * 200_000
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def write_json(path: Path, value: Any, rng: random.Random) -> None:
    """`value`, damaged in what it says or in its bytes."""
    if rng.random() < 0.8:
        path.write_bytes(json.dumps(damaged(value, rng)).encode())
    else:
        path.write_bytes(torn(json.dumps(value).encode(), rng))


def write_record(store: Store, record: dict[str, Any], rng: random.Random) -> None:
    """A damaged record, under the name that its content gives where that is one."""
    changed = damaged(record, rng)
    try:
        path = store.path(changed)
        path.write_bytes(json.dumps(changed).encode())
    except (OSError, ValueError, KeyError):
        write_json(store.path(record), record, rng)


def write_arrays(store: Store, record: dict[str, Any], rng: random.Random) -> None:
    """Arrays that are damaged, of other shapes and kinds, or none at all."""
    arrays = make_arrays(seed=record["seed"])
    name = rng.choice(list(arrays))
    changes: tuple[Callable[[Any], Any], ...] = (
        lambda a: a[:-1],
        lambda a: a[None],
        lambda a: np.asarray(a).astype("U8"),
        lambda a: np.array([object()] * len(a), dtype=object),
        lambda a: np.full(len(a), 2**62),
        lambda a: np.full((len(a), 2), np.nan),
        lambda a: np.array("x" * 300),
    )
    changed = arrays | {name: rng.choice(changes)(arrays[name])}
    if rng.random() < 0.2:
        del changed[name]
    out = io.BytesIO()
    np.savez_compressed(out, **changed)
    path = store.sidecar(record, ".npz")
    path.write_bytes(out.getvalue() if rng.random() < 0.7 else torn(out.getvalue(), rng))


def write_other_kind(store: Store, record: dict[str, Any], rng: random.Random) -> None:
    """Something that is no regular file, or one without end, in place of a record or sidecar."""
    path = store.sidecar(record, rng.choice((".json", ".curves.json", ".npz")))
    path.unlink(missing_ok=True)
    kind = rng.randrange(5)
    if kind == 0:
        path.symlink_to(rng.choice(("/dev/zero", "/etc/passwd", ".", path.name)))
    elif kind == 1:
        os.mkfifo(path)
    elif kind == 2:
        path.mkdir()
    elif kind == 3:
        path.touch()
    else:
        with path.open("wb") as file:
            file.truncate(1 << 42)


def write_strange_name(store: Store, record: dict[str, Any], rng: random.Random) -> None:
    """A file whose name is no name of a record."""
    name = rng.choice(
        (b"\x1b]0;x\x07.json", b"\xff\xfe.json", b"a\nb.json", b"`<b>`.json", b"x" * 200 + b".json", b".json")
    )
    Path(os.fsdecode(os.fsencode(store.folder) + b"/" + name)).write_bytes(json.dumps(record).encode())


DAMAGE: tuple[tuple[int, Callable[[Store, dict[str, Any], random.Random], None]], ...] = (
    (10, write_record),
    (2, lambda store, record, rng: write_json(store.path(record), record, rng)),
    (3, lambda store, record, rng: write_json(store.sidecar(record, ".curves.json"), make_curves(), rng)),
    (3, write_arrays),
    (1, write_other_kind),
    (1, write_strange_name),
)


def records(folder: Path) -> list[dict[str, Any]]:
    """A record for each cell of `CHOICE`, some of them failures."""
    chosen = plan.cells(Selection(**CHOICE, profile="quick", allow_random_weights=True), folder)  # type: ignore[arg-type]
    return [
        make_record(
            **cell.key(),
            profile="quick",
            status="diverged" if number % 7 == 6 else "done",
            analysis=make_analysis() if number % 2 else {},
            score=0.2 + 0.01 * number,
        )
        for number, cell in enumerate(chosen)
    ]


def fill(store: Store, whole: list[dict[str, Any]], rng: random.Random) -> int:
    """A store with one damaged file for each record; returns how many those are."""
    weights, kinds = zip(*DAMAGE, strict=True)
    store.folder.mkdir()
    for record in whole:
        # Without fsync, unlike the store, which would take most of the time.
        store.path(record).write_text(json.dumps(record))
        store.sidecar(record, ".curves.json").write_text(json.dumps(make_curves()))
        rng.choices(kinds, weights)[0](store, record, rng)
    return len(whole)


@contextlib.contextmanager
def alarm() -> Iterator[None]:
    """TimeoutError after `SECONDS`."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def run_verb(verb: tuple[str, ...], folder: Path) -> str | None:
    """Run one command on the stores below `folder`; the traceback that it ended with, or None."""
    names = {"STORE": str(folder / "a"), "OTHER": str(folder / "b"), "OUT": str(folder / "out")}
    options = [_named(word, names) for word in verb]
    if verb[0] not in ("list", "merge") and "--compare" not in verb:
        options += ["--results-dir", names["STORE"]]
    if verb[0] in ("plan", "status", "doctor"):
        options += ["--data-dir", str(folder / "data")]
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out), alarm():
            cli.main(options)
    except BaseException:
        return f"bench {' '.join(options)}\n{traceback.format_exc()}"
    return None if "\x1b" not in out.getvalue() or verb[0] == "export" else f"{options}: an escape reached the terminal"


def _named(word: str, names: dict[str, str]) -> str:
    for name, path in names.items():
        word = word.replace(name, path)
    return word


def batch(seed: int, verbs: Sequence[tuple[str, ...]] = VERBS) -> tuple[int, list[str]]:
    """How many files were damaged in the batch of a seed, and what commands ended badly."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, outside_left_alone():
        folder = Path(name)
        whole = records(folder / "data")
        count = sum(fill(Store(folder / store), whole, rng) for store in ("a", "b"))
        return count, [text for verb in verbs if (text := run_verb(verb, folder)) is not None]


@contextlib.contextmanager
def outside_left_alone() -> Iterator[None]:
    """Without Slurm and without importing torch anew, which have nothing to do with the store."""
    torch = doctor.Finding("torch", "good", "not looked at")
    with (
        mock.patch.object(doctor, "_torch", return_value=torch),
        mock.patch("bench.launch.slurm.queue.squeue", return_value=None),
    ):
        yield


def main() -> int:
    """Run batches until so many files were damaged."""
    wanted, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    done, bad, begun = 0, 0, time.monotonic()
    while done < wanted:
        count, ended = batch(seed)
        for text in ended:
            print(f"batch {seed}: {text}", flush=True)
        done, bad, seed = done + count, bad + len(ended), seed + 1
    print(f"{done} damaged files, {bad} commands ended badly, {time.monotonic() - begun:.0f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
