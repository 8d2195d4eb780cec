"""Published numbers: beside which results they stand, what is said of them, and that none was lost."""

import pytest

from bench import registry
from bench.report.tables import published
from tests.record_factory import make_record
from tests.report_helpers import CATALOGUE, PDE, one_panel, text_of

AS_PUBLISHED = {
    "protocol": "paper", "origin": "official", "profile": "published", "backbone": "roberta_base",
    "data": {**make_record()["data"], "unlike_published": [], "verification": {"a.hdf5": "verified"}},
}  # fmt: skip


def table_of(*records):
    return published.published_table(one_panel(records), CATALOGUE)


@pytest.mark.parametrize("change", [{"protocol": "strict"}, {"origin": "generated"}, {"profile": "quick"}])
def test_published_numbers_stand_beside_nothing_else(change):
    records = [make_record(task=t, **{**AS_PUBLISHED, **change}) for t in PDE[:2]]
    assert table_of(*records) is None
    assert "Published numbers" not in text_of(*records)


def test_published_numbers_keep_their_source_and_empty_cells_stay_empty():
    table = table_of(make_record(**AS_PUBLISHED, score=0.009), make_record(**AS_PUBLISHED, task="burgers"))
    mona = next(label for label, _ in table.rows if label.startswith("published: MoNA"))
    assert table.entry(mona, "advection").text == "0.0088" and table.entry(mona, "advection").marks == ("secondary",)
    assert table.entry(mona, "burgers").text == ""
    assert all(note.startswith("[") for note in table.notes[2:]) and len(table.notes) > 4


def test_last_and_best_on_test_stand_apart_beside_published_numbers():
    tracked = make_record(**AS_PUBLISHED, score=0.009, score_last=0.009, score_best_test=0.008)
    table = table_of(tracked, make_record(**AS_PUBLISHED, task="burgers"))
    assert table.entry("here: vanilla, last epoch", "advection").text == "0.00900 (n=1)"
    assert table.entry("here: vanilla, best on test", "advection").text == "0.00800 (n=1)"
    untracked = table_of(*(make_record(**AS_PUBLISHED, task=t, score_best_test=None) for t in PDE[:2]))
    assert [label for label, _ in untracked.rows if label.startswith("here")] == ["here: vanilla, last epoch"]


def test_data_that_are_not_as_published_stand_beside_no_published_number():
    few = {**AS_PUBLISHED["data"], "unlike_published": ["train: 22 samples, published 9,000"]}
    old = {k: v for k, v in AS_PUBLISHED["data"].items() if k != "unlike_published"}
    table = table_of(*(make_record(**{**AS_PUBLISHED, "task": t, "data": d}) for t, d in zip(PDE, (few, old))))
    assert not [label for label, _ in table.rows if label.startswith("here")]
    assert f"Not shown: {PDE[0]}" in " ".join(table.notes) and "22 samples, published 9,000" in " ".join(table.notes)
    assert f"Not shown: {PDE[1]}" in " ".join(table.notes) and "(not recorded)" in " ".join(table.notes)


def test_files_that_nobody_verified_are_named_beside_published_numbers_and_in_the_provenance():
    data = {**AS_PUBLISHED["data"], "verification": {"b.hdf5": "not verified", "a.hdf5": "verified"}}
    record = make_record(**{**AS_PUBLISHED, "data": data})
    beside = table_of(record, make_record(**AS_PUBLISHED, task="burgers"))
    assert "Not verified: b.hdf5 (not verified)." in beside.notes
    assert "not verified, verified" in text_of(record)


def test_a_changed_recipe_is_marked_beside_published_numbers():
    changed = make_record(**AS_PUBLISHED, overrides={"trainer.epochs": 1})
    table = table_of(changed, make_record(**AS_PUBLISHED, task="burgers", overrides={"trainer.epochs": 1}))
    assert table.entry("here: vanilla, last epoch", "advection").marks == ("recipe",)
    assert any("differ from the published recipe" in line for line in table.legend())
    plain = table_of(make_record(**AS_PUBLISHED), make_record(**AS_PUBLISHED, task="burgers"))
    assert plain.entry("here: vanilla, last epoch", "advection").marks == ()


def test_results_of_another_backbone_or_metric_do_not_stand_beside_them():
    stand_in = {**AS_PUBLISHED, "backbone": "minilm"}
    table = table_of(make_record(**stand_in), make_record(**AS_PUBLISHED, task="burgers", metric="rmse"))
    assert not [label for label, _ in table.rows if label.startswith("here")]


def test_every_published_line_of_the_paper_protocol_has_its_task():
    used = set(published.PROTOCOLS.values())
    lines = [x for x in published.numbers() if (x["suite"], x["protocol"]) in used]
    assert len(lines) == 52
    assert {x["our_task"] for x in lines} <= registry.tasks().items.keys() and all(x["our_metric"] for x in lines)


def test_no_published_number_was_lost():
    assert len(published.numbers()) == 320


def test_orcas_own_page_is_here_with_what_kind_of_reading_each_number_is():
    lines = [x for x in published.numbers() if x["source"].startswith("ORCA project page")]
    kinds = [(x["suite"], x["kind"]) for x in lines]
    assert kinds.count(("NAS-Bench-360", "printed")) == 60 and kinds.count(("PDEBench", "digitised")) == 30
    tenfold = [x for x in published.numbers() if (x["method"], x["task"]) == ("Perceiver IO", "Darcy")]
    assert len(tenfold) == 2 and all("factor of ten" in x["note"] for x in tenfold)


def test_rollouts_stand_in_no_column_of_ours_and_what_was_read_off_a_drawing_is_marked():
    table = table_of(make_record(**AS_PUBLISHED), make_record(**AS_PUBLISHED, task="burgers"))
    labels = [label for label, _ in table.rows]
    assert not [label for label in labels if "FNO" in label or "PINN" in label or "U-Net" in label]
    marks = {table.entry(label, "burgers").marks for label in labels if label.startswith("published: ORCA")}
    assert ("digitised",) in marks
