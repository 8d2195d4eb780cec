"""`report --against`: ranks and verdicts over runs that are pairs; what cannot be compared is named and in no average."""

import json
from pathlib import Path

import pytest

import bench
from bench import cli
from bench.errors import Exit
from bench.records import packs
from tests.record_factory import make_record, make_store
from tests.report_helpers import noise

TASKS = ("advection", "burgers", "darcy_pdebench")


def records(method, score, seeds=range(3), tasks=TASKS, **more):
    return [
        make_record(method=method, task=task, seed=seed, score=score + noise(method, task, seed), **more)
        for task in tasks
        for seed in seeds
    ]


@pytest.fixture
def reference(tmp_path) -> Path:
    store = make_store(tmp_path / "there", *records("vanilla", 0.3), *records("orca", 0.2), *records("mona", 0.1))
    packs.write(store, tmp_path / "there.tar.gz")
    return tmp_path / "there.tar.gz"


def said(tmp_path, reference, capsys, *mine) -> list[str]:
    """The lines at the top of the report of a store with the records `mine`."""
    make_store(tmp_path / "mine", *mine)
    folders = ["--results-dir", str(tmp_path / "mine"), "--out", str(tmp_path / "page")]
    assert cli.main(["report", *folders, "--against", str(reference), "--json"]) == Exit.OK
    return json.loads(capsys.readouterr().out)["against"]


def test_a_method_is_ranked_with_a_verdict_on_every_pair(tmp_path, reference, capsys):
    (line,) = said(tmp_path, reference, capsys, *records("mine", 0.2))
    assert "`mine` ranks 2 of 4" in line or "`mine` ranks 3 of 4" in line
    assert "over 3 tasks and 3 seeds" in line and "strict protocol, generated data" in line
    assert "better than `vanilla` on 3 of 3 tasks (+" in line and "worse than `mona` on 3 of 3 tasks (-" in line
    page = (tmp_path / "page" / "README.md").read_text()
    assert page.index("Where your methods land") < page.index("At a glance") and "version 0.1.0, 27 records" in page


def test_scores_where_more_is_better_are_turned(tmp_path, capsys):
    accuracy = {"metric": "macro_f1", "unit": "%", "higher_is_better": True}
    there = make_store(tmp_path / "there", *records("vanilla", 60, **accuracy))
    (line,) = said(tmp_path, there.folder, capsys, *records("mine", 80, **accuracy))
    assert "`mine` ranks 1 of 2" in line and "better than `vanilla` on 3 of 3 tasks" in line


def test_runs_are_paired_by_seed_and_what_has_no_pair_is_named(tmp_path, reference, capsys):
    """Seeds 2 and 3 of mine: only 2 is of the reference, and three pairs decide nothing."""
    spoilt = [r | {"score": 9.0} for r in records("mine", 0.05, [3])]
    line, aside = said(tmp_path, reference, capsys, *records("mine", 0.05, [2]), *spoilt)
    assert "ranks 1 of 4** by average rank (1.00 over 3 tasks and 1 seed)" in line
    assert "undecided against `mona` (better on 3 of 3 tasks" in line and "3 units, the rule asks for 6" in line
    assert "3 runs: the reference has no run with the same task, backbone and seed" in aside


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"protocol": "paper"}, "the reference has no such cells"),
        ({"origin": "official"}, "the reference has no such cells"),
        ({"backbone": "roberta_base"}, "the reference has no such cells"),
        ({"data": make_record()["data"] | {"fingerprint": "f" * 64}}, "data "),
        ({"code": make_record()["code"] | {"task": "f" * 64}}, "code of the task "),
    ],
)
def test_what_is_not_comparable_is_named_and_never_averaged(tmp_path, reference, capsys, change, reason):
    line, aside = said(tmp_path, reference, capsys, *records("mine", 0.01, **change))
    assert line == "No method here can be ranked among those of the reference."
    assert "Not compared: `mine` on advection" in aside and reason in aside


def test_only_the_comparable_part_counts(tmp_path, reference, capsys):
    other = records("mine", 9.0, tasks=TASKS[:1], data=make_record()["data"] | {"fingerprint": "f" * 64})
    line, aside = said(tmp_path, reference, capsys, *other, *records("mine", 0.05, tasks=TASKS[1:]))
    assert "`mine` ranks 1 of 4" in line and "over 2 tasks and 3 seeds" in line
    assert "`mine` on advection, 3 runs: advection: data" in aside


def test_cells_of_the_reference_are_no_method_of_the_user(tmp_path, reference, capsys):
    line, known = said(tmp_path, reference, capsys, *records("mona", 0.1))
    assert line.startswith("No method here") and known.startswith("9 records of cells that the reference has")


def test_the_same_cell_by_other_code_is_one(tmp_path, reference, capsys):
    (line,) = said(
        tmp_path, reference, capsys, *records("mona", 0.05, code=make_record()["code"] | {"method": "e" * 64})
    )
    assert "`mona[code=eeeeeeee]` ranks 1 of 4" in line


def test_a_failed_cell_ranks_behind_all_and_is_said(tmp_path, reference, capsys):
    failed = [make_record(method="mine", task=TASKS[0], seed=seed, score=None, status="diverged") for seed in range(3)]
    (line,) = said(tmp_path, reference, capsys, *failed, *records("mine", 0.05, tasks=TASKS[1:]))
    assert (
        "ranks 2 of 4** by average rank (2.00" in line
        and "better than `mona` on 2 of 2 tasks" in line
        and "3 cells of it failed" in line
    )


def test_the_reference_that_comes_along_and_python(tmp_path):
    with packs.opened(packs.REFERENCE) as found:
        quick, _ = found.store.scan()
    mine = [r | {"method": "mine", "id": f"{n:016x}"} for n, r in enumerate(quick) if r["method"] == "orca"]
    make_store(tmp_path / "mine", *mine)
    bench.write_report(tmp_path / "page", results_dir=tmp_path / "mine", against="reference", html=False)
    page = (tmp_path / "page" / "README.md").read_text()
    assert (
        "of 6** (tied) by average rank" in page and "undecided against `orca` (better on 0 of 4 tasks, +0.0 %" in page
    )


def test_what_is_no_reference_is_a_usage_error(tmp_path, capsys):
    make_store(tmp_path / "mine", make_record())
    for more, message in ((["--against", "refrence"], "no folder and no file"),
                          (["--against", "reference", "--study", "mona-ablation"], "--against")):  # fmt: skip
        assert cli.main(["report", "--results-dir", str(tmp_path / "mine"), *more]) == Exit.USAGE
        assert message in capsys.readouterr().err
