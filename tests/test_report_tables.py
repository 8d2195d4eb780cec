"""The tables of a report: golden texts, and every edge case that a store can hold.

After a wanted change of the layout: UPDATE_GOLDEN=1 python -m pytest tests/test_report_tables.py, then read the diff.
"""

import csv
import io
import os
from pathlib import Path

import pytest

from bench.report import points
from bench.report.document import table as render
from bench.report.document.latex import latex
from bench.report.frame import Catalogue, to_frame
from bench.report.tables import over_tasks
from bench.report.tables import scores as tables
from bench.report.tables.price import prices
from tests.record_factory import make_record
from tests.report_helpers import CATALOGUE, one_panel

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, text: str) -> None:
    """Compare with the file, or write it if asked to."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def records():
    """Three tasks of both directions, four methods; a missing method, failures, a cell that beats nothing, one seed."""
    out = []
    for seed in (0, 1, 2):
        for method, factor in (("mona", 1.0), ("vanilla", 1.25), ("linear", 2.0)):
            out.append(make_record(method=method, seed=seed, score=(0.2 + 0.01 * seed) * factor))
            darcy = {"task": "darcy_pdebench", "backbone": "swin_micro", "method": method, "seed": seed}
            failed = {"mona": "out_of_memory" if seed == 2 else "done", "linear": "diverged"}.get(method, "done")
            out.append(make_record(**darcy, status=failed, score=0.031 * factor + 0.0004 * seed))
        ecg = {"task": "ecg", "metric": "f1", "unit": "%", "higher_is_better": True}
        trivial = {"name": "majority class", "score": 22.5, "metrics": {}}
        out.append(make_record(**ecg, trivial=trivial, method="mona", seed=seed, score=60.0 + seed))
        out.append(make_record(**ecg, trivial=trivial, method="vanilla", seed=seed, score=61.0))
    out.append(make_record(**ecg, trivial=trivial, method="linear", score=20.0))
    out.append(make_record(method="orca", score=0.19))
    return out


@pytest.fixture(scope="module")
def panel():
    return one_panel(records())


@pytest.mark.parametrize(("suffix", "how"), [("md", render.markdown), ("csv", render.to_csv), ("tex", latex)])
def test_golden_scores(panel, suffix, how):
    golden(f"scores.{suffix}", how(tables.score_table(panel, CATALOGUE)))


@pytest.mark.parametrize("name", ["intervals", "pairs", "costs", "selection"])
def test_golden_other_tables(panel, name):
    make = over_tasks.pair_table if name == "pairs" else getattr(tables, f"{name.removesuffix('s')}_table")
    golden(f"{name}.md", render.markdown(make(panel)))


def test_golden_failures():
    golden("failures.md", render.markdown(tables.failure_table(to_frame(records()))))


def test_every_number_leads_to_its_records(panel):
    ids = {r["id"] for r in records()}
    for table in (
        tables.score_table(panel, CATALOGUE),
        tables.cost_table(panel),
        over_tasks.pair_table(panel),
        tables.selection_table(panel),
    ):
        for line in csv.DictReader(io.StringIO(render.to_csv(table))):
            if line["value"]:
                assert line["records"] and set(line["records"].split()) <= ids, (table.name, line)


def test_one_seed_has_no_spread_and_says_so(panel):
    cell = tables.score_table(panel, CATALOGUE).entry("orca", "advection")
    assert cell.text == "0.190 (n=1)" and cell.spread is None and cell.low is None
    assert tables.interval_table(panel).entry("orca", "advection").text == "n=1: none"


def test_the_trivial_predictor_is_the_first_row_and_marks_what_does_not_beat_it(panel):
    table = tables.score_table(panel, CATALOGUE)
    assert table.rows[0][0] == tables.TRIVIAL
    assert table.entry("linear", "ecg").marks == ("trivial",) and table.entry("mona", "ecg").marks == ()
    assert table.entry(tables.TRIVIAL, "ecg").value == 22.5


@pytest.mark.parametrize(
    ("change", "mark"),
    [({"score": 1.0}, "trivial"), ({"weights": "random, seed 0"}, "random")],
    ids=["a score equal to the trivial one does not beat it", "random weights"],
)
def test_what_a_score_rests_on_is_marked(change, mark):
    table = tables.score_table(one_panel([make_record(**change)]), CATALOGUE)
    assert table.entry("vanilla", "advection").marks == (mark,)


@pytest.mark.parametrize(("higher", "scores"), [(False, (0.2, 0.3, 0.1)), (True, (0.2, 0.1, 0.3))])
def test_ridge_is_the_first_method_and_marks_what_does_not_beat_it(higher, scores):
    trivial = {"name": "mean", "score": 0.0 if higher else 1.0, "metrics": {}}
    same = {"higher_is_better": higher, "trivial": trivial}
    methods = dict(zip(("ridge", "vanilla", "mona"), scores, strict=True)) | {"orca": scores[0]}
    table = tables.score_table(
        one_panel([make_record(**same, method=m, score=v) for m, v in methods.items()]), CATALOGUE
    )
    assert [name for name, _ in table.rows] == [tables.TRIVIAL, "ridge", "vanilla", "orca", "mona"]
    marked = {m: table.entry(m, "advection").marks for m in methods}
    assert marked == {"ridge": (), "vanilla": ("floor",), "mona": (), "orca": ("floor",)}
    assert any("ridge regression" in line for line in table.legend())


def test_best_follows_the_direction_side_by_side(panel):
    table = tables.score_table(panel, CATALOGUE)
    assert [c.higher_is_better for c in table.columns[1:4]] == [False, False, True]
    assert table.entry("orca", "advection").best and not table.entry("linear", "advection").best
    assert table.entry("mona", "ecg").best and table.entry("vanilla", "ecg").best  # a tie: both


def test_failures_are_words_and_never_averaged_away(panel):
    table = tables.score_table(panel, CATALOGUE)
    partly, wholly = table.entry("mona", "darcy_pdebench"), table.entry("linear", "darcy_pdebench")
    assert partly.n == 2 and partly.text.endswith("; 1 out of memory") and partly.marks == ("partial",)
    assert wholly.text == "3 diverged" and wholly.value is None and wholly.failures == {"diverged": 3}
    assert len(wholly.records) == 3


def test_a_method_missing_on_a_task_leaves_that_task_out_of_the_ranks(panel):
    assert points.matrix(panel).tasks == ("advection",)
    table = tables.score_table(panel, CATALOGUE)
    assert table.entry("orca", "ecg").text == "—"
    assert any("without darcy_pdebench, ecg, not run with every method" in note for note in table.notes)


def test_a_method_that_fails_everywhere_ranks_last_and_does_not_vanish():
    some = [make_record(method="mona"), make_record(method="vanilla", status="lost")]
    table = tables.score_table(one_panel(some), CATALOGUE)
    assert table.entry("vanilla", "avg. rank").value == 2.0 and table.entry("mona", "win rate").value == 100.0


def test_the_price_is_training_time_beside_that_of_naive_fine_tuning_on_the_same_tasks_and_device():
    cost = {"vanilla": (0.0, 10.0), "mona": (15.0, 10.0)}
    cells = [
        make_record(method=m, task=task, device=device, seconds_stage1=a * k, seconds_stage2=b * k)
        for m, (a, b) in cost.items()
        for task, device, k in (("advection", "cpu", 1), ("burgers", "gpu", 4))
    ]
    cells.append(make_record(method="orca", task="advection", device="gpu", seconds_stage1=0.0, seconds_stage2=3.0))
    cells.append(make_record(method="mona", task="burgers", seed=1, status="failed", device="gpu"))
    found = prices(one_panel(cells))
    assert {row: cell.text for row, cell in found.cells.items()} == {
        "vanilla": "1.0 × (25 s)", "mona": "2.5 × (62.5 s)", "orca": "3 s",
    }  # fmt: skip
    assert found.devices == ("cpu", "gpu") and "on cpu, gpu: vanilla: 1.0 × (25 s); " in found.sentence


def test_one_cell_needs_no_ranks():
    panel = one_panel([make_record()])
    table = tables.score_table(panel, CATALOGUE)
    assert [c.title for c in table.columns] == ["price", "advection"] and not table.entry("vanilla", "advection").best
    assert over_tasks.pair_table(panel) is None and tables.interval_table(panel) is None
    assert "Nothing to compare" in over_tasks.standing(panel)


def test_selection_shows_the_oracle_and_what_it_adds():
    some = [make_record(seed=s, score=0.3, score_last=0.32, score_best_test=0.25) for s in (0, 1)]
    table = tables.selection_table(one_panel(some))
    assert table.entry("advection: vanilla", "optimism").value == pytest.approx(0.05)
    assert table.entry("advection: vanilla", "last epoch").value == pytest.approx(0.32)
    lone = make_record(protocol="paper", score_best_val=None, score_best_test=None)
    assert tables.selection_table(one_panel([lone])) is None


def test_verdict_is_honest_about_what_n_allows(panel):
    text = over_tasks.standing(panel)
    assert "over 1 task:" in text and "with 3 tasks no p below 0.25 is possible" in text
    tasks = ["advection", "burgers", "darcy_pdebench", "t1", "t2", "t3", "t4", "t5"]
    some = [make_record(task=t, method=m, score=v) for t in tasks for m, v in (("mona", 0.1), ("vanilla", 0.2))]
    sure = one_panel(some, Catalogue(suites={"all": tasks}))
    assert "Told apart at 5 % (Wilcoxon, Holm): vanilla and mona (p = 0.00781)" in over_tasks.standing(sure)


def test_costs_count_failed_cells():
    some = [make_record(seed=0), make_record(seed=1, status="timeout", seconds_total=3600.0)]
    assert tables.cost_table(one_panel(some)).entry("vanilla", "device time").value == pytest.approx(3650 / 3600)


def test_a_record_without_times_is_no_zero_share():
    blank = dict.fromkeys(("seconds_data", "seconds_stage1", "seconds_stage2", "seconds_eval", "seconds_total"))
    table = tables.cost_table(one_panel([make_record(status="lost", **blank, peak_memory_host=None)]))
    assert table.entry("vanilla", "stage 2").text == "—" and table.entry("vanilla", "peak host memory").value is None
