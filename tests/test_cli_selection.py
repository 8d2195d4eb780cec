"""Options that choose cells: no option is silently ignored, lists and names in any form, a study from a user's file."""

from __future__ import annotations

import json

import pytest

from bench.cli import main
from tests.record_factory import make_record, make_store

STUDY = """
question = "Does a larger step help on ECG?"

[[arms]]
name = "small"
method = "mona"

[[arms]]
name = "large"
method = "mona"
set = { trainer.lr = 1e-3 }

[quick]
profile = "quick"
tasks = ["ecg"]
seeds = [0, 1]
"""


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Every command here runs in an empty folder, without data and records."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCH_DATA", raising=False)
    monkeypatch.delenv("BENCH_RESULTS", raising=False)
    return tmp_path


def planned(capsys, *options: str) -> list[dict]:
    """The cells of `bench plan` with these options."""
    assert main(["plan", *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["cells"]


REFUSED = {
    "run --size tiny": "say --study NAME too",
    "run --study mona-ablation --profile quick": "--profile: the study says that itself",
    "run --study mona-ablation --protocol paper --grid trainer.lr=1,2": "--protocol and --grid: the study says",
    "run --study mona-ablation --budget steps=3": "--budget: the study says",
    "run --study mona-ablation --set trainer.lr=1e-3": "only settings that change no result",
    "run --study mona-ablation --tasks ecg": "unknown task in study mona-ablation, size quick 'ecg': known: diffusion_reaction_2d",
    "run --study mona-ablation --seeds 77": "unknown seed in study mona-ablation",
    "run -j 2": "-j has no effect with --executor inline: it is for --executor local",
    "run --watchdog 5": "--watchdog has no effect with --executor inline",
    "run --gpus 0 --executor local": "--gpus has no effect with --executor local: it is for --executor slurm",
    "run --methods orca --set mona.lambda_=1": "method mona is not among those to run (orca)",
    "run --set trainer.lr=1 --set trainer.lr=2": "has the value 1 already",
    "run --no-probe --probe-epochs 2": "say one of them",
    "status --watch --json": "--json prints the state once",
    "status --size tiny": "say --study NAME too",
    "report --size tiny": "say --study NAME too",
    "report --study mona-ablation --suite quick": "--suite",
    "report --compare a b --study mona-ablation": "--study",
    "report --compare a b --results-dir c": "--results-dir",
    "data status --profile quick": "--profile",
    "data fetch --samples 3": "--samples",
    "data status --dry-run": "--dry-run",
    "list tasks --json --format markdown": "not allowed with",
    "logs abcd --tail -3": "not a whole number from 0",
}


@pytest.mark.parametrize("command", REFUSED)
def test_an_option_without_effect_is_refused(command, capsys, empty_folder):
    assert main(command.split()) == 2
    assert REFUSED[command] in capsys.readouterr().err
    assert list(empty_folder.iterdir()) == []


def test_a_study_is_filtered_by_what_is_named(capsys):
    every = planned(capsys, "--study", "mona-ablation")
    some = planned(capsys, "--study", "MoNA-Ablation", "--tasks", "diff*", "--seeds", "0-1", "--backbones", "auto")
    assert some == [c for c in every if c["task"] == "diffusion_reaction_2d" and c["seed"] < 2] and 0 < len(some) < len(
        every
    )
    mona = planned(capsys, "--study", "mona-ablation", "--methods", "MONA")
    assert mona == [c for c in every if c["method"] == "mona"]
    assert planned(capsys, "--study", "mona-ablation", "--set", "trainer.device=cpu") == every


@pytest.mark.parametrize(
    "forms",
    [
        ("--methods mona orca", "--methods mona,orca", "--methods mona --methods orca", "--methods MoNA, ORCA"),
        ("--seeds 0 1 2", "--seeds 0,1,2", "--seeds 0-2", "--seeds 0-1 2"),
        ("--grid trainer.lr=1e-5,1e-6", "--grid trainer.lr=1e-5 --grid trainer.lr=1e-6"),
        ("--set trainer.lr=1e-5 trainer.epochs=3", "--set trainer.lr=1e-5 --set trainer.epochs=3"),
    ],
)
def test_every_form_of_a_list_is_the_same_list(forms, capsys):
    first, *others = (planned(capsys, "--tasks", "ecg", *form.split()) for form in forms)
    assert all(other == first for other in others) and len(first) >= 1


def test_a_home_folder_is_expanded_behind_an_equals_sign(capsys, empty_folder, monkeypatch):
    monkeypatch.setenv("HOME", str(empty_folder / "home"))
    assert main(["data", "generate", "--tasks", "advection", "--profile", "tiny", "--data-dir=~/d"]) == 0
    make_store(empty_folder / "home" / "r", make_record())
    assert main(["export", "--results-dir=~/r", "--out=~/rows.json"]) == 0
    assert main(["merge", "~/r", "--out=~/merged"]) == 0
    assert (empty_folder / "home" / "d" / "generated").is_dir() and (empty_folder / "home" / "rows.json").exists()
    assert not list(empty_folder.glob("~*"))


def test_status_and_plan_and_run_mean_the_same_cells(capsys):
    for options in (["--methods", "mona", "orca"], ["--tasks", "ecg", "--seeds", "3"], ["--study", "mona-ablation"]):
        ids = {cell["id"] for cell in planned(capsys, *options)}
        main(["status", *options, "--json"])
        assert {row["id"] for row in json.loads(capsys.readouterr().out)} == ids
    assert main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_plan_says_which_data_it_takes(capsys):
    assert main(["plan", "--methods", "mona", "orca"]) == 0
    said = capsys.readouterr().out
    assert "nothing was named and no official data are in data: the embedded default, suite quick" in said
    assert main(["plan", "--tasks", "diffusion_*"]) == 0
    said = capsys.readouterr().out
    assert "with the quick recipe (--profile published" in said and "(generated, quick)" in said
    assert main(["plan", "--tasks", "ecg", "--profile", "tiny"]) == 0
    assert "quick recipe" not in capsys.readouterr().out


def test_a_study_comes_from_a_file_of_the_users_own(capsys, empty_folder):
    (empty_folder / "mine.toml").write_text(STUDY)
    cells = planned(capsys, "--study", "./mine.toml")
    assert len(cells) == 4 and {cell["overrides"].get("trainer.lr") for cell in cells} == {None, 1e-3}
    assert len(planned(capsys, "--study", "mine.toml", "--seeds", "1")) == 2
    assert main(["describe", "./mine.toml"]) == 0
    assert "python -m bench run --study mine.toml --size quick" in capsys.readouterr().out
    facts = {"task": "ecg", "method": "mona", "backbone": "minilm", "profile": "quick"}
    make_store(empty_folder / "results", *(make_record(seed=seed, **facts) for seed in (0, 1)))
    assert main(["report", "--study", "mine.toml", "--out", "page"]) == 0
    assert "Study mine, size quick" in (empty_folder / "page" / "README.md").read_text()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('method = "mona"', 'method = "monna"'), "study mine.toml: unknown method 'monna': did you mean mona"),
        (('tasks = ["ecg"]', 'tasks = ["egc"]'), "study mine.toml: unknown task 'egc': did you mean ecg"),
        (("seeds = [0, 1]", "seeds = [-1]"), "study mine.toml: seed -1: expected"),
        (("trainer.lr = 1e-3", "trainer.lrr = 1e-3"), "study mine.toml: unknown setting 'trainer.lrr': did you mean"),
        (("trainer.lr = 1e-3", 'trainer.lr = "fast"'), "study mine.toml: trainer.lr='fast': expected a finite number"),
        (('profile = "quick"', ""), "study mine.toml: [quick]: profile: missing"),
    ],
)
def test_what_does_not_fit_in_a_file_is_named_with_it(change, said, capsys, empty_folder):
    (empty_folder / "mine.toml").write_text(STUDY.replace(*change))
    assert main(["run", "--study", "mine.toml"]) == 2
    assert said in capsys.readouterr().err
    assert main(["run", "--study", "absent.toml"]) == 2
    assert "study absent.toml: No such file or directory" in capsys.readouterr().err
