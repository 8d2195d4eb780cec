"""A pipe, an endless device or a huge file where a verb looks for a small one: no verb waits for it or reads it all."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import plan, registry, standins
from bench.cli import main
from bench.errors import UsageError
from bench.launch.claim import acquire
from bench.launch.slurm import profile
from bench.plan import Selection
from tasks.files.regular import read_file
from tests.fuzz_files import in_a_child
from tests.fuzz_records import outside_left_alone

CHOICE = ("--tasks", "spherical", "--methods", "vanilla", "--seeds", "0", "--profile", "tiny")
VERBS = (("status",), ("plan", *CHOICE), ("doctor",), ("list", "tasks"))
MANIFEST = "20260101T000000-0123abcd.json"


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 42)


KINDS = (pipe, endless, huge)


def run_verbs(folder: Path, verbs: tuple[tuple[str, ...], ...]) -> int:
    """The highest exit code of the verbs; nothing of what they say is shown."""
    places = ["--results-dir", str(folder / "results"), "--data-dir", str(folder / "data")]
    with outside_left_alone(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return max(int(main([*verb, *(places if verb[0] != "list" else places[2:])])) for verb in verbs)


@pytest.mark.parametrize(
    "place",
    [
        "results/work/{id}/claim.1",
        "results/work/{id}/progress.json",
        "results/work/{id}/cell.json",
        f"results/work/manifests/{MANIFEST}",
        "data/own/mine/task.json",
        "data/.verified.json",
        "data/generated/tiny/.generated/spherical.json",
        "data/generated/tiny/spherical/s2_cifar100.gz.generated.json",
        "data/spherical/s2_cifar100.gz.generated.json",
    ],
)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_lies_beside_a_store_or_data(tmp_path: Path, monkeypatch, place: str, kind: Callable[[Path], None]):
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    (cell,) = plan.cells(Selection(("spherical",), methods=("vanilla",), seeds=(0,), profile="tiny"), tmp_path / "data")
    work = tmp_path / "results/work" / cell.id
    work.mkdir(parents=True)
    (work / "cell.json").write_text(json.dumps({"cell": cell.to_dict()}))
    path = tmp_path / place.format(id=cell.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    if path.name.endswith(".gz.generated.json"):
        path.with_name("s2_cifar100.gz").write_bytes(b"x")
    kind(path)
    assert in_a_child(lambda: run_verbs(tmp_path, VERBS)) in (0, 1)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_an_option_names(tmp_path: Path, kind: Callable[[Path], None]):
    path = tmp_path / "mine.toml"
    kind(path)

    def slurm_profile() -> int:
        with pytest.raises(UsageError, match=r"no regular file|bytes, expected at most"):
            profile.read(str(path))
        return 0

    assert in_a_child(lambda: run_verbs(tmp_path, (("run", "--study", str(path)),))) == 2
    assert in_a_child(slurm_profile) == 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_claim_that_is_no_file_is_taken_over_as_a_silent_one(tmp_path: Path, kind: Callable[[Path], None]):
    kind(tmp_path / "claim.1")
    assert in_a_child(lambda: acquire(tmp_path, "", stale_seconds=0).number) == 2


def test_a_stand_in_whose_mark_cannot_be_read_is_made_again(tmp_path: Path):
    task = registry.tasks()["advection"]
    standins.generate(task, tmp_path, "tiny")
    mark = next((tmp_path / "generated/tiny/.generated").iterdir())
    mark.unlink()
    os.mkfifo(mark)
    assert standins.generate(task, tmp_path, "tiny")
    assert json.loads(read_file(mark, 1 << 20))["task"] == task.name
