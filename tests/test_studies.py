"""Studies: every file loads and plans, its page is written, and all of them run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench import registry, settings, studies
from bench.errors import UsageError
from bench.plan import Places, base_layers, plan, to_run
from bench.records.store import Store
from bench.report.document.markdown import markdown
from bench.report.document.write import write
from bench.report.evidence import Evidence
from bench.report.figures.drawing import looks as looks_of
from bench.report.pages import study as page_of
from bench.studies.study import Arm, Size, read
from tests.record_factory import make_record, make_store
from tests.report_helpers import noise, probe_record, records_of

NAMES = {
    "mona-table-nas-bench-360", "mona-table-pdebench", "mona-figure-2", "mona-figure-3", "mona-figure-4",
    "mona-ablation", "orca-alignment", "body-or-embedder", "pretrained-or-scratch", "proxy-data", "selection-bias",
    "tuned-baseline", "small-supervised", "equal-budget", "convincing", "few-shot", "image-target",
}  # fmt: skip


def written(name, size, store, out, html=False):
    """README.md of the page of a study's records in a store."""
    page = page_of.build(name, size, Evidence(store.scan()[0], store.curves, folder=store.folder))
    return write(page, out, html=html)[0]


# -- files ----------------------------------------------------------------------------------------------------------


def test_all_of_them_are_there():
    assert set(studies.all_studies()) == NAMES


def test_every_claim_of_the_field_has_a_study():
    claims = {claim for study in studies.all_studies().values() for claim in study.claims}
    assert claims == set(range(1, 17))


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_study_says_everything_and_plans_at_every_size(name, tmp_path):
    study = studies.find(name)
    assert study.question.endswith("?") and study.source and study.answer and study.rules
    assert {"tiny", "quick", "full"} <= set(study.sizes)
    settings.split_dotted(studies.runtime_of(studies.find(name)))
    for size in study.sizes:
        assert study.size(size).cost
        for arm, keys in studies.arms_of(studies.find(name), size).items():
            assert keys, f"{name} {size}: arm {arm} has no cells"
    judged = {rule.claim for rule in study.rules if rule.claim}
    assert judged == set(study.claims), "every claim of a study has a rule that decides it"
    assert studies.describe(name)["question"] == study.question


@pytest.mark.parametrize("name", sorted(NAMES))
def test_quick_size_has_the_arms_of_its_rules_and_enough_seeds(name):
    study = studies.find(name)
    present = {arm.name for arm in study.arms_at("quick")}
    for rule in study.rules:
        assert {a for a in (rule.arm, rule.against) if a} | {a for a, _ in rule.contrast} <= present
    assert len(study.size("quick").seeds) >= 3


def test_cells_are_the_same_as_the_arms_and_each_comes_once(tmp_path):
    cells = studies.cells_of(studies.find("orca-alignment"), "tiny", tmp_path)
    keys = [studies.key_of(cell) for cell in cells]
    assert len(set(keys)) == len(keys) == 8
    assert set(keys) == set().union(*studies.arms_of(studies.find("orca-alignment"), "tiny").values())
    initial = {dict(c.overrides).get("model.embedder_init") for c in cells if c.method == "vanilla"}
    assert initial == {None, "random"}


def test_an_arm_that_takes_longer_does_so_by_each_tasks_own_recipe(tmp_path):
    recipe = {task: settings.resolve(registry.methods()["vanilla"], *base_layers(task, "vanilla", "quick", "strict")).trainer
              for task in ("ninapro", "ecg", "satellite")}  # fmt: skip
    arm = Arm("longer", "vanilla", times=2.5)
    study = replace(studies.find("equal-budget"), arms=(arm,), sizes={"quick": Size("quick", tasks=tuple(recipe))})
    for (task, trainer), chosen in zip(recipe.items(), studies.selections(study, "quick", arm), strict=True):
        assert chosen.tasks == (task,)
        assert dict(chosen.set) == {
            "trainer.epochs": round(trainer.epochs * 2.5), "trainer.decay_epochs": trainer.decay_epochs * 2.5,
        }  # fmt: skip
    assert len({recipe[task].epochs for task in recipe}) > 1


def test_the_key_of_a_record_is_that_of_its_cell(tmp_path):
    cell = studies.cells_of(studies.find("selection-bias"), "tiny", tmp_path)[0]
    record = make_record(
        task=cell.task, method=cell.method, seed=cell.seed, profile=cell.profile, overrides=dict(cell.overrides)
    )
    assert studies.key_of(record) == studies.key_of(cell)


def test_wrong_names_say_the_nearest_one():
    with pytest.raises(UsageError, match="did you mean orca-alignment"):
        studies.find("orca-alignmnt")
    with pytest.raises(UsageError, match="unknown size"):
        studies.find("orca-alignment").size("huge")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("claims = [4]", "claimz = [4]"), "wrong.toml: unknown key 'claimz': did you mean claims"),
        (("claims = [4]", 'claims = "4"'), "wrong.toml: claims = '4': expected a list of whole numbers"),
        (("[quick]", "[quick]\nseedz = [1]"), r"wrong.toml: \[quick\]: unknown key 'seedz': did you mean seeds"),
        (("[quick]", "[quick]\nset = 3"), r"wrong.toml: \[quick\]: set = 3: expected a table of name = value"),
        (("[quick]", "[quikc]"), "wrong.toml: unknown key 'quikc': did you mean quick"),
        (("[quick]", "[quick"), r"wrong.toml: .*line"),
        (('method = "scratch"', ""), r"wrong.toml: \[arms 2\]: method: missing"),
        (('against = "scratch"', 'against = "scrach"'), "unknown arm 'scrach'"),
        (('against = "scratch"', 'against = "scratch"\nmeasure = "acuracy"'), "unknown measure"),
        (('against = "scratch"', 'contrast = { scratch = 1, pretrained = 1 }'), "sum to"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_fit_is_refused(tmp_path, change, said):
    text = (Path(studies.__file__).parent / "pretrained-or-scratch.toml").read_text()
    assert change[0] in text
    path = tmp_path / "wrong.toml"
    path.write_text(text.replace(*change))
    with pytest.raises(UsageError, match=said):
        read(path)


# -- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_page_is_written_from_any_records(name, tmp_path):
    def value(arm, task, seed, overrides):
        after, d = 15 + 100 * noise(arm, task, seed), 0.4 + noise(task)
        full = probe_record(10.0, after, d)
        full["probe"] |= {"source": "digits"}
        full["discrepancy"] |= {"unnormalised": d, "renormalised": d, "matched_only": d, "chance": 0.9}
        status = {"status": "failed", "score": None} if seed == 2 else {"score": 0.4 + noise(arm, task, seed)}
        return {**status, "analysis": {} if seed == 2 else full}

    records = records_of(name, "quick", value)
    store = make_store(tmp_path / "results", *records)
    readme = written(name, "quick", store, tmp_path / "out", html=True)
    text = readme.read_text()
    assert studies.find(name).question in text
    assert all(rule.says in text for rule in studies.find(name).rules)
    assert f"python -m bench run --study {name} --size quick" in text
    assert "Cells that failed" in text and "Generated data" in text
    assert (tmp_path / "out" / "index.html").exists()
    study = studies.find(name)
    for part in page_of.parts(study, "quick", page_of.observe(study, "quick", records, lambda record: {})):
        looks = looks_of(part.panel)
        assert len({look.colour for look in looks.values()}) == len(looks), "arms of a page share a colour"


def test_equal_scores_can_be_drawn(tmp_path):
    records = records_of("orca-alignment", "quick", lambda arm, task, seed, overrides: 13 / 7)
    assert written("orca-alignment", "quick", make_store(tmp_path / "r", *records), tmp_path / "out").exists()


def test_a_page_without_records_says_how_to_make_them():
    text = markdown(page_of.build("mona-ablation", "quick", Evidence([])))
    assert "0 of 36 cells" in text and "python -m bench run --study mona-ablation --size quick" in text


def test_a_setting_of_its_size_that_an_arm_sets_otherwise_is_not_said_of_all_cells():
    records = records_of("image-target", "quick", lambda arm, task, seed, overrides: 30 + seed)
    text = markdown(page_of.build("image-target", "quick", Evidence(records)))
    assert "Settings of all cells: trainer.lr = 0.001, trainer.patience = 8." in text
    assert (
        "Settings of all cells but those of vanilla, twice as long: trainer.epochs = 30, trainer.decay_epochs = 30."
        in text
    )


def test_records_of_other_cells_are_left_out():
    text = markdown(page_of.build("mona-ablation", "quick", Evidence([make_record(task="spherical", method="orca")])))
    assert "0 of 36 cells" in text


# -- the real thing -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Every study's tiny cells, run in this process; what two studies share is run once."""
    from bench import launch
    from bench.launch.options import LaunchOptions

    folder = tmp_path_factory.mktemp("studies")
    store = Store(folder / "results")
    places = Places(folder / "data", store.folder)
    # Studies with analyses go first: a cell without one that a later study needs would be run again.
    for name in sorted(NAMES, key=lambda name: -len(studies.runtime_of(studies.find(name)))):
        runtime = studies.runtime_of(studies.find(name))
        analyses = {key.removeprefix("analysis."): value for key, value in runtime.items()}
        todo = to_run(plan(studies.cells_of(studies.find(name), "tiny", places.data_dir), store), (), analyses)
        if todo:
            launch.run(todo, places, runtime, "inline", LaunchOptions(quiet=True), "")
    return store


@pytest.mark.slow
@pytest.mark.xdist_group("studies")  # one process runs the cells, not each of them
@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_study_runs_at_tiny_size_and_is_reported(name, everything, tmp_path):
    records, problems = everything.scan()
    expected = set().union(*studies.arms_of(studies.find(name), "tiny").values())
    mine = [r for r in records if studies.key_of(r) in expected]
    assert not problems and len(mine) == len(expected)
    assert {r["status"] for r in mine} == {"done"}, [r["error"] for r in mine if r["error"]]
    readme = written(name, "tiny", everything, tmp_path / "out")
    assert f"{len(expected)} of {len(expected)} cells" in readme.read_text()
    found = page_of.verdicts(name, "tiny", Evidence(records, everything.curves))["generated"]
    assert len(found) == len(studies.find(name).rules)
    for analysis in dict(studies.find(name).analysis):
        if analysis in ("probe", "tsne", "discrepancy"):
            assert all(analysis in r["analysis"] for r in mine)
