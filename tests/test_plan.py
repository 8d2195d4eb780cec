"""Cells, their identity, and what of a selection is done."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import plan, registry, settings
from bench import standins as data
from bench.errors import SetupError, UsageError
from bench.plan import Cell, Selection
from bench.records.store import Store
from tests.record_factory import record_for


def quick(**changes):
    return Selection(**{"suites": ("quick",), "methods": ("vanilla",), **changes})


def test_the_same_cell_has_the_same_id_in_another_process_and_folder(tmp_path):
    cell = Cell("advection", "mona", "minilm", 3, overrides=(("trainer.epochs", 2), ("trainer.lr", 1e-3)))
    code = (
        "from bench.plan import Cell; print(Cell('advection', 'mona', 'minilm', 3, "
        "overrides=(('trainer.epochs', 2), ('trainer.lr', 1e-3))).id)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert out.stdout.strip() == cell.id


def test_ids_do_not_change_when_the_code_does():
    # A new option with a default must leave these as they are: they name committed records.
    assert Cell("advection", "vanilla", "minilm").id == "fee564b2acea738d"
    assert Cell("ecg", "mona", "minilm", 1, "quick", "paper", "generated").id == "96beca9aebae6c3d"


def test_the_order_of_settings_does_not_matter(tmp_path):
    a = plan.cells(quick(set=(("trainer.lr", "1e-3"), ("trainer.epochs", "2"))), tmp_path)
    b = plan.cells(quick(set=(("trainer.epochs", "2"), ("trainer.lr", "0.001"))), tmp_path)
    assert [c.id for c in a] == [c.id for c in b]


def test_setting_what_the_recipe_says_anyway_is_no_change(tmp_path):
    lr = plan.resolve(plan.cells(quick(), tmp_path)[0]).trainer.lr
    task = plan.cells(quick(), tmp_path)[0].task
    with_set = plan.cells(quick(suites=(), tasks=(task,), profile="quick", set=(("trainer.lr", str(lr)),)), tmp_path)
    assert with_set[0].id == plan.cells(quick(), tmp_path)[0].id


@given(st.sampled_from([f"{s}.{f}" for s, c in settings.SECTIONS.items() for f in c.__dataclass_fields__]))
def test_identity_fields_change_the_id_and_runtime_fields_never_do(name):
    section, _, key = name.partition(".")
    field = settings.SECTIONS[section].__dataclass_fields__[key]
    identity, runtime = plan.split_roles([(name, {"device": "cpu", "compile": "on"}.get(key, "1"))])
    assert (name in dict(identity)) == (field.metadata["role"] == "identity")
    assert (name in runtime) == (field.metadata["role"] == "runtime")


def test_a_setting_under_a_methods_name_reaches_that_method_alone(tmp_path):
    cells = plan.cells(quick(methods=("vanilla", "mona"), set=(("mona.lambda_", "0"),)), tmp_path)
    assert all(c.overrides == () for c in cells if c.method == "vanilla")
    assert all(dict(c.overrides) == {"method.lambda_": 0.0} for c in cells if c.method == "mona")


def test_a_grid_gives_one_cell_for_each_value(tmp_path):
    cells = plan.cells(quick(grid=(("trainer.lr", ("7e-5", "8e-5")),), seeds=(0, 1)), tmp_path)
    assert len(cells) == 4 * 2 * 2
    assert {dict(c.overrides)["trainer.lr"] for c in cells} == {7e-5, 8e-5}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"suites": ("quik",)}, "did you mean quick"),
        ({"suites": (), "tasks": ("advectoin",)}, "did you mean advection"),
        ({"suites": (), "tasks": ("zz*",)}, "unknown task 'zz*'"),
        ({"methods": ("monna",)}, "did you mean mona"),
        ({"backbones": ("minilmm",)}, "did you mean minilm"),
        ({"protocol": "strikt"}, "did you mean strict"),
        ({"set": (("trainer.lrr", "1"),)}, "did you mean trainer.lr"),
        ({"set": (("mona.lambda", "1"),)}, "did you mean lambda_"),
        ({"suites": (), "tasks": ("ecg",), "backbones": ("swin_micro",)}, "takes roberta_base or minilm"),
        ({"set": (("lr", "1"),)}, "did you mean trainer.lr"),
        ({"set": (("mona.lambda_", "1"),)}, "method mona is not among those to run"),
        ({"grid": (("mona.lambda_", ("0", "1")),)}, "method mona is not among those to run"),
        ({"set": (("trainer.lr", "1"),), "grid": (("trainer.lr", ("1", "2")),)}, "say one of them"),
        ({"protocol": "paper", "set": (("trainer.patience", "3"),)}, "no validation split to stop by"),
        ({"set": (("trainer.patience", "-1"),)}, "expected a value in [0, inf)"),
        ({"seeds": (2**32,)}, "expected a whole number from 0 to 4294967295"),
        ({"seeds": (-1,)}, "expected a whole number from 0"),
    ],
)
def test_wrong_names_end_before_anything_starts(changes, said, tmp_path):
    with pytest.raises(UsageError) as error:
        plan.cells(quick(**changes), tmp_path)
    assert said in str(error.value)


def test_a_backbone_without_weights_is_one_clear_message(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SetupError, match=r"roberta_base.*--backbones minilm"):
        plan.cells(quick(suites=(), tasks=("ecg",), backbones=("roberta_base",)), tmp_path)
    allowed = quick(suites=(), tasks=("ecg",), backbones=("roberta_base",), allow_random_weights=True)
    assert plan.cells(allowed, tmp_path)[0].random_weights


def put_official_file(task, folder):
    """Empty files under the official names: enough for a plan, which looks at names and marks alone."""
    for file in registry.tasks()[task].files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"official")


def test_naming_nothing_takes_the_official_data_that_are_here_else_the_embedded_suite(tmp_path):
    embedded = plan.cells(Selection(), tmp_path)
    assert embedded == plan.cells(quick(), tmp_path)
    data.generate(registry.tasks()["burgers"], tmp_path, "tiny")  # a stand-in of another run changes nothing
    assert plan.cells(Selection(), tmp_path) == embedded
    put_official_file("ecg", tmp_path)
    cells = plan.cells(Selection(), tmp_path)
    assert [(c.task, c.profile, c.origin) for c in cells] == [("ecg", "published", "official")]


def test_a_task_takes_the_published_recipe_only_where_its_official_data_are(tmp_path):
    put_official_file("ecg", tmp_path)
    named = Selection(tasks=("ecg", "ninapro"))
    assert [(c.task, c.profile) for c in plan.cells(named, tmp_path)] == [("ecg", "published"), ("ninapro", "quick")]
    asked = plan.cells(replace(named, profile="published"), tmp_path)
    assert {c.profile for c in asked} == {"published"}
    assert {c.profile for c in plan.cells(Selection(suites=("pdebench",)), tmp_path)} == {"quick"}


def test_official_only_refuses_stand_ins(tmp_path):
    with pytest.raises(SetupError, match="no official data"):
        plan.cells(quick(official_only=True), tmp_path)


def test_everything_that_is_missing_is_in_one_message(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SetupError) as error:
        plan.cells(quick(official_only=True), tmp_path)
    assert all(f"task {name!r}" in str(error.value) for name in registry.suites()["quick"])
    with pytest.raises(SetupError) as error:
        plan.cells(quick(backbones=("swin_base", "roberta_base")), tmp_path)
    said = str(error.value)
    assert said.count("backbone swin_base") == said.count("backbone roberta_base") == 1


def test_names_match_in_any_case(tmp_path):
    assert plan.cells(
        quick(suites=("Quick",), methods=("MoNA",), backbones=("Swin_micro", "MiniLM")), tmp_path
    ) == plan.cells(quick(methods=("mona",), backbones=("swin_micro", "minilm")), tmp_path)


def test_suites_and_backbones_take_wildcards_too(tmp_path):
    assert plan.cells(quick(suites=("qu*",), backbones=("swin_mi*", "mini*")), tmp_path) == plan.cells(
        quick(), tmp_path
    )


def test_cells_survive_json(tmp_path):
    for cell in plan.cells(quick(methods=("mona",), set=(("mona.lambda_", "0.5"),)), tmp_path):
        again = Cell.from_dict(json.loads(json.dumps(cell.to_dict())))
        assert again == cell and again.id == cell.id


def test_a_plan_says_done_failed_missing_and_stale(tmp_path):
    cells = plan.cells(quick(), tmp_path)
    store = Store(tmp_path / "results")
    store.write(record_for(cells[0]))
    store.write(record_for(cells[1], status="failed", score=None))
    store.write(record_for(cells[2], code={"task": "x", "method": "y"}))
    planned = plan.plan(cells, store)
    assert [p.status for p in planned] == ["done", "failed", "done", "missing"]
    assert [bool(p.stale) for p in planned] == [False, False, True, False]
    assert "edited since" in planned[2].stale
    assert plan.to_run(planned) == [cells[3]]
    assert plan.to_run(planned, ["failed"]) == [cells[1], cells[3]]
    assert plan.to_run(planned, ["stale"]) == [cells[2], cells[3]]


def test_a_done_cell_without_a_wanted_analysis_is_run_again(tmp_path):
    cell = plan.cells(quick(), tmp_path)[0]
    store = Store(tmp_path / "results")
    store.write(record_for(cell, analysis={}))
    assert plan.to_run(plan.plan([cell], store), analyses={"probe": True}) == [cell]
    store.write(record_for(cell, analysis={"probe": {"skipped": "no body"}}))
    assert plan.to_run(plan.plan([cell], store), analyses={"probe": True}) == []


def test_ten_thousand_cells_against_ten_thousand_records_stay_interactive(tmp_path):
    # The limit is 3 s on an idle machine (docs/performance.md has the figure); here only a gross slip may fail.
    store = Store(tmp_path / "results")
    store.folder.mkdir()
    cells = plan.cells(quick(seeds=tuple(range(500)), methods=("vanilla",)), tmp_path)
    for cell in cells:
        store.path(cell.key()).write_text(json.dumps(record_for(cell)))
    start = time.process_time()
    assert all(p.status == "done" for p in plan.plan(cells, store))
    assert time.process_time() - start < 20


def test_the_converged_profile_is_for_the_tasks_of_suite_evidence(tmp_path):
    having = [name for name, task in registry.tasks().items.items() if task.converged is not None]
    assert sorted(having) == sorted(registry.suites()["evidence"])
    chosen = plan.cells(quick(suites=("evidence",), profile="converged"), tmp_path)
    assert {cell.task for cell in chosen} == set(having)
    for cell in chosen:
        short = plan.resolve(replace(cell, profile="quick")).trainer
        assert plan.resolve(cell).trainer.epochs > short.epochs and plan.resolve(cell).trainer.patience > 0
    with pytest.raises(UsageError, match=r"'ninapro' has no recipe of profile 'converged'.*Tasks that have one: "):
        plan.cells(quick(suites=(), tasks=("ninapro",), profile="converged"), tmp_path)
