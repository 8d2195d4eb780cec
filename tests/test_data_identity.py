"""Whether two cells read the same data, and whether official data are what was published."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace

import pytest

from bench import registry
from bench import standins as data
from bench.cell.data import load_data
from bench.cell.draft import Draft
from bench.cell.run import Run
from bench.official import unlike_published
from bench.plan import Cell, Places
from bench.records.store import Store
from tasks.contract import DataError, Request
from tasks.files.fingerprint import fingerprint
from tasks.files.locate import find
from tests.record_factory import record_for

MANY = ("cosmic", "fsd50k", "psicov")
"""Tasks whose `files` are lists of the files that hold the data."""


def tiny(name, folder, protocol="strict"):
    """The task's stand-in, read: (files, data)."""
    task = registry.tasks()[name]
    data.generate(task, folder, "tiny")
    root = data.standin_root(folder, "tiny")
    return [find(root, file) for file in task.files], task.read(Request(root, protocol))


@pytest.mark.parametrize("name", MANY)
def test_the_fingerprint_covers_every_file_of_a_task(name, shared_data, tmp_path):
    tiny(name, shared_data)
    shutil.copytree(shared_data / "generated" / "tiny", tmp_path / "generated" / "tiny")
    for protocol in ("strict", "paper"):
        files, loaded = tiny(name, tmp_path, protocol)
        folder = tmp_path / "generated" / "tiny" / files[0].relative_to(tmp_path / "generated" / "tiny").parts[0]
        written = {p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".generated.json")}
        assert written == {*files, *loaded.members.values()}


@pytest.mark.parametrize("name", MANY)
def test_content_counts_and_neither_time_nor_place_do(name, shared_data, tmp_path):
    files, loaded = tiny(name, shared_data)
    first = fingerprint(files, loaded.members)
    shutil.copytree(shared_data, tmp_path / "b", copy_function=shutil.copyfile)
    for path in (p for p in (tmp_path / "b").rglob("*") if p.is_file()):
        os.utime(path, (1, 1))
    files, loaded = tiny(name, tmp_path / "b")
    assert fingerprint(files, loaded.members) == first
    for path in list(loaded.members.values())[::7]:
        held = path.read_bytes()
        path.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
        assert fingerprint(files, loaded.members) != first, path
        path.write_bytes(held)
    next(iter(loaded.members.values())).unlink()
    with pytest.raises(DataError, match="No such file"):
        fingerprint(files, loaded.members)


@pytest.mark.parametrize("name", ["advection", "darcy_nb360", "deepsea", "ecg", "fsd50k", "spherical"])
def test_the_same_stand_in_made_at_another_time_has_the_same_fingerprint(name, tmp_path, monkeypatch):
    found = []
    for folder, year in (("a", 1999), ("b", 2033)):
        moment = time.struct_time((year, 1, 1, 1, 1, 1, 4, 1, 0))
        monkeypatch.setattr(time, "asctime", lambda *_, year=year: f"Fri Jan  1 01:01:01 {year}")
        monkeypatch.setattr(time, "localtime", lambda *_, moment=moment: moment)
        files, loaded = tiny(name, tmp_path / folder)
        found.append(fingerprint(files, loaded.members))
    assert found[0] == found[1]


def load(cell, places):
    run = Run.of(cell, places, {}, Draft(cell, places.results_dir / "work" / cell.id, {}), print)
    load_data(run)
    return run.draft.record


@pytest.mark.parametrize("name", MANY)
def test_a_file_overwritten_between_two_seeds_is_refused(name, tmp_path):
    places, store = Places(tmp_path / "data", tmp_path / "results"), Store(tmp_path / "results")
    first, second = (Cell(name, "vanilla", "swin_micro", seed, "tiny", origin="generated") for seed in (0, 1))
    store.write(record_for(first, data=load(first, places)["data"]))
    load(second, places)
    _, loaded = tiny(name, places.data_dir)
    path = [p for p in loaded.members.values() if p.name != "sky.npy"][-1]
    held = bytearray(path.read_bytes())
    held[len(held) // 4] ^= 1  # a pixel, a sound, a distance
    path.write_bytes(held)
    with pytest.raises(DataError, match=f"which {store.path(first.key()).name} was made on"):
        load(second, places)
    load(first, places)  # its own record is what a new run replaces: no reference
    store.write(record_for(first, code={"task": "edited since", "method": "x"}, data={"fingerprint": "f"}))
    load(second, places)  # stale records are no reference either


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("burgers", "frames: 6, published 201"),
        ("burgers", "points per axis: 64, published 1,024"),
        ("burgers", "train: 20 samples, published 8,100"),
        ("cosmic", "input of shape 1 x 32 x 32, published 1 x 128 x 128"),
        ("fsd50k", "train: 24 samples, published 36,796"),
        ("cifar100", "test: 20 samples, published 10,000"),
    ],
)
def test_a_file_of_another_size_is_told_from_the_published_one(name, said, shared_data):
    _, loaded = tiny(name, shared_data)
    assert said in unlike_published(registry.tasks()[name], loaded, "strict", None)


class Sized:
    """A split of which only the number of samples is known."""

    labels = None

    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n


@pytest.mark.parametrize("protocol", ["strict", "paper"])
@pytest.mark.parametrize("name", [*registry.suites()["quick"], "cfd_1d", "fsd50k", "cosmic"])
def test_what_was_published_is_like_published(name, protocol, shared_data):
    task = registry.tasks()[name]
    _, read = tiny(name, shared_data, protocol)
    sizes = dict(task.splits)
    if protocol == "paper" and name != "fsd50k":
        sizes["train"] += sizes.pop("val")
    elif protocol == "paper":
        sizes.pop("val")
    notes = dict(read.notes) | ({"stored": read.notes["published"]} if "published" in read.notes else {})
    notes |= {"clips": sizes} if name == "fsd50k" else {}
    parts = {part: Sized(n) for part, n in sizes.items()}
    shapes = {
        "input_shape": tuple(notes.get("published_input_shape", task.input_shape)),
        "output_shape": tuple(notes.get("published_output_shape", task.output_shape)),
    }
    full = replace(read, train=parts["train"], val=parts.get("val"), test=parts["test"], notes=notes, **shapes)
    assert unlike_published(task, full, protocol, None) == []
    less = sizes | {"test": sizes["test"] - 1}
    few = replace(full, test=Sized(less["test"]), notes=notes | ({"clips": less} if name == "fsd50k" else {}))
    assert "test" in " ".join(unlike_published(task, few, protocol, None))
