"""What a study's rules decide: the statistics beside scipy's, and every kind of rule on synthetic records."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bench import studies
from bench.records.record import Record
from bench.report.document.markdown import markdown
from bench.report.evidence import Evidence
from bench.report.figures.studies import correlation_figure, verdict_figure
from bench.report.pages import study as page_of
from bench.report.statistics import relative_difference
from bench.report.verdict import Estimate, judge, spearman, stratified
from bench.studies.study import Rule
from tests.report_helpers import VISION, decided, noise, probe_record, records_of

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


def only_part(name, value, curves=lambda record: {}):
    """A study, and the part of its records at quick size."""
    study = studies.find(name)
    (part,) = page_of.parts(study, "quick", page_of.observe(study, "quick", records_of(name, "quick", value), curves))
    return study, part


@pytest.mark.parametrize("higher", [False, True])
def test_a_better_method_is_supported_in_either_direction(higher):
    def value(arm, task, seed, overrides):
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
    def value(arm, task, seed, overrides):
        if arm == "mona" and seed == 0:
            return {"score": None, "status": "diverged"}
        return 0.4 - 0.1 * (arm == "mona") + noise(arm, task, seed)

    first = decided("mona-table-pdebench", "quick", value)[0]
    assert first.estimate is not None and first.estimate.n == 16


TASKS = ("advection", "burgers", "cfd_1d", "darcy_pdebench")


def four_tasks(gains):
    """Records of the PDEBench table in which MoNA gains so much on each of four tasks, under two seeds."""

    def value(arm, task, seed, overrides):
        return 0.4 - gains.get(task, 0.0) * (arm == "mona") + noise(arm, task, seed)

    records = records_of("mona-table-pdebench", "quick", value)
    return [r for r in records if r["task"] in TASKS and r["seed"] < 2]


def test_each_task_is_left_out_as_if_it_had_not_been_run():
    records = four_tasks({"advection": 0.3, "burgers": 0.01})
    whole = page_of.verdicts("mona-table-pdebench", "quick", Evidence(records))["generated"]
    for task in TASKS:
        rest = Evidence([r for r in records if r["task"] != task])
        without = page_of.verdicts("mona-table-pdebench", "quick", rest)["generated"]
        assert [dict(v.without)[task] for v in whole] == [v.outcome for v in without]
    assert whole[0].outcome == "supported"
    assert {task for tasks in whole[0].changed.values() for task in tasks} == {"advection"}
    text = markdown(page_of.build("mona-table-pdebench", "quick", Evidence(records)))
    assert f"no: {whole[0].without[0][1]} without advection" in text
    even = markdown(page_of.build("mona-table-pdebench", "quick", Evidence(four_tasks(dict.fromkeys(TASKS, 0.1)))))
    assert even.count("| yes |") == 3 and "3 would stand without any one of them" in even


def test_over_tasks_is_a_t_interval_of_the_task_means():
    gains = {"advection": 0.3, "burgers": 0.1, "cfd_1d": 0.1, "darcy_pdebench": -0.1}
    records = four_tasks(gains)
    first = page_of.verdicts("mona-table-pdebench", "quick", Evidence(records))["generated"][0]
    scores = {(r["method"], r["task"], r["seed"]): r["score"] for r in records}
    by_hand = [
        np.mean([200 * (b - a) / (a + b) for a, b in ((scores["mona", t, s], scores["vanilla", t, s]) for s in (0, 1))])
        for t in TASKS
    ]
    assert first.rule.against == "vanilla" and first.over_tasks is not None
    theirs = stats.ttest_1samp(by_hand, 0).confidence_interval(first.level)
    assert (first.over_tasks.low, first.over_tasks.high) == pytest.approx((theirs.low, theirs.high))
    assert first.over_tasks.claimed == ("advection", "burgers", "cfd_1d") and first.over_tasks.tasks == 4
    two = [r for r in records if r["task"] in TASKS[:2]]
    few = page_of.verdicts("mona-table-pdebench", "quick", Evidence(two))["generated"][0].over_tasks
    assert few is not None and few.low is None and few.tasks == 2
    one = page_of.verdicts("mona-table-pdebench", "quick", Evidence([r for r in two if r["task"] == TASKS[0]]))[
        "generated"
    ][0]
    assert one.without == () and one.over_tasks is None


def test_official_and_generated_records_are_judged_apart():
    def value(arm, task, seed, overrides):
        return 0.4 - 0.1 * (arm == "mona") + noise(arm, task, seed)

    both = records_of("mona-table-pdebench", "quick", value)
    both += records_of("mona-table-pdebench", "quick", lambda a, t, s, o: 0.4 + noise(a, t, s), origin="official")
    found = page_of.verdicts("mona-table-pdebench", "quick", Evidence(both))
    assert list(found) == ["official", "generated"]
    assert found["generated"][0].outcome == "supported"
    assert found["official"][0].outcome == "negligible"


def test_two_backbones_on_one_task_are_judged_apart():
    def value(arm, task, seed, overrides):
        return 0.4 + noise(arm, task, seed)

    both = records_of("mona-table-pdebench", "quick", value)
    both += records_of("mona-table-pdebench", "quick", value, backbone="roberta_base")
    found = page_of.verdicts("mona-table-pdebench", "quick", Evidence(both))
    assert set(found) == {"generated (minilm)", "generated (roberta_base)"}


def test_the_learning_rate_is_chosen_on_validation_and_not_on_test():
    def value(arm, task, seed, overrides):
        lr = overrides.get("trainer.lr")
        good_on_test = 0.1 if lr == 1e-3 else 0.4
        good_on_val = 0.1 if lr == 1e-4 else 0.4
        return {"score": good_on_test + noise(arm, seed), "val_score": good_on_val + noise(arm, seed)}

    _, part = only_part("tuned-baseline", value)
    assert {dict(r["overrides"])["trainer.lr"] for r in part.table["record"]} == {1e-4}
    assert part.table["score"].min() > 0.3


def test_a_learning_rate_that_diverges_is_not_chosen():
    def value(arm, task, seed, overrides):
        if overrides.get("trainer.lr") == 1e-3 and seed == 2:
            return {"score": None, "status": "diverged"}
        return 0.1 if overrides.get("trainer.lr") == 1e-3 else 0.4

    _, part = only_part("tuned-baseline", value)
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


def test_probe_errors_are_compared_in_points():
    def value(arm, task, seed, overrides):
        after = {"vanilla": 30.0, "mona": 20.0}.get(arm, 28.0) + 100 * noise(arm, task, seed)
        return {"score": 0.4, "analysis": probe_record(10.0, after), "data": VISION}

    found = decided("mona-figure-3", "quick", value)
    assert [v.outcome for v in found] == ["supported", "supported", "supported", "negligible"]
    first = found[0].estimate
    assert first is not None and first.effect == pytest.approx(20, abs=0.5) and found[0].unit == "points"


def test_discrepancy_against_probe_rise_is_a_correlation_over_tasks():
    tasks = studies.find("mona-figure-4").size("quick").tasks

    def value(arm, task, seed, overrides):
        d = 0.1 * tasks.index(task) + 0.3
        return {"score": 0.4, "analysis": probe_record(10.0, 10 + 20 * d, d), "data": VISION}

    found = decided("mona-figure-4", "quick", value)[0]
    assert found.unit == "ρ" and found.estimate is not None and found.estimate.n == len(tasks)
    assert found.outcome == "supported"


def test_alignment_loss_against_score_is_a_correlation_within_tasks():
    def value(arm, task, seed, overrides):
        return 0.4 + 0.01 * overrides.get("method.epochs", 0) + noise(arm, task, seed)

    def curves(record: Record) -> dict:
        rises = record["method"] == "orca"
        return {"stage1": [{"phase": "orca", "loss": 9.0}, {"phase": "orca", "loss": record["score"]}] if rises else []}

    study, part = only_part("orca-alignment", value, curves)
    found, panel = page_of.judge(study, part)[4], part.panel
    points, rules = correlation_figure(panel, found, part.table, 5), verdict_figure("x", page_of.judge(study, part))
    assert points is not None and rules is not None and "alignment_loss" not in points.svg()
    assert "end of stage 1 ↓" in points.svg() and "then logarithmic" in rules.svg()
    assert found.outcome == "supported" and found.estimate is not None and found.estimate.n == 18


def test_modality_limits_a_rule_to_its_tasks():
    def value(arm, task, seed, overrides):
        vision = task == "diffusion_reaction_2d"
        better = arm == "pretrained" and vision
        shape = {"data": VISION} if vision else {}
        inside = overrides.get("trainer.lr") == 5e-4
        return {"score": 0.4 - 0.1 * better - 0.1 * inside + noise(arm, task, seed), **shape}

    vision, text = decided("pretrained-or-scratch", "medium", value)
    assert vision.outcome == "supported" and text.outcome != "supported"
    assert vision.estimate is not None and text.estimate is not None
    assert (vision.estimate.n, text.estimate.n) == (6, 6) and abs(text.estimate.effect) < 1


def test_a_choice_at_the_edge_of_its_grid_decides_nothing():
    def best_at(rate):
        def value(arm, task, seed, overrides):
            gain = arm.startswith("mona") + (overrides.get("trainer.lr") == rate)
            return 0.4 - 0.1 * gain + noise(arm, task, seed)

        study, part = only_part("tuned-baseline", value)
        verdict = page_of.judge(study, part)[1]
        return verdict, page_of.tuning_table(study, part.panel, part.searched, page_of.at_edge(part.table, study))

    inside, chosen = best_at(5e-4)
    assert inside.outcome == "supported" and not any(cell.marks for _, cells in chosen.rows for cell in cells)
    edge, chosen = best_at(3e-2)
    assert edge.outcome == "undecided" and edge.estimate is not None and edge.estimate.effect > 0
    assert edge.reason == (
        "the choice of 'mona, tuned' on diffusion_reaction_2d and 'vanilla, tuned' on diffusion_reaction_2d "
        "lies at the edge of its grid"
    )
    assert all(cell.marks == ("edge",) for _, cells in chosen.rows for cell in cells)
