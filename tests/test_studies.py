"""Studies: every file loads and plans, its rules decide as stated, its page is written, and all of them run."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench import registry, settings, studies
from bench.errors import UsageError
from bench.plan import Places, base_layers, plan, to_run
from bench.records.record import Record
from bench.records.store import Store
from bench.report.document.markdown import markdown
from bench.report.document.write import write
from bench.report.evidence import Evidence
from bench.report.figures.drawing import looks as looks_of
from bench.report.figures.studies import correlation_figure, verdict_figure
from bench.report.pages import study as page_of
from bench.report.statistics import relative_difference
from bench.report.verdict import Estimate, judge, spearman, stratified
from bench.studies.study import Arm, Rule, Size, read
from tests.record_factory import make_record, make_store

NAMES = {
    "mona-table-nas-bench-360", "mona-table-pdebench", "mona-figure-2", "mona-figure-3", "mona-figure-4",
    "mona-ablation", "orca-alignment", "body-or-embedder", "pretrained-or-scratch", "proxy-data", "selection-bias",
    "tuned-baseline", "small-supervised", "equal-budget",
}  # fmt: skip
VISION = {"input_shape": [1, 32, 32]}


def written(name, size, store, out, html=False):
    """README.md of the page of a study's records in a store."""
    page = page_of.build(name, size, Evidence(store.scan()[0], store.curves, folder=store.folder))
    return write(page, out, html=html)[0]


def records_of(name: str, size: str, value, **more) -> list[Record]:  # type: ignore[no-untyped-def]
    """A record for every cell of a study: `value(arm, task, seed, overrides)` is its score, or a dict of changes."""
    out = {}
    for arm, keys in studies.arms_of(studies.find(name), size).items():
        for key in keys:
            task, method, seed, profile, protocol, overrides = key
            said = value(arm, task, seed, dict(overrides))
            changes = said if isinstance(said, dict) else {"score": said}
            identity = {"task": task, "method": method, "seed": seed, "profile": profile, "protocol": protocol}
            out[key] = make_record(**identity, overrides=dict(overrides), **more, **changes)
    return list(out.values())


def decided(name: str, size: str, value, **more):  # type: ignore[no-untyped-def]
    """The verdicts of a study in its only part, with the curves that `value` cannot give left empty."""
    found = page_of.verdicts(name, size, Evidence(records_of(name, size, value, **more)))
    assert len(found) == 1
    return next(iter(found.values()))


def noise(*key: object) -> float:
    """A small number that depends on `key` alone, the same in every process."""
    return float(np.random.default_rng([sum(map(ord, str(k))) for k in key]).normal(0, 0.002))


# -- files ----------------------------------------------------------------------------------------------------------


def test_all_of_them_are_there():
    assert set(studies.all_studies()) == NAMES


def test_every_claim_of_the_field_has_a_study():
    claims = {claim for study in studies.all_studies().values() for claim in study.claims}
    assert claims == set(range(1, 15))


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


# -- statistics -----------------------------------------------------------------------------------------------------


def test_one_task_is_a_paired_t_interval():
    x = np.array([1.0, 2.5, 0.3, 1.1])
    mine, theirs = stratified({"a": x}, 0.95), stats.ttest_1samp(x, 0).confidence_interval(0.95)
    assert mine is not None
    assert (mine.effect, mine.low, mine.high) == pytest.approx((x.mean(), theirs.low, theirs.high))


def test_two_tasks_are_welch():
    x, y = np.array([1.0, 2.5, 0.3, 1.1]), np.array([3.0, 2.0, 7.0])
    theirs = stats.ttest_ind(x, -y, equal_var=False).confidence_interval(0.9)
    mine = stratified({"a": x, "b": y}, 0.9)
    assert mine is not None and mine.over == "seeds" and (mine.n, mine.tasks) == (7, 2)
    assert (mine.low, mine.high) == pytest.approx((theirs.low / 2, theirs.high / 2))


def test_single_runs_per_task_are_judged_over_tasks():
    mine = stratified({"a": [1.0], "b": [2.0], "c": [4.0, 6.0]}, 0.95)
    theirs = stats.ttest_1samp([1.0, 2.0, 5.0], 0).confidence_interval(0.95)
    assert mine is not None and mine.over == "tasks"
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high))


def test_nothing_to_see_has_no_interval():
    assert stratified({}, 0.95) is None
    alone = stratified({"a": [1.0]}, 0.95)
    assert alone is not None and alone.low is None


def test_spearman_is_scipys_and_its_interval_covers():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=12), rng.normal(size=12)
    one = spearman([(x, y)], 0.95)
    assert one is not None and one.effect == pytest.approx(stats.spearmanr(x, y).statistic)
    # For a bivariate normal with correlation r Spearman's is (6/π) asin(r/2) (Pearson 1907).
    r, hits = 0.6, 0
    truth = 6 / math.pi * math.asin(r / 2)
    for _ in range(400):
        pair = [rng.multivariate_normal([0, 0], [[1, r], [r, 1]], size=15).T for _ in range(2)]
        found = spearman([(p[0], p[1]) for p in pair], 0.95)
        assert found is not None and found.low is not None and found.high is not None
        hits += found.low <= truth <= found.high
    assert 0.92 <= hits / 400 <= 0.98


def test_spearman_leaves_out_what_says_nothing():
    assert spearman([(np.arange(3.0), np.arange(3.0)), (np.ones(9), np.arange(9.0))], 0.95) is None


@pytest.mark.parametrize(
    ("kind", "low", "high", "outcome"),
    [
        ("better", 0.1, 9, "supported"),
        ("better", 0.1, 1.9, "negligible"),
        ("better", -1.9, -0.1, "negligible"),
        ("better", -3, 1.9, "undecided"),
        ("better", -9, -1, "contradicted"),
        ("correlated", -9, -3, "contradicted"),
        ("better", -1, 3, "undecided"),
        ("equal", -1, 1.9, "supported"),
        ("equal", 2.1, 3, "contradicted"),
        ("equal", -5, -2.1, "contradicted"),
        ("equal", -1, 3, "undecided"),
    ],
)
def test_outcomes(kind, low, high, outcome):
    rule = Rule("x", kind=kind, margin=2.0, least=6)
    assert judge(rule, Estimate((low + high) / 2, low, high, 6, 2, "seeds"))[0] == outcome
    assert judge(rule, Estimate((low + high) / 2, low, high, 5, 2, "seeds"))[0] == "undecided"
    assert judge(rule, None)[0] == "undecided"


# -- rules on synthetic records -------------------------------------------------------------------------------------


@pytest.mark.parametrize("higher", [False, True])
def test_a_better_method_is_supported_in_either_direction(higher):
    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
        gain = 0.05 if arm == "mona" else 0.0
        return 0.4 + (gain if higher else -gain) + noise(arm, task, seed)

    against_all = decided("mona-table-pdebench", "quick", value, higher_is_better=higher)
    assert [v.outcome for v in against_all] == ["supported"] * 3
    first = against_all[0].estimate
    assert first is not None and (first.n, first.tasks) == (24, 8)
    expected = 200 * abs(relative_difference(np.array([0.35]), np.array([0.4]), [False])[0])
    assert first.effect == pytest.approx(expected if not higher else 200 * 0.05 / 0.85, abs=0.6)


def test_a_worse_method_is_contradicted_and_noise_is_undecided():
    worse = decided("mona-table-pdebench", "quick", lambda a, t, s, o: 0.4 + 0.05 * (a == "mona") + noise(a, t, s))
    assert {v.outcome for v in worse} == {"contradicted"}
    loud = decided("mona-table-pdebench", "quick", lambda a, t, s, o: 0.4 + 30 * noise(a, t, s))
    assert {v.outcome for v in loud} == {"undecided"}


def test_too_few_runs_are_undecided_whatever_they_say():
    records = records_of("mona-table-pdebench", "quick", lambda a, t, s, o: 0.1 if a == "mona" else 0.5 + noise(t, s))
    few = [r for r in records if r["task"] == "burgers"]
    found = page_of.verdicts("mona-table-pdebench", "quick", Evidence(few))["generated"]
    assert {v.outcome for v in found} == {"undecided"}
    assert "3 units, the rule asks for 6" in found[0].reason


def test_failed_cells_are_left_out_of_pairs_and_counted():
    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
        if arm == "mona" and seed == 0:
            return {"score": None, "status": "diverged"}
        return 0.4 - 0.1 * (arm == "mona") + noise(arm, task, seed)

    first = decided("mona-table-pdebench", "quick", value)[0]
    assert first.estimate is not None and first.estimate.n == 16


def test_official_and_generated_records_are_judged_apart():
    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
        return 0.4 - 0.1 * (arm == "mona") + noise(arm, task, seed)

    both = records_of("mona-table-pdebench", "quick", value)
    both += records_of("mona-table-pdebench", "quick", lambda a, t, s, o: 0.4 + noise(a, t, s), origin="official")
    found = page_of.verdicts("mona-table-pdebench", "quick", Evidence(both))
    assert list(found) == ["official", "generated"]
    assert found["generated"][0].outcome == "supported"
    assert found["official"][0].outcome == "negligible"


def test_two_backbones_on_one_task_are_judged_apart():
    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
        return 0.4 + noise(arm, task, seed)

    both = records_of("mona-table-pdebench", "quick", value)
    both += records_of("mona-table-pdebench", "quick", value, backbone="roberta_base")
    found = page_of.verdicts("mona-table-pdebench", "quick", Evidence(both))
    assert set(found) == {"generated (minilm)", "generated (roberta_base)"}


def test_the_learning_rate_is_chosen_on_validation_and_not_on_test():
    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
        lr = overrides.get("trainer.lr")
        good_on_test = 0.1 if lr == 1e-3 else 0.4
        good_on_val = 0.1 if lr == 1e-4 else 0.4
        return {"score": good_on_test + noise(arm, seed), "val_score": good_on_val + noise(arm, seed)}

    records = records_of("tuned-baseline", "quick", value)
    study = studies.find("tuned-baseline")
    part = next(page_of.parts(study, page_of.observe(study, "quick", records, lambda record: {})))
    assert {dict(r["overrides"])["trainer.lr"] for r in part.table["record"]} == {1e-4}
    assert part.table["score"].min() > 0.3


def test_a_learning_rate_that_diverges_is_not_chosen():
    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
        if overrides.get("trainer.lr") == 1e-3 and seed == 2:
            return {"score": None, "status": "diverged"}
        return 0.1 if overrides.get("trainer.lr") == 1e-3 else 0.4

    records = records_of("tuned-baseline", "quick", value)
    study = studies.find("tuned-baseline")
    part = next(page_of.parts(study, page_of.observe(study, "quick", records, lambda record: {})))
    assert 1e-3 not in {dict(r["overrides"])["trainer.lr"] for r in part.table["record"]}


def test_contrast_compares_two_gains():
    scores = {"body frozen": 0.8, "only LayerNorms": 0.6, "whole body": 0.4}
    found = decided(
        "body-or-embedder", "quick", lambda a, t, s, o: scores.get(a, 0.35) + noise(a, t, s)
    )  # the body gains 0.4, either stage 1 gains 0.05
    assert [v.outcome for v in found] == ["supported"] * 4
    third = found[2].estimate
    assert third is not None
    assert third.effect == pytest.approx(100 * (0.8 - 2 * 0.4 + 0.35) / ((0.8 + 0.4 + 0.35) / 3), abs=2)


def probe_record(before: float, after: float, d: float | None = None) -> dict:
    probe = {"epochs": [0, 1], "error": [before, after], "low": [0, 0], "high": [9, 9], "pretrained_error": before}
    return {"probe": probe} | ({"discrepancy": {"d": d}} if d is not None else {})


def test_probe_errors_are_compared_in_points():
    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
        after = {"vanilla": 30.0, "mona": 20.0}.get(arm, 28.0) + 100 * noise(arm, task, seed)
        return {"score": 0.4, "analysis": probe_record(10.0, after), "data": VISION}

    found = decided("mona-figure-3", "quick", value)
    assert [v.outcome for v in found] == ["supported", "supported", "supported", "negligible"]
    first = found[0].estimate
    assert first is not None and first.effect == pytest.approx(20, abs=0.5) and found[0].unit == "points"


def test_discrepancy_against_probe_rise_is_a_correlation_over_tasks():
    tasks = studies.find("mona-figure-4").size("quick").tasks

    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
        d = 0.1 * tasks.index(task) + 0.3
        return {"score": 0.4, "analysis": probe_record(10.0, 10 + 20 * d, d), "data": VISION}

    found = decided("mona-figure-4", "quick", value)[0]
    assert found.unit == "ρ" and found.estimate is not None and found.estimate.n == len(tasks)
    assert found.outcome == "supported"


def test_alignment_loss_against_score_is_a_correlation_within_tasks():
    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
        return 0.4 + 0.01 * overrides.get("method.epochs", 0) + noise(arm, task, seed)

    def curves(record: Record) -> dict:
        rises = record["method"] == "orca"
        return {"stage1": [{"phase": "orca", "loss": 9.0}, {"phase": "orca", "loss": record["score"]}] if rises else []}

    records = records_of("orca-alignment", "quick", value)
    study = studies.find("orca-alignment")
    part = next(page_of.parts(study, page_of.observe(study, "quick", records, curves)))
    found, panel = page_of.judge(study, part)[4], page_of.panel_of(study, "quick", part)
    points, rules = correlation_figure(panel, found, part.table, 5), verdict_figure("x", page_of.judge(study, part))
    assert points is not None and rules is not None and "alignment_loss" not in points.svg()
    assert "end of stage 1 ↓" in points.svg() and "then logarithmic" in rules.svg()
    assert found.outcome == "supported" and found.estimate is not None and found.estimate.n == 18


def test_modality_limits_a_rule_to_its_tasks():
    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
        better = arm == "pretrained" and task == "ninapro"
        shape = {"data": VISION} if task == "ninapro" else {}
        return {"score": 0.4 - 0.1 * better + noise(arm, task, seed), **shape}

    vision, text = decided("pretrained-or-scratch", "quick", value)
    assert vision.outcome == "supported" and text.outcome != "supported"
    assert vision.estimate is not None and text.estimate is not None
    assert (vision.estimate.n, text.estimate.n) == (3, 3) and abs(text.estimate.effect) < 1


# -- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_page_is_written_from_any_records(name, tmp_path):
    def value(arm, task, seed, overrides):  # type: ignore[no-untyped-def]
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
    for part in page_of.parts(study, page_of.observe(study, "quick", records, lambda record: {})):
        looks = looks_of(page_of.panel_of(study, "quick", part))
        assert len({look.colour for look in looks.values()}) == len(looks), "arms of a page share a colour"


def test_equal_scores_can_be_drawn(tmp_path):
    records = records_of("orca-alignment", "quick", lambda arm, task, seed, overrides: 13 / 7)
    assert written("orca-alignment", "quick", make_store(tmp_path / "r", *records), tmp_path / "out").exists()


def test_a_page_without_records_says_how_to_make_them():
    text = markdown(page_of.build("mona-ablation", "quick", Evidence([])))
    assert "0 of 96 cells" in text and "python -m bench run --study mona-ablation --size quick" in text


def test_records_of_other_cells_are_left_out():
    text = markdown(page_of.build("mona-ablation", "quick", Evidence([make_record(task="spherical", method="orca")])))
    assert "0 of 96 cells" in text


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
