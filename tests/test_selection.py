"""What is wanted becomes cells and settings without a command line: `bench.selection` as Python calls it."""

from __future__ import annotations

import pytest

from bench.errors import SetupError, UsageError
from bench.plan import Places
from bench.records.store import Store
from bench.selection import Wanted, cells_of, chosen, refuse_without_room, runtime_of, todo
from tests.record_factory import make_record

STUDY = "mona-ablation"


def test_names_and_settings_become_cells(tmp_path):
    wanted = Wanted(
        methods=["MoNA", "orca"], tasks=["ecg"], seeds=[0, 1], set=[("trainer.epochs", 3)], budget=("steps", 7)
    )
    cells = cells_of(wanted, tmp_path)
    assert [(c.task, c.method, c.seed) for c in cells] == [("ecg", m, s) for m in ("mona", "orca") for s in (0, 1)]
    assert dict(cells[0].overrides) == {"trainer.epochs": 3, "trainer.budget_steps": 7}


def test_values_of_a_grid_are_joined_and_each_makes_a_cell(tmp_path):
    wanted = Wanted(tasks=["ecg"], grid=[("trainer.lr", [1e-5, 1e-6]), ("trainer.lr", [1e-6, 1e-7])])
    assert sorted(dict(c.overrides)["trainer.lr"] for c in cells_of(wanted, tmp_path)) == [1e-7, 1e-6, 1e-5]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(size="tiny"), "--size: sizes are those of a study"),
        (Wanted(study=STUDY, profile="quick", grid=[("trainer.lr", [1])]), "--profile and --grid: the study says"),
        (Wanted(study=STUDY, set=[("trainer.lr", 1)]), "--set trainer.lr: with --study only settings"),
        (Wanted(study=STUDY, seeds=[77]), "unknown seed in study mona-ablation"),
        (Wanted(budget=("hours", 3)), "expected steps=N or seconds=S"),
        (Wanted(budget=("steps", 3), set=[("trainer.budget_steps", 4)]), "has the value 4 already"),
    ],
)
def test_what_has_no_effect_is_refused(wanted, said, tmp_path):
    with pytest.raises(UsageError) as error:
        cells_of(wanted, tmp_path)
    assert said in str(error.value)


def test_cells_of_a_study_are_chosen_by_names(tmp_path):
    every = cells_of(Wanted(study=STUDY), tmp_path)
    some = cells_of(Wanted(study=STUDY, methods=["mona"], seeds=[0]), tmp_path)
    assert some == [c for c in every if c.method == "mona" and c.seed == 0] and 0 < len(some) < len(every)
    assert runtime_of(Wanted(study=STUDY, tsne=True))["analysis.tsne"] is True


def test_analyses_are_settings_that_change_no_cell():
    assert runtime_of(Wanted()) == {}
    assert runtime_of(Wanted(probe=False)) == {"analysis.probe": False}
    assert runtime_of(Wanted(probe_epochs=[0, 3])) == {"analysis.probe": True, "analysis.probe_epochs": (0, 3)}
    assert runtime_of(Wanted(set=[("trainer.device", "cpu")])) == {"trainer.device": "cpu"}


def test_who_names_nothing_means_no_cell_in_particular(tmp_path):
    assert chosen(Wanted(probe=True), tmp_path) is None
    assert chosen(Wanted(seeds=[3]), tmp_path) == cells_of(Wanted(seeds=[3]), tmp_path)


def test_a_run_keeps_the_analyses_of_the_records_that_it_replaces(tmp_path):
    wanted = Wanted(tasks=["ecg"], seeds=[0, 1], tsne=True)
    first, second = cells_of(wanted, tmp_path)
    held = {"discrepancy": {"d": 0.3}}
    Store(tmp_path / "r").write(make_record(**first.key(), analysis=held))
    found = todo(wanted, Places(tmp_path, tmp_path / "r"))
    assert found.cells == [first, second]  # the one that is done has no t-SNE
    assert found.runtime == {"analysis.tsne": True, "analysis.discrepancy": True}
    assert [p.status for p in found.planned] == ["done", "missing"] and found.failed == []
    assert any("stand-ins are generated" in said for said in found.said)


def test_what_failed_before_waits_for_retry(tmp_path):
    wanted = Wanted(tasks=["ecg"])
    (cell,) = cells_of(wanted, tmp_path)
    record = make_record(**cell.key(), profile="quick", status="failed", score=None)
    Store(tmp_path / "r").write(record)
    places = Places(tmp_path, tmp_path / "r")
    found = todo(wanted, places)
    assert found.cells == [] and [p.cell for p in found.failed] == [cell]
    assert todo(wanted, places, ["failed"]).cells == [cell]


def test_a_folder_that_cannot_be_written_is_said_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="--results-dir"):
        refuse_without_room(cells_of(Wanted(tasks=["ecg"]), tmp_path), Places(tmp_path, tmp_path / "file"))
