"""Settings by the columns of the field's tables: what they stand for, and what is refused where a task is imported."""

import pytest

from bench.settings import all_names
from tasks.recipe import ALWAYS, SETTINGS, columns, published, quick, sizes

ROW = {"opt": "adam", "lr": 1e-4, "wd": 1e-5, "batch": 4, "epochs": 200, "warmup": 5, "decay": 200}


def test_every_column_is_a_setting_of_its_own():
    assert set(SETTINGS.values()) <= set(all_names()) and len(set(SETTINGS.values())) == len(SETTINGS)


def test_a_row_is_settings_by_dotted_name_with_what_nearly_all_rows_share():
    recipe = published(**ROW, seq=128, eval_batch=100)
    assert (recipe["trainer.optimizer"], recipe["trainer.lr"], recipe["trainer.decay_epochs"]) == ("adam", 1e-4, 200)
    assert (recipe["model.target_seq_len"], recipe["trainer.eval_batch_size"]) == (128, 100)
    assert (recipe["stage1.epochs"], recipe["stage1.max_samples"]) == (60, 128)
    assert "trainer.clip" not in recipe, "a column that is not given is not set"


@pytest.mark.parametrize("row", [columns, quick, lambda **given: published(**ROW, **given)])
def test_a_column_that_does_not_exist_is_refused_with_the_nearest_one(row):
    with pytest.raises(TypeError, match="no column 'warm_up': did you mean 'warmup'"):
        row(warm_up=5)


@pytest.mark.parametrize("name", ALWAYS)
def test_a_row_without_what_every_row_has_is_refused(name):
    with pytest.raises(TypeError, match=f"without {name};"):
        published(**{k: v for k, v in ROW.items() if k != name})


def test_a_quick_schedule_ends_with_its_epochs_unless_told_otherwise():
    assert quick(epochs=6, warmup=1)["trainer.decay_epochs"] == 6
    assert quick(epochs=6, decay=9)["trainer.decay_epochs"] == 9
    assert quick(lr=1e-3) == {"trainer.lr": 1e-3}


def test_sizes_are_a_table_of_arguments_by_profile():
    table = sizes(samples=(300, 160, 24), nx=(256, 128, 64))
    assert table["quick"] == {"samples": 160, "nx": 128} and list(table) == ["published", "quick", "tiny"]
