"""A cell is run by one process at a time, whatever happens to clocks, processes and folders."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.launch import claim as claims
from bench.launch.claim import Claim, ClaimLost, Held, acquire, myself, newest, parse


def held_by(folder: Path, number: int = 1, **changes) -> Path:
    """A claim file as some process has left it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"claim.{number}"
    path.write_text(json.dumps(asdict(replace(myself(), nonce="x", **changes))))
    return path


ELSEWHERE = {"host": "elsewhere", "machine": "another boot"}


def test_free_held_released_free(tmp_path):
    first = acquire(tmp_path / "c")
    assert isinstance(first, Claim)
    with first:
        second = acquire(tmp_path / "c")
        assert isinstance(second, Held)
        assert second.owner and second.owner.pid == os.getpid()
        assert str(second).startswith(f"running on {first.owner.host} (pid {os.getpid()})")
    third = acquire(tmp_path / "c")
    assert isinstance(third, Claim)
    assert third.number == 2  # numbers are never used twice


def test_a_dead_process_of_this_machine_is_seen_at_once(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    held_by(tmp_path, pid=child.pid, started=claims._started(child.pid))
    assert isinstance(acquire(tmp_path), Held)
    child.send_signal(signal.SIGKILL)
    child.wait()
    begun = time.monotonic()
    assert isinstance(acquire(tmp_path), Claim)
    assert time.monotonic() - begun < 1


def test_a_later_process_with_the_same_pid_is_not_the_owner(tmp_path):
    held_by(tmp_path, started="1")  # this very pid, but of a process that began another time
    assert isinstance(acquire(tmp_path), Claim)


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, on_sleep=lambda now: None):
        self.now, self.on_sleep = 1000.0, on_sleep

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.on_sleep(self.now)


def test_a_silent_claim_of_another_machine_is_taken_over_after_the_stale_time(tmp_path):
    held_by(tmp_path, **ELSEWHERE)
    clock = Clock()
    taken = acquire(tmp_path, clock=clock, sleep=clock.sleep)
    assert isinstance(taken, Claim)
    assert claims.STALE_SECONDS <= clock.now - 1000 <= claims.STALE_SECONDS + 5
    assert not (tmp_path / "claim.1").exists()


def test_a_beating_claim_of_another_machine_is_left_alone(tmp_path):
    path = held_by(tmp_path, **ELSEWHERE)

    def beat(now: float) -> None:
        owner = parse(path.read_bytes())
        if now > 1008 and owner and owner.counter == 0:
            path.write_text(json.dumps(asdict(replace(owner, counter=1))))

    clock = Clock(beat)
    assert isinstance(acquire(tmp_path, clock=clock, sleep=clock.sleep), Held)
    assert clock.now < 1015  # known as soon as it beat, not after the stale time


@pytest.mark.parametrize("year", [1980, 2100])
def test_clocks_that_jump_change_nothing(tmp_path, year):
    """Neither the time written in a claim nor the file's time is compared with anything."""
    path = held_by(tmp_path, **ELSEWHERE, since=f"{year}-01-01T00:00:00+00:00")
    os.utime(path, (0, (year - 1970) * 365 * 86400.0))
    test_a_beating_claim_of_another_machine_is_left_alone(tmp_path)


def test_an_earlier_attempt_of_the_same_slurm_job_is_over(tmp_path):
    held_by(tmp_path, **ELSEWHERE, job="12_3")
    clock = Clock()
    assert isinstance(acquire(tmp_path, "12_3", clock=clock, sleep=clock.sleep), Claim)
    assert clock.now == 1000


def test_another_slurm_job_waits_for_the_heartbeat(tmp_path):
    held_by(tmp_path, **ELSEWHERE, job="12_3")
    clock = Clock()
    assert isinstance(acquire(tmp_path, "12_4", clock=clock, sleep=clock.sleep), Claim)
    assert clock.now > 1000 + claims.STALE_SECONDS - 1


def test_the_holder_beats_and_notices_that_it_was_overtaken(tmp_path):
    with acquire(tmp_path, beat_seconds=0.02) as mine:
        before = newest(tmp_path)[1]
        deadline = time.monotonic() + 5
        while newest(tmp_path)[1] == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert parse(newest(tmp_path)[1]).counter > 0
        mine.verify()
        held_by(tmp_path, 2, **ELSEWHERE)
        assert mine.lost.wait(5)
        with pytest.raises(ClaimLost):
            mine.verify()
    assert parse((tmp_path / "claim.2").read_bytes()).released is False  # leaving touched the other's claim nowhere


def test_a_claim_that_is_no_json_goes_stale_like_any_other(tmp_path):
    (tmp_path / "claim.1").write_text("{")
    clock = Clock()
    assert isinstance(acquire(tmp_path, clock=clock, sleep=clock.sleep), Claim)
    assert clock.now > 1000 + claims.STALE_SECONDS - 1


def test_the_folder_of_an_ended_cell_may_go_while_it_is_held(tmp_path):
    with acquire(tmp_path / "c", beat_seconds=0.02) as mine:
        shutil.rmtree(tmp_path / "c")
        assert mine.lost.wait(5)
    assert not (tmp_path / "c").exists()


def test_without_hard_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    with acquire(tmp_path):
        assert isinstance(acquire(tmp_path), Held)


def contend(folder: str, barrier, out, dead: bool) -> None:
    barrier.wait()
    got = acquire(Path(folder), stale_seconds=0.3)
    if isinstance(got, Claim):
        with got:
            out.put(os.getpid())
            time.sleep(0.6)


@pytest.mark.slow
@pytest.mark.parametrize("stale", [False, True], ids=["free", "stale"])
def test_of_many_contenders_exactly_one_wins(tmp_path, stale):
    context = multiprocessing.get_context("fork")
    for round_ in range(3):
        folder = tmp_path / str(round_)
        if stale:
            held_by(folder, **ELSEWHERE)
        barrier, out = context.Barrier(8), context.Queue()
        group = [context.Process(target=contend, args=(str(folder), barrier, out, stale)) for _ in range(8)]
        for process in group:
            process.start()
        for process in group:
            process.join(20)
        assert out.get(timeout=5)
        assert out.empty()
