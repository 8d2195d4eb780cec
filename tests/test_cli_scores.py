"""The table at the end of a run: the report's numbers, on a terminal and elsewhere, whichever side is longer."""

from __future__ import annotations

import io

from bench.cli import scores
from tests.record_factory import make_record


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def records(*methods, task="spherical", seeds=(0,)):
    """One record for each method and seed; better the later the method."""
    return [
        make_record(task=task, method=method, backbone="swin_micro", seed=seed, score=0.5 - 0.1 * i + 0.01 * seed,
                    score_best_val=0.5, score_last=0.5)
        for i, method in enumerate(methods)
        for seed in seeds
    ]  # fmt: skip


def test_the_best_is_marked_and_failures_stand_as_words(capsys):
    failed = make_record(task="spherical", method="mona", backbone="swin_micro", status="lost", score=None)
    scores.show(scores.of([*records("vanilla", "orca", seeds=(0, 1)), failed]))
    lines = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["orca"].endswith("0.405 ± 0.007 (2)*") and lines["vanilla"].endswith("0.505 ± 0.007 (2)")
    assert lines["mona"].endswith("  1 lost")


def test_many_variants_stand_below_each_other(capsys):
    found = scores.of(records("vanilla", "scratch", "orca", "mona"))
    scores.show(found)
    lines = capsys.readouterr().out.splitlines()[2:]
    assert lines[0].startswith("method") and [line.split()[0] for line in lines[2:6]] == [
        "scratch",
        "vanilla",
        "orca",
        "mona",
    ]
    assert max(map(len, lines)) <= 80


def test_a_terminal_gets_a_table_by_rich(monkeypatch):
    out = Terminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    scores.show(scores.of(records("vanilla", "orca")))
    assert "\x1b[1m0.400" in out.getvalue() and "bold: best of its task" in out.getvalue()


def test_scripts_get_a_row_for_each_place():
    (one,) = scores.of(records("vanilla", "orca", seeds=(0, 1)))
    rows = {row["method"]: row for row in scores.rows(one)}
    assert (
        rows["orca"]["n"] == 2 and rows["orca"]["mean"] == 0.405 and rows["vanilla"]["task"].startswith("spherical ↓")
    )
