"""Search, then repeat: the same trials for every arm, chosen on validation, repeated with fresh seeds, from records alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

import bench
from bench import cli
from bench.errors import UsageError
from bench.plan import Cell, Places
from bench.records.store import Store
from bench.report.asked import read
from bench.report.document.markdown import markdown
from bench.report.frame import Catalogue, flat, panels, to_frame
from bench.report.pages.build import build
from bench.search.space import Range, is_trial, parse
from bench.search.trials import rungs
from bench.selection import Wanted, passes, todo
from tests.cell_helpers import FORK, one, run_cells
from tests.fake_runner import loss_at
from tests.record_factory import make_record

LR = ("trainer.lr", "loguniform(1e-5,1e-1)")
ASKED = ["--tasks", "ecg", "--profile", "tiny", "--search", "trainer.lr=loguniform(1e-5,1e-1)"]


def run(folder: Path, *more: str) -> int:
    return cli.main(["run", *ASKED, "--results-dir", str(folder), "--data-dir", str(folder / "data"), *more])


def records_of(folder: Path) -> tuple[list[dict], list[dict]]:
    """The trials and the repeats of a store."""
    records, problems = Store(folder).scan()
    assert not problems
    return [r for r in records if is_trial(r)], [r for r in records if not is_trial(r)]


def rates(records: list[dict]) -> list[float]:
    return sorted({r["settings"]["trainer.lr"] for r in records})


@pytest.mark.parametrize("executor", ["inline", "local"])
def test_each_arm_has_its_trials_and_the_best_on_validation_is_repeated(tmp_path, fake_cells, capsys, executor):
    options = [
        "--methods",
        "vanilla",
        "mona",
        "--trials",
        "4",
        "--then-seeds",
        "3",
        "--seeds",
        "7",
        "--json",
        "--executor",
    ]
    assert run(tmp_path, *options, executor) == 0
    trials, repeats = records_of(tmp_path)
    for method in ("vanilla", "mona"):
        tried, again = ([r for r in part if r["method"] == method] for part in (trials, repeats))
        assert len(rates(tried)) == 4 and {r["seed"] for r in tried} == {7}
        best = min(tried, key=lambda r: r["val_score"])
        assert rates(again) == rates([best]) and {r["seed"] for r in again} == {8, 9, 10}
        assert best["val_score"] == loss_at(rates([best])[0])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(said["ran"]) == 2 * (4 + 3) and said["unfinished"] == []
    assert {row["n"] for row in said["scores"]} <= {3, 0}, "no trial is averaged"
    before = {r["id"]: r["end"] for r in (*trials, *repeats)}
    assert run(tmp_path, *options, executor) == 0
    assert before == {r["id"]: r["end"] for part in records_of(tmp_path) for r in part}


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_what_is_drawn_is_what_optuna_draws(tmp_path, fake_cells, sampler):
    """Optuna alone, on the function that the cells compute."""
    optuna = pytest.importorskip("optuna")
    assert run(tmp_path, "--trials", "10", "--then-seeds", "0", "--sampler", sampler) == 0
    seed = int(Cell("ecg", "vanilla", "minilm", profile="tiny", origin="generated").id[:8], 16)
    kinds = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
    own = {"tpe": {"n_startup_trials": 4}}.get(sampler, {})
    study = optuna.create_study(sampler=kinds[sampler](seed=seed, **own))
    while len(study.trials) < 10:
        asked = [study.ask() for _ in range(min(4, 10 - len(study.trials)))]
        drawn = [trial.suggest_float("trainer.lr", 1e-5, 1e-1, log=True) for trial in asked]
        for trial, lr in zip(asked, drawn, strict=True):
            study.tell(trial, loss_at(float(f"{lr:.4g}")))
    assert rates(records_of(tmp_path)[0]) == sorted(float(f"{t.params['trainer.lr']:.4g}") for t in study.trials)


def test_halving_lets_the_best_third_of_each_rung_go_on(tmp_path, fake_cells):
    options = ["--sampler", "halving", "--trials", "9", "--then-seeds", "1", "--set", "trainer.epochs=9"]
    assert run(tmp_path, *options) == 0
    trials, repeats = records_of(tmp_path)
    by_epochs = {e: [r for r in trials if r["settings"]["trainer.epochs"] == e] for e in (1, 3, 9)}
    assert [len(of_rung) for of_rung in by_epochs.values()] == [9, 3, 1]
    assert rates(by_epochs[3]) == sorted(sorted(rates(by_epochs[1]), key=loss_at)[:3])
    assert rates(by_epochs[9]) == rates(repeats) == sorted(rates(by_epochs[1]), key=loss_at)[:1]
    assert {r["settings"]["trainer.epochs"] for r in repeats} == {9}
    assert rungs(100) == [12, 34, 100] and rungs(2) == [1, 2]


def test_a_trial_that_fails_is_the_worst_and_ends_nothing(tmp_path, fake_cells, monkeypatch):
    best = []

    def diverge(cell, work, options, progress):
        lr = dict(cell.overrides)["trainer.lr"]
        if is_trial(cell) and (not best or lr in best):
            best.append(lr)
            raise ValueError("diverged")
        return 0.5

    monkeypatch.setattr("tests.fake_runner._steps", diverge)
    assert run(tmp_path, "--trials", "3", "--then-seeds", "1") == 0
    trials, repeats = records_of(tmp_path)
    assert sorted(r["status"] for r in trials) == ["done", "done", "failed"]
    assert len(repeats) == 1 and rates(repeats)[0] not in best


def test_a_search_without_any_score_repeats_nothing_and_says_so(tmp_path, fake_cells, monkeypatch, capsys):
    def fail(*_):
        raise ValueError("no")

    monkeypatch.setattr("tests.fake_runner._steps", fail)
    assert run(tmp_path, "--trials", "2") == 1
    assert "no trial has a validation score" in capsys.readouterr().out
    assert [len(part) for part in records_of(tmp_path)] == [2, 0]


def test_a_retried_trial_comes_before_the_choice(tmp_path, fake_cells, monkeypatch):
    wanted, places = Wanted(tasks=["ecg"], profile="tiny", search=[LR], trials=3), Places(tmp_path / "d", tmp_path)
    failing = next(passes(wanted, places)).cells[1]
    with monkeypatch.context() as broken:
        broken.setattr("tests.fake_runner._steps", lambda cell, *_: 1 / 0 if cell == failing else 0.5)
        broken.setattr("tests.fake_runner.ValueError", ZeroDivisionError, raising=False)
        assert run(tmp_path, "--trials", "3", "--then-seeds", "2") == 0
    assert todo(wanted, places, ["failed"]).cells == [failing]
    assert run(tmp_path, "--trials", "3", "--then-seeds", "2", "--retry", "failed") == 0
    assert {r["status"] for part in records_of(tmp_path) for r in part} == {"done"}


def test_python_searches_too(tmp_path, fake_cells):
    found = bench.run(
        tasks="ecg", profile="tiny", search=dict([LR]), trials=3, then_seeds=2,
        results_dir=tmp_path, data_dir=tmp_path / "data", progress=False,
    )  # fmt: skip
    assert list(found["search_part"]) == ["trial"] * 3 + ["repeat"] * 2 and set(found["status"]) == {"done"}
    assert set(bench.leaderboard(tmp_path)["n"]) == {2, 0}, "the repeats, and what learns nothing"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1e-4,1e-2", "expected uniform(LOW,HIGH), loguniform"),
        ("loguniform(0,1)", "finite numbers above 0, the smaller one first"),
        ("uniform(2,1)", "the smaller one first"),
        ("uniform(1)", "expected two numbers"),
        ("int(1.5,3)", "expected two whole numbers"),
        ("choice(a)", "two or more values"),
        ("logunifrom(1,2)", "did you mean loguniform"),
    ],
)
def test_a_range_that_means_nothing_is_refused(text, said):
    with pytest.raises(UsageError) as error:
        parse("trainer.lr", text)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seeds": [0, 1]}, "a search has one"),
        ({"protocol": "paper"}, "use --protocol strict"),
        ({"methods": ["mona", "vanilla"], "search": [("mona.lambda_", "uniform(0,1)")]}, "would have no search"),
        ({"search": [("trainer.lr", "uniform(-1,1)")]}, "expected a value in [0, inf)"),
        ({"search": [("trainer.batch_size", "uniform(1,8)")]}, "expected a whole number; search it in int(1,8)"),
        ({"search": [LR, LR]}, "one range for each setting"),
        ({"set": [("trainer.lr", 0.1)]}, "say one of them"),
        ({"trials": 0}, "--trials 0"),
        ({"sampler": "grid"}, "unknown sampler 'grid'"),
        ({"sampler": "halving", "budget": ("steps", 9)}, "a budget of steps or seconds changes"),
        ({"sampler": "halving", "search": [("trainer.epochs", "int(1,9)")]}, "sets trainer.epochs itself"),
        ({"search": [], "trials": 3}, "say what is to be searched too"),
        ({"study": "mona-ablation", "tasks": None, "profile": None}, "--search: the study says that itself"),
    ],
)
def test_a_search_that_means_nothing_is_refused_before_anything_runs(tmp_path, options, said):
    wanted = Wanted(**{"tasks": ["ecg"], "profile": "tiny", "search": [LR], **options})
    with pytest.raises(UsageError) as error:
        todo(wanted, Places(tmp_path, tmp_path / "r"))
    assert said in str(error.value)


def test_the_edges_of_a_range():
    lr = Range("loguniform", (1e-4, 1e-2))
    assert [lr.at_edge(v) for v in (1e-4, 1.2e-4, 1e-3, 9e-3)] == [True, True, False, True]
    assert [Range("choice", ("8", "16", "32")).at_edge(v) for v in (8, 16, 32)] == [True, False, True]
    assert not Range("choice", ("adam", "sgd")).at_edge("adam")
    assert str(parse("trainer.lr", str(lr))) == str(lr) == "loguniform(0.0001,0.01)"
    assert lr.rounded(0.00123456) == 0.001235 and lr.rounded(0.0099999) == 0.01


def test_a_cell_of_a_search_is_plain_data_and_another_than_one_without(tmp_path):
    (cell, *_) = todo(Wanted(tasks=["ecg"], search=[LR]), Places(tmp_path, tmp_path / "r")).cells
    assert Cell.from_dict(json.loads(json.dumps(cell.to_dict()))) == cell
    assert Cell.from_dict({k: v for k, v in cell.to_dict().items() if k != "search"}).id != cell.id


def test_the_report_says_what_was_searched_and_what_lies_at_an_edge(tmp_path, fake_cells):
    methods = ["--methods", "vanilla", "mona", "--trials", "3", "--then-seeds", "2"]
    assert run(tmp_path, *methods) == 0
    page = build(read(tmp_path))
    (found,) = [table for table in page.tables() if table.name.startswith("search_random_0")]
    trials, repeats = records_of(tmp_path)
    for row, method in (("ecg: mona", "mona"), ("ecg: vanilla", "vanilla")):
        best = min((r for r in trials if r["method"] == method), key=lambda r: r["val_score"])
        assert found.entry(row, "best on validation").text == f"trainer.lr={flat(best['settings']['trainer.lr'])}"
        assert found.entry(row, "validation score").value == best["val_score"]
        assert found.entry(row, "searched").text == "trainer.lr in loguniform(1e-05,0.1)"
        counts = [found.entry(row, column).text for column in ("trials", "failed", "repeats")]
        assert counts == ["3", "0", "2"] and found.entry(row, "price").value == 150.0
    assert not found.attention
    others = [table for table in page.tables() if table is not found]
    shown = {i for table in others for _, entries in table.rows for entry in entries for i in entry.records}
    assert shown == {r["id"] for r in repeats}, "no trial is in another table"
    assert "2 arms had settings searched" in markdown(page)
    narrow = ["--tasks", "ecg", "--profile", "tiny", "--search", "trainer.lr=loguniform(3e-3,1e-1)", "--trials", "9"]
    assert cli.main(["run", *narrow, "--results-dir", str(tmp_path), "--seeds", "50"]) == 0
    text = markdown(build(read(tmp_path)))
    assert "⊣ at an edge of the range" in text and "1 choice at an edge of what was searched" in text


def test_choices_of_one_search_on_several_tasks_are_one_row(tmp_path):
    mark = {"space": {"trainer.lr": "loguniform(1e-05,0.1)"}, "sampler": "random", "seed": 0, "trials": 12}
    repeats = [
        make_record(task=task, seed=seed, overrides={"trainer.lr": lr}, settings={"trainer.lr": lr}, search=mark)
        for task, lr in (("advection", 1e-3), ("burgers", 1e-2))
        for seed in (1, 2)
    ]
    (panel,) = panels(to_frame([*repeats, make_record(task="advection")]), Catalogue())
    assert panel.rows == ("vanilla", "vanilla[search=12 random,trainer.lr=loguniform(1e-05,0.1)]")
    other = {**repeats[0], "seed": 3, "overrides": {"trainer.lr": 0.05}, "settings": {"trainer.lr": 0.05}}
    (panel,) = panels(to_frame([*repeats, other]), Catalogue())
    assert len(panel.rows) == 3, "another choice of the same search is not averaged with this one"


@pytest.mark.slow
def test_a_rung_is_exactly_the_beginning_of_the_whole_training(tmp_path):
    """What halving rests on: fewer epochs change neither the batches nor the learning rate of those there are."""
    changed = {"task": "advection", "trainer.warmup_epochs": 1.0, "trainer.decay_epochs": 3.0}
    cells = [one(tmp_path / "data", **changed, **{"trainer.epochs": epochs}) for epochs in (1, 2)]
    assert run_cells(tmp_path, *cells).failed == []
    store = Store(tmp_path / "results")
    short, long = (store.curves(store.get(cell.key()))["stage2"] for cell in cells)
    told = ("epoch", "steps", "lr", "loss", "val")
    assert [[row[name] for name in told] for row in short] == [[row[name] for name in told] for row in long[:1]]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "tpe", "halving"])
def test_a_search_killed_at_ten_moments_chooses_the_same(tmp_path, fake_cells, sampler):
    """kill -9 each time another record is there, between them and within the next cell: nothing of it shows in the end."""
    asked = ["--trials", "8", "--then-seeds", "3", "--sampler", sampler, "--set", "trainer.epochs=9"]
    assert run(tmp_path / "alone", *asked) == 0
    killed = 0
    for ended in range(1, 11):
        child = FORK.Process(target=run, args=(tmp_path / "killed", *asked))
        child.start()
        while child.is_alive() and len(list(Store(tmp_path / "killed").files())) < ended:
            time.sleep(0.001)
        killed += child.is_alive()
        child.kill()
        child.join()
    assert killed >= 8, "the last moments may be those of its end"
    assert run(tmp_path / "killed", *asked) == 0
    alone, again = (
        {(r["id"], r["score"]) for part in records_of(tmp_path / name) for r in part} for name in ("alone", "killed")
    )
    assert alone == again and len(records_of(tmp_path / "alone")[1]) == 3
