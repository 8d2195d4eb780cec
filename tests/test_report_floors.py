"""Floors on the page of a study: ridge of the same store beside the arms, in words, in marks, in no rank; price beside score."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bench import studies
from bench.cli.choosing import wanted
from bench.report.document.markdown import markdown
from bench.report.evidence import Evidence
from bench.report.figures.price import price_figure
from bench.report.figures.studies import trend_figure
from bench.report.floors import Standing, beside, sentences, standings
from bench.report.frame import Catalogue
from bench.report.pages import study as page_of
from bench.report.pages.build import build
from bench.report.tables.scores import score_table
from bench.selection import cells_of
from tests.record_factory import make_record
from tests.report_helpers import CATALOGUE, PDE, noise, one_panel, records_of
from tests.test_docs import parsed

NAME = "mona-table-pdebench"
RIDGE = {"method": "ridge", "seconds_stage1": 0.02, "seconds_stage2": 0.0}


def arms(*tasks, **more):
    found = records_of(
        NAME, "quick", lambda arm, task, seed, _: 0.4 - 0.1 * (arm == "mona") + noise(arm, task, seed), **more
    )
    return [r for r in found if not tasks or r["task"] in tasks]


def ridge(task="advection", seed=0, score=0.1, **more):
    return make_record(**RIDGE | {"task": task, "seed": seed, "score": score} | more)


def part_of(records):
    study = studies.find(NAME)
    (part,) = page_of.parts(study, "quick", page_of.observe(study, "quick", records, lambda r: {}), records)
    return part


def text_of(records):
    return markdown(page_of.build(NAME, "quick", Evidence(records)))


def test_ridge_stands_beside_the_arms_and_changes_neither_rank_nor_verdict():
    alone = arms()
    both = [*alone, *(ridge(seed=seed) for seed in (0, 1, 2)), ridge("burgers", score=0.35)]
    tables = [score_table(part_of(records).panel, Catalogue()) for records in (alone, both)]
    assert [label for label, _ in tables[1].rows][:2] == ["trivial predictor", "ridge"]
    assert tables[1].entry("ridge", "advection").n == 3 and tables[1].entry("ridge", "cfd_1d").text == "—"
    assert tables[1].entry("ridge", "avg. rank").value is None
    for row, _ in tables[0].rows[1:]:
        for column in ("avg. rank", "win rate"):
            assert tables[1].entry(row, column) == tables[0].entry(row, column)
        assert ("floor" in tables[1].entry(row, "advection").marks, tables[1].entry(row, "advection").best) == (
            True,
            False,
        )
        assert ("floor" in tables[1].entry(row, "burgers").marks) == (row != "mona")
    found = [page_of.verdicts(NAME, "quick", Evidence(records)) for records in (alone, both)]
    assert found[0] == found[1]
    text = text_of(both)
    assert "beats every arm on 1 of 2 tasks: advection.**" in text
    assert "The trivial predictor beats every arm on 0 of 8 tasks." in text
    assert "96 of 96 cells" in text


def test_where_ridge_was_not_run_the_page_says_the_command_that_runs_it(tmp_path):
    text = text_of([*arms("advection", "burgers"), *(ridge(seed=seed) for seed in (0, 1, 2))])
    (said,) = re.findall(r"Ridge has no record here on burgers; this makes them: `python -m bench (.*?)`", text)
    cells = cells_of(wanted(parsed(said)), tmp_path)
    assert {(c.task, c.method, c.seed, c.profile, c.protocol) for c in cells} == {
        ("burgers", "ridge", seed, "quick", "strict") for seed in (0, 1, 2)
    }
    made = [make_record(**{**RIDGE, **cell.key(), "profile": cell.profile}) for cell in cells]
    assert {r["seed"] for r in beside(made, arms("burgers"))} == {0, 1, 2}


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 7}, {"profile": "tiny"}, {"origin": "official"}, {"backbone": "roberta_base"}, {"code": {"task": "00"}},
        {"data": {"fingerprint": "other"}}, {"settings": {"data.limit": 30}}, {"overrides": {"method.largest": 8}},
        {"status": "failed", "score": None},
    ],
)  # fmt: skip
def test_ridge_of_something_else_is_no_floor(other):
    assert beside([ridge(**other)], arms("advection")) == []


def test_of_two_ridge_records_of_one_place_the_later_stands():
    old, new = (
        ridge(end="2026-01-01T00:00:00+00:00"),
        ridge(score=0.2, end="2026-01-02T00:00:00+00:00", overrides={"trainer.epochs": 60}),
    )
    assert beside([new, old], arms("advection")) == [new]


def test_a_method_is_measured_by_the_ridge_that_saw_as_many_labels():
    few, all_ = ({"data.limit": n} for n in (30, None))
    records = [
        ridge(score=0.5, overrides=few, settings=few), ridge(score=0.2, settings=all_),
        make_record(score=0.4, overrides=few, settings=few), make_record(score=0.3, settings=all_),
    ]  # fmt: skip
    panel = one_panel(records)
    marks = {row: "floor" in entries[1].marks for row, entries in score_table(panel, Catalogue()).rows}
    assert marks["vanilla"] and not marks["vanilla[data.limit=30]"]
    assert {(one.data, one.best, one.ridge) for one in standings(panel)} == {
        ("data.limit = 30", 0.4, 0.5),
        ("", 0.3, 0.2),
    }


@pytest.mark.parametrize(
    ("best", "trivial", "higher", "solved"),
    [
        (0.98, 1.0, False, False),  # 2.02 % of the mean of both
        (0.99, 1.0, False, True),
        (1.5, 1.0, False, True),
        (1.03, 1.0, True, False),
        (1.01, 1.0, True, True),
    ],
)
def test_a_task_is_solved_where_no_method_beats_a_floor_by_what_matters(best, trivial, higher, solved):
    floors = Standing("t", "", best, ridge=None, trivial=trivial, higher=higher).solved_by
    assert floors == (["the trivial predictor"] if solved else [])


def test_price_beside_score_has_a_mark_for_every_arm_and_says_the_machine():
    records = [*arms("advection", device="AMD EPYC, 2 cores"), ridge(score=0.001)]
    figure = price_figure(part_of(records).panel)
    assert figure is not None and "AMD EPYC, 2 cores" in figure.caption and "1 thread a cell" in figure.caption
    assert set(figure.data["row"]) == {"ridge", "vanilla", "embedder warm-up", "orca", "mona"}
    assert set(figure.data.loc[figure.data["row"] == "ridge", "seconds"]) == {0.02}
    assert set(figure.data.loc[figure.data["row"] == "mona", "seconds"]) == {40.0}
    svg = figure.svg()
    assert "training time [s]" in svg and "trivial predictor" in svg and "embedder warm-up" in svg
    assert "Score against price" in text_of(records)
    assert price_figure(one_panel([make_record(status="failed")])) is None


DECLARED = replace(CATALOGUE, suites={**CATALOGUE.suites, "evidence": ["ecg", "burgers"]})


def test_stand_ins_that_nobody_declared_stand_apart_and_in_no_rank():
    scores = {"advection": (0.1, 0.3), "darcy_pdebench": (0.4, 0.3), "ecg": (0.1, 0.3)}
    records = [
        make_record(task=task, method=method, score=score, origin=origin)
        for task, pair in scores.items()
        for method, score in zip(("ridge", "mona"), pair, strict=True)
        for origin in (("generated", "official") if task == "ecg" else ("generated",))
    ]
    page = build(Evidence(records), DECLARED)
    titles = [section.title for section in page.sections]
    (apart,) = [title for title in titles if "tests of the machinery" in title]
    assert titles.index(apart) == 1 + titles.index(apart.removesuffix(", tests of the machinery"))
    shown = {table.name: table for table in page.tables() if table.name.startswith("scores_")}
    assert set(shown) == {
        "scores_quick_quick_strict_official", "scores_quick_quick_strict_generated", "scores_quick_quick_strict_generated_machinery",
    }  # fmt: skip
    main, other = shown["scores_quick_quick_strict_generated"], shown["scores_quick_quick_strict_generated_machinery"]
    assert [c.title for c in main.columns] == ["price", "ecg", "avg. rank", "win rate"]
    assert [c.title for c in other.columns] == ["price", "advection", "darcy_pdebench"]
    assert main.attention == ("Attention: no method here beats a floor by 2 % on ecg (ridge).",)
    text = markdown(page)
    assert "worth transferring to (suite `evidence`): advection, darcy_pdebench." in text
    assert "beats a floor by 2 % on advection (ridge)." in text
    assert "Best average rank over 1 task" in text and "over 3 tasks" not in text


def test_a_study_judges_all_that_it_names_and_says_which_of_it_is_no_evidence():
    records = arms("advection", "burgers")
    plain, split = (page_of.build(NAME, "quick", Evidence(records), catalogue) for catalogue in (CATALOGUE, DECLARED))
    assert plain.tables()[0] == split.tables()[0], "the verdicts"
    assert [s.title for s in split.sections][2:4] == [
        "Evidence, generated data",
        "Tests of the machinery, generated data",
    ]
    assert "all tasks that the study names, advection included" in markdown(split)
    assert "declared worth" not in markdown(plain)
    everything = page_of.build(
        NAME, "quick", Evidence(records), replace(DECLARED, suites={"evidence": ["advection", "burgers"]})
    )
    assert markdown(everything) == markdown(plain), "nothing to set apart"


def test_the_suite_of_what_is_declared_names_no_other_panel():
    panel = one_panel(
        [make_record(task="ecg"), make_record(task="burgers")],
        replace(DECLARED, suites={"all": [*PDE, "ecg"], "evidence": ["ecg", "burgers"]}),
    )
    assert panel.suite == "all"


def test_along_the_number_of_labels_every_method_has_its_line_and_ridge_too():
    study = studies.find("few-shot")
    methods = {arm.name: arm.method for arm in study.arms}

    def value(arm, task, seed, overrides):
        score = 0.8 - 0.1 * (methods[arm] == "mona") + noise(arm, seed)
        return {"score": score, "settings": {"data.limit": overrides["data.limit"], "data.samples": 1300}}

    records = records_of("few-shot", "quick", value)
    task = records[0]["task"]
    for limit, score in ((1000, 0.9), (30, 0.5)):
        settings = {"data.limit": limit, "data.samples": 1300}
        records.append(ridge(task, score=score, profile="converged", settings=settings, overrides=settings))
    (part,) = page_of.parts(study, "quick", page_of.observe(study, "quick", records, lambda r: {}), records)
    assert part.panel.floors == ("ridge, data.limit = 30", "ridge, data.limit = 1000")
    said = list(sentences(part.panel, "results"))
    assert (
        f"**Ridge, a linear map of the raw input, beats every arm with data.limit = 30 on 1 of 1 task: {task}.**"
        in said
    )
    (missing,) = [text for text in said if "no record here with data.limit = 100 " in text]
    assert "--set data.limit=100 data.samples=1300" in missing
    figure = trend_figure(study, part.panel)
    assert figure is not None and "data.limit" in figure.svg()
    assert set(figure.data["method"]) == {*methods.values(), "ridge"}
    assert dict(figure.data[figure.data["method"] == "ridge"][["at", "score"]].to_numpy()) == {30: 0.5, 1000: 0.9}
    assert (figure.data.groupby(["method", "at"])["arm"].nunique() == 1).all()
