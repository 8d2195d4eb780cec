"""Bad files of the ten NAS-Bench-360 tasks: each ends in one DataError naming file, found, expected and cure."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat, wavfile

from tasks.contract import DataError, Request
from tests.nas_helpers import NAMES, stand_in, task

HTML = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head></html>"


def first_file(root: Path, name: str) -> Path:
    return root / task(name).files[0].path


# What is done to a file, in general.


def missing(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def page(path: Path) -> None:
    path.write_bytes(HTML)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])


def npy(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        np.save(path, change(np.load(path)))

    return spoil


def pickled(change: Callable[[dict], object], gz: bool = False) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        opener = gzip.open if gz else open
        with opener(path, "rb") as f:
            table = pickle.load(f)
        table = change(table)
        with opener(path, "wb") as f:
            pickle.dump(table, f)

    return spoil


def satellite(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        np.save(path, np.array(change(np.load(path, allow_pickle=True)[()]), object), allow_pickle=True)

    return spoil


def mat(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        savemat(path, change({k: v for k, v in loadmat(path).items() if not k.startswith("__")}))

    return spoil


def npz(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        with np.load(path) as arrays:
            table = change(dict(arrays))
        np.savez(path, **table)

    return spoil


def text(change: Callable[[str], str]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.write_text(change(path.read_text()))

    return spoil


def with_nan(values: np.ndarray) -> np.ndarray:
    values = np.array(values, np.float32)
    values.reshape(-1)[7] = np.nan
    return values


def sphere(**change):
    return pickled(lambda t: t | {"train": t["train"] | {k: f(t["train"]) for k, f in change.items()}}, gz=True)


def ecg_record(value):
    def change(table: dict) -> dict:
        table["data"][3] = value(table["data"][3])
        return table

    return pickled(change)


CIFAR, NINA, SAT = "cifar-100-python/train", "ninaPro/ninapro_train.npy", "satellite/satellite_train.npy"
NINA_LABEL, SPHERE, ECG = "ninaPro/label_val.npy", "spherical/s2_cifar100.gz", "ecg/challenge2017.pkl"
DARCY, SEA = "darcy/piececonst_r421_N1024_smooth1.mat", "deepsea/deepsea_filtered.npz"
FEATURES, DISTANCE = "protein/deepcov/features/d00003.pkl", "protein/deepcov/distance/d00003-cb.npy"
LIST, STACK = "protein/psicov.lst", "cosmic/npy_train/f435w/10760/2/00003_0.npy"
SKY, DIRS = "cosmic/npy_train/f435w/10760/2/sky.npy", "cosmic/test_dirs.npy"
CHUNKS = "audio/data/chunks/"
WAV = "audio/data/FSD50K.eval_audio_22050_chunks/eval00001_0000.wav"


NOISE = "audio/data/noise_22050/noise1.wav"


def triple(change):
    def spoil(path: Path) -> None:
        stored = np.load(path, allow_pickle=True)
        stored[2] = change(stored[2])
        np.save(path, stored, allow_pickle=True)

    return spoil


# (task, file, what, how): the special cases of each layout.
SPECIAL = [
    ("cifar100", CIFAR, "wrong shape", pickled(lambda t: t | {b"data": t[b"data"][:, :3000]})),
    ("cifar100", CIFAR, "wrong dtype", pickled(lambda t: t | {b"data": t[b"data"].astype(np.float32)})),
    ("cifar100", CIFAR, "wrong labels", pickled(lambda t: t | {b"fine_labels": [100, *t[b"fine_labels"][1:]]})),
    ("cifar100", CIFAR, "NaN", pickled(lambda t: t | {b"fine_labels": with_nan(np.array(t[b"fine_labels"]))})),
    ("cifar100", CIFAR, "too few labels", pickled(lambda t: t | {b"fine_labels": t[b"fine_labels"][:-1]})),
    ("cifar100", CIFAR, "no labels", pickled(lambda t: {b"data": t[b"data"]})),
    ("cifar100", CIFAR, "a list", pickled(lambda t: [1, 2])),
    ("cifar100", CIFAR, "no rows", pickled(lambda t: t | {b"data": t[b"data"][:0], b"fine_labels": []})),
    ("cifar100", CIFAR, "planted", lambda p: p.write_bytes(b"cos\nsystem\n(S'touch /tmp/never'\ntR.")),
    ("spherical", SPHERE, "wrong shape", sphere(images=lambda t: t["images"][:, :, :50])),
    ("spherical", SPHERE, "wrong dtype", sphere(images=lambda t: t["images"].astype(np.float64))),
    ("spherical", SPHERE, "negative label", sphere(labels=lambda t: t["labels"] - 1)),
    ("spherical", SPHERE, "wrong labels", sphere(labels=lambda t: t["labels"] + 95)),
    ("spherical", SPHERE, "NaN", sphere(labels=lambda t: with_nan(t["labels"]))),
    ("spherical", SPHERE, "no test part", pickled(lambda t: {"train": t["train"]}, gz=True)),
    ("spherical", SPHERE, "not gzipped", lambda p: p.write_bytes(gzip.decompress(p.read_bytes()))),
    ("darcy_nb360", DARCY, "no sol", mat(lambda t: {"coeff": t["coeff"]})),
    ("darcy_nb360", DARCY, "NaN", mat(lambda t: t | {"sol": t["sol"] * np.nan})),
    ("darcy_nb360", DARCY, "wrong labels", mat(lambda t: t | {"sol": t["sol"][:-1]})),
    ("darcy_nb360", DARCY, "wrong shape", mat(lambda t: t | {"coeff": t["coeff"][0]})),
    ("darcy_nb360", DARCY, "wrong dtype", mat(lambda t: t | {"coeff": "abc"})),
    ("psicov", LIST, "no names", text(lambda t: "\n\n")),
    ("psicov", LIST, "path as name", text(lambda t: "../../etc/passwd\n")),
    ("psicov", LIST, "unknown protein", text(lambda t: "zzz\n")),
    ("psicov", FEATURES, "missing protein", missing),
    ("psicov", FEATURES, "cut protein", cut),
    ("psicov", FEATURES, "no pssm", pickled(lambda t: {k: v for k, v in t.items() if k != "pssm"})),
    ("psicov", FEATURES, "wrong shape", pickled(lambda t: t | {"ccmpred": t["ccmpred"][:-1]})),
    ("psicov", FEATURES, "wrong dtype", pickled(lambda t: t | {"pssm": t["pssm"].astype("U4")})),
    ("psicov", FEATURES, "NaN", pickled(lambda t: t | {"sa": with_nan(t["sa"])})),
    ("psicov", DISTANCE, "no triple", lambda p: np.save(p, np.zeros((5, 5)))),
    ("psicov", DISTANCE, "all NaN", triple(lambda m: m * np.nan)),
    ("psicov", DISTANCE, "wrong labels", triple(lambda m: m[:, :-1])),
    ("psicov", DISTANCE, "too long", triple(lambda m: np.pad(m, 3))),
    ("psicov", DISTANCE, "missing map", missing),
    ("cosmic", STACK, "wrong shape", npy(lambda a: a[0])),
    ("cosmic", STACK, "other size", npy(lambda a: a[:, :-4, :-4])),
    ("cosmic", STACK, "NaN", npy(with_nan)),
    ("cosmic", STACK, "wrong labels", npy(lambda a: a * 2 + 2)),
    ("cosmic", STACK, "wrong dtype", npy(lambda a: a.astype(str))),
    ("cosmic", STACK, "missing image", missing),
    ("cosmic", STACK, "cut image", cut),
    ("cosmic", SKY, "no sky levels", missing),
    ("cosmic", SKY, "a folder for sky levels", directory),
    ("cosmic", STACK, "a folder for an image", directory),
    ("cosmic", SKY, "too few sky levels", npy(lambda a: a[:2])),
    ("cosmic", DIRS, "numbers", npy(lambda a: np.arange(4.0))),
    ("cosmic", DIRS, "no images", npy(lambda a: a[:0])),
    ("ninapro", NINA, "wrong shape", npy(lambda a: a[:, :51])),
    ("ninapro", NINA, "NaN", npy(with_nan)),
    ("ninapro", NINA, "wrong dtype", npy(lambda a: a.astype("U4"))),
    ("ninapro", NINA, "no rows", npy(lambda a: a[:0])),
    ("ninapro", NINA_LABEL, "wrong labels", npy(lambda a: a * 0 + 18)),
    ("ninapro", NINA_LABEL, "too many labels", npy(lambda a: np.append(a, 0))),
    ("ninapro", NINA_LABEL, "halves", npy(lambda a: a + 0.5)),
    ("fsd50k", CHUNKS + "tr.csv", "no column", text(lambda t: t.replace("labels", "names", 1))),
    ("fsd50k", CHUNKS + "tr.csv", "wrong labels", text(lambda t: t.replace("tone_200", "yodel"))),
    ("fsd50k", CHUNKS + "val.csv", "no rows", text(lambda t: "files,labels,ext\n")),
    ("fsd50k", CHUNKS + "val.csv", "row cut off", text(lambda t: t[:-12])),
    ("fsd50k", CHUNKS + "eval.csv", "chunks elsewhere", text(lambda t: t.replace("FSD50K", "FSD51K"))),
    ("fsd50k", CHUNKS + "lbl_map.json", "no JSON", page),
    ("fsd50k", CHUNKS + "lbl_map.json", "wrong numbers", lambda p: p.write_text(json.dumps({"a": 1, "b": 1}))),
    ("fsd50k", CHUNKS + "lbl_map.json", "a list", lambda p: p.write_text("[1, 2]")),
    ("fsd50k", WAV, "missing chunk", missing),
    ("fsd50k", CHUNKS + "lbl_map.json", "wrong dtype", text(lambda t: t.replace(": 3", ': "three"', 1))),
    ("fsd50k", CHUNKS + "eval.csv", "clip cut off", text(lambda t: t[:-2])),
    ("fsd50k", WAV, "cut chunk", cut),
    ("fsd50k", NOISE, "cut noise", cut),
    ("fsd50k", WAV, "no sound", page),
    ("fsd50k", WAV, "empty sound", empty),
    ("fsd50k", WAV, "other rate", lambda p: wavfile.write(p, 44100, np.zeros(44100, np.int16))),
    ("fsd50k", WAV, "wrong shape", lambda p: wavfile.write(p, 22050, np.zeros((22050, 2), np.int16))),
    ("fsd50k", WAV, "NaN", lambda p: wavfile.write(p, 22050, np.full(22050, np.nan, np.float32))),
    ("ecg", ECG, "wrong labels", pickled(lambda t: t | {"label": ["X", *t["label"][1:]]})),
    ("ecg", ECG, "too few labels", pickled(lambda t: t | {"label": t["label"][:-1]})),
    ("ecg", ECG, "no data", pickled(lambda t: {"label": t["label"]})),
    ("ecg", ECG, "no records", pickled(lambda t: {"data": [], "label": []})),
    ("ecg", ECG, "few records", pickled(lambda t: {k: v[:5] for k, v in t.items()})),
    ("ecg", ECG, "NaN", ecg_record(with_nan)),
    ("ecg", ECG, "wrong shape", ecg_record(lambda r: r.reshape(1, -1))),
    ("ecg", ECG, "wrong dtype", ecg_record(lambda r: "noise")),
    ("ecg", ECG, "all too short", pickled(lambda t: t | {"data": [r[:900] for r in t["data"]]})),
    ("satellite", SAT, "wrong shape", satellite(lambda t: t | {"data": t["data"][:, :45]})),
    ("satellite", SAT, "NaN", satellite(lambda t: t | {"data": with_nan(t["data"])})),
    ("satellite", SAT, "label 0", satellite(lambda t: t | {"label": t["label"] * 0})),
    ("satellite", SAT, "wrong labels", satellite(lambda t: t | {"label": t["label"] + 24})),
    ("satellite", SAT, "no label", satellite(lambda t: {"data": t["data"]})),
    ("satellite", SAT, "a plain array", lambda p: np.save(p, np.zeros((9, 46)))),
    ("satellite", SAT, "wrong dtype", satellite(lambda t: t | {"data": t["data"].astype("U4")})),
    ("deepsea", SEA, "no y_val", npz(lambda t: {k: v for k, v in t.items() if k != "y_val"})),
    ("deepsea", SEA, "wrong shape", npz(lambda t: t | {"x_test": t["x_test"].transpose(0, 2, 1)})),
    ("deepsea", SEA, "NaN", npz(lambda t: t | {"y_train": with_nan(t["y_train"])})),
    ("deepsea", SEA, "not one-hot", npz(lambda t: t | {"x_train": t["x_train"] * 3})),
    ("deepsea", SEA, "wrong labels", npz(lambda t: t | {"y_test": t["y_test"][:-1]})),
    ("deepsea", SEA, "wrong dtype", npz(lambda t: t | {"y_test": t["y_test"].astype(object)})),
    ("deepsea", SEA, "no rows", npz(lambda t: t | {"x_val": t["x_val"][:0], "y_val": t["y_val"][:0]})),
]  # fmt: skip
GENERAL = [(name, "", how.__name__, how) for name in NAMES for how in (missing, empty, directory, page, cut)]


def read_everything(name: str, root: Path, protocol: str = "strict") -> None:
    """What a run does: read, then walk every sample of every split."""
    data = task(name).read(Request(root, protocol))
    for split in filter(None, (data.train, data.val, data.test)):
        split.batch(np.arange(len(split)), np.random.default_rng(0))
        split.batch(np.arange(len(split)), None)


def check_message(error: DataError, folder: Path) -> None:
    """The message names a file below the data folder, and says what was found, expected, and what to do."""
    assert Path(error.file).is_relative_to(folder), error.file
    assert error.found and error.expected and len(error.cure) > 15
    assert str(error).startswith(error.file) and "\n" not in str(error)
    assert error.found not in error.expected


@pytest.mark.parametrize(
    "name, file, what, how", GENERAL + SPECIAL, ids=[f"{n}-{w.replace(' ', '_')}" for n, _, w, _ in GENERAL + SPECIAL]
)
def test_bad_files_end_in_one_clear_message(shared_data, tmp_path, name, file, what, how):
    root = tmp_path / "data"
    shutil.copytree(stand_in(shared_data, name), root)
    path = root / file if file else first_file(root, name)
    how(path)
    with pytest.raises(DataError) as caught:
        read_everything(name, root)
    check_message(caught.value, root)


@pytest.mark.parametrize("name", NAMES)
def test_files_without_permission(shared_data, monkeypatch, name):
    root = stand_in(shared_data, name)
    path = first_file(root, name)
    allowed = os.access  # asked for instead of taken away: root may read everything
    monkeypatch.setattr("tasks.files.locate.os.access", lambda p, mode: Path(p) != path and allowed(p, mode))
    with pytest.raises(DataError, match="permission") as caught:
        read_everything(name, root)
    check_message(caught.value, root)


@pytest.mark.parametrize("name", NAMES)
def test_an_unspoilt_copy_is_read(shared_data, name):
    for protocol in ("strict", "paper"):
        read_everything(name, stand_in(shared_data, name), protocol)


def test_there_are_enough_cases():
    assert len(GENERAL + SPECIAL) >= 100
    for name in NAMES:
        kinds = {what for task_name, _, what, _ in SPECIAL if task_name == name}
        assert {"wrong shape", "wrong dtype", "wrong labels", "NaN"} <= kinds, name


# (task, what may not be read): files of a folder, and folders.
LOCKED = (
    ("cosmic", STACK), ("cosmic", SKY), ("fsd50k", WAV), ("psicov", FEATURES),
    ("cosmic", "cosmic"), ("cosmic", "cosmic/npy_train"), ("psicov", "protein/deepcov"),
    ("fsd50k", "audio/data/FSD50K.eval_audio_22050_chunks"), ("ninapro", "ninaPro"),
)  # fmt: skip


@pytest.mark.parametrize("name, locked", LOCKED)
def test_files_and_folders_of_somebody_else(shared_data, name, locked):
    """As a user without rights, so that the system's own answer is what is met."""
    read_everything(name, stand_in(shared_data, name))  # what a reader imports on demand is imported as root
    root, outside = os.geteuid() == 0, Path(tempfile.mkdtemp())
    outside.chmod(0o755)
    shutil.copytree(stand_in(shared_data, name), outside / "data")
    (outside / "data" / locked).chmod(0)
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(DataError, match=r"permission.*chmod") as caught:
            read_everything(name, outside / "data")
    finally:
        if root:
            os.seteuid(0)
        (outside / "data" / locked).chmod(0o755)
        shutil.rmtree(outside)
    check_message(caught.value, outside / "data")
