"""The tables of a report: golden texts, and every edge case that a store can hold.

After a wanted change of the layout: UPDATE_GOLDEN=1 python -m pytest tests/test_report_tables.py, then read the diff.
"""

import csv
import io
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.report import points
from bench.report.document import table as render
from bench.report.document.html import to_html
from bench.report.document.latex import latex
from bench.report.document.page import Page, Section
from bench.report.document.table import Column, Entry, Table
from bench.report.frame import Catalogue, panels, to_frame
from bench.report.tables import over_tasks
from bench.report.tables import scores as tables
from bench.report.tables.price import prices
from tests.record_factory import make_record

GOLDEN = Path(__file__).parent / "golden"
CATALOGUE = Catalogue(
    suites={"pdebench": ["advection", "burgers", "darcy_pdebench"], "quick": ["advection", "darcy_pdebench", "ecg"]},
    backbones={"advection": "roberta_base", "darcy_pdebench": "swin_base", "ecg": "roberta_base"},
)


def in_html(table):
    """A table as it stands in the page."""
    return to_html(Page("", (), (Section("", (table,)),), 0), {})


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


def one_panel(some, catalogue=CATALOGUE):
    (panel,) = panels(to_frame(some), catalogue)
    return panel


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


def test_a_score_equal_to_the_trivial_one_does_not_beat_it():
    assert tables.score_table(one_panel([make_record(score=1.0)]), CATALOGUE).entry("vanilla", "advection").marks == (
        "trivial",
    )


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


def test_attention_stands_before_the_rows():
    notes = {"target_nearly_constant": 0.9}
    table = tables.score_table(one_panel([make_record(data={"notes": notes})]), CATALOGUE)
    assert len(table.attention) == 1
    for text, start in (
        (render.markdown(table), "| method"),
        (in_html(table), "<table"),
        (latex(table), "\\begin{tabular}"),
    ):
        assert 0 <= text.index("nearly constant fields") < text.index(start)


def test_one_cell_needs_no_ranks():
    panel = one_panel([make_record()])
    table = tables.score_table(panel, CATALOGUE)
    assert [c.title for c in table.columns] == ["price", "advection"] and not table.entry("vanilla", "advection").best
    assert over_tasks.pair_table(panel) is None and tables.interval_table(panel) is None
    assert "Nothing to compare" in over_tasks.standing(panel)


def test_two_origins_protocols_or_profiles_never_share_a_column():
    some = [
        make_record(origin=origin, protocol=protocol, profile=profile)
        for origin in ("official", "generated")
        for protocol in ("strict", "paper")
        for profile in ("published", "quick")
    ]
    found = panels(to_frame(some), CATALOGUE)
    assert len(found) == 8 and all(len(p.cells) == 1 for p in found)
    assert len({tables.score_table(p, CATALOGUE).name for p in found}) == 8
    assert [p.origin for p in found] == ["official"] * 4 + ["generated"] * 4


def test_two_backbones_of_one_task_get_panels_of_their_own():
    some = [make_record(backbone=b, task="darcy_pdebench") for b in ("swin_micro", "swin_base")] + [make_record()]
    assert [p.backbone for p in panels(to_frame(some), CATALOGUE)] == ["minilm", "swin_base", "swin_micro"]


def test_one_backbone_per_task_shares_a_table_that_names_stand_ins():
    panel = one_panel([make_record(), make_record(task="darcy_pdebench", backbone="swin_base")])
    text = " ".join(tables.shared_by_all(panel, CATALOGUE))
    assert "minilm (stand-in for roberta_base) on advection" in text and "swin_base on darcy_pdebench" in text


def test_two_metrics_never_share_a_column():
    panel = one_panel([make_record(), make_record(seed=1, metric="rmse")])
    assert set(panel.tasks) == {"advection (nrmse)", "advection (rmse)"}


def test_suites_order_their_tasks_and_hold_all_of_them():
    tasks = ["burgers", "advection", "darcy_pdebench"]
    panel = one_panel([make_record(task=t) for t in tasks])
    assert (panel.suite, panel.tasks) == ("pdebench", ("advection", "burgers", "darcy_pdebench"))
    assert one_panel([make_record(), make_record(task="ecg")]).suite == "quick"
    assert [p.suite for p in panels(to_frame([make_record(), make_record(task="ecg")]), CATALOGUE, ["pdebench"])] == [
        "pdebench"
    ]
    assert one_panel([make_record(task="plugin")]).suite == "other"


def test_variants_of_a_method_are_rows_of_their_own():
    some = [
        make_record(method="mona"),
        make_record(method="mona", overrides={"method.lambda_": 0}),
        make_record(method="mona", overrides={"method.lambda_": 0, "trainer.lr": 0.001}),
    ]
    assert one_panel(some).rows == ("mona", "mona[lambda_=0]", "mona[lambda_=0,trainer.lr=0.001]")


def test_overrides_that_all_cells_share_are_said_once_below_the_table():
    some = [make_record(seed=s, overrides={"trainer.epochs": 3}) for s in (0, 1)]
    panel = one_panel(some)
    assert panel.rows == ("vanilla",) and panel.shared == {"trainer.epochs": 3}
    assert "trainer.epochs = 3" in " ".join(tables.shared_by_all(panel, CATALOGUE))


def test_seeds_run_with_different_settings_are_not_averaged():
    other = make_record(seed=1, settings={"trainer.lr": 3e-4, "trainer.epochs": 5, "trainer.batch_size": 32})
    panel = one_panel([make_record(seed=0), other])
    assert panel.rows == ("vanilla[trainer.lr=0.0001]", "vanilla[trainer.lr=0.0003]")


def test_several_versions_of_a_package_are_said_and_whether_they_go_with_the_methods():
    def notes(*versions):
        cells = [make_record(method=m, seed=s, packages={"python": "3.11.7", "torch": v}) for m, s, v in versions]
        return " ".join(tables.warnings(one_panel(cells)))

    same = notes(("mona", 0, "2.14.1"), ("mona", 1, "2.15.0"), ("orca", 0, "2.14.1"), ("orca", 1, "2.15.0"))
    assert "run with 2 versions of torch: 2.14.1 (2), 2.15.0 (2)." in same and "python" not in same
    apart = notes(("mona", 0, "2.14.1"), ("orca", 0, "2.15.0"))
    assert "2.14.1 (1), 2.15.0 (1); not every method with every one" in apart
    assert "versions" not in notes(("mona", 0, "2.15.0"), ("orca", 0, "2.15.0"))


def test_random_weights_are_marked():
    cell = tables.score_table(one_panel([make_record(weights="random, seed 0")]), CATALOGUE).entry(
        "vanilla", "advection"
    )
    assert cell.marks == ("random",)


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


@pytest.mark.parametrize(
    ("values", "places"),
    [([0.5], 3), ([12.3, 99.0], 1), ([1234.5], 0), ([2e-4, 0.5], 5), ([1e-9], None), ([], 2), ([0.0], 2)],
)
def test_decimals_keep_three_digits_of_the_smallest(values, places):
    assert render.decimals(values) == places


def test_special_characters_stay_text_in_every_format():
    nasty = "a|b_c<d>&%$#{~^\\"
    table = Table(
        "t", nasty, nasty, (Column(nasty, "µm"),), ((nasty, (Entry(nasty, marks=("secondary",)),)),), (nasty,)
    )
    text = render.markdown(table)
    assert text.count("a\\|b") == 5 and text.count("\\<d>") == 5 and " <d>" not in text
    tex = latex(table)
    assert (
        r"a{\textbar}b\_c\ensuremath{<}d\ensuremath{>}\&\%\$\#\{{\textasciitilde}{\textasciicircum}{\textbackslash}"
        in tex
    )
    assert "<d>" not in in_html(table) and "&lt;d&gt;" in in_html(table)


def test_a_cell_says_the_level_of_its_interval_and_long_text_may_break():
    cells = (Entry("-0.10 %", -0.1, low=-0.2, high=0.0, level=0.99, records=("r",)), Entry("word " * 20), Entry("word"))
    columns = (Column("effect"), Column("because", text=True), Column("verdict", text=True))
    page = in_html(Table("t", "", "", columns, (("x", cells),)))
    assert "99 % interval -0.2 to 0" in page
    assert page.count('class="t long"') == 1 and page.count('<td class="t" ') == 1


def test_latex_knows_every_letter_that_this_project_writes():
    """None of them becomes the question mark that stands for letters without a name in LaTeX."""
    root = Path(__file__).parent.parent
    files = [
        *(root / "bench" / "studies").glob("*.toml"),
        *(root / "bench" / "report").rglob("*.py"),
        *(root / "tasks").rglob("*.py"),
    ]
    text = "".join(sorted(set("".join(path.read_text() for path in files))))
    table = Table("t", text, "", (Column(text),), ((text, (Entry(text),)),), (text,))
    assert latex(table).isascii() and r"\bfseries ?" not in latex(table)


@pytest.mark.skipif(
    shutil.which("pdflatex") is None and not os.environ.get("BENCH_REQUIRE_TEX"),
    reason="no pdflatex here (with BENCH_REQUIRE_TEX its absence is an error)",
)
def test_latex_compiles(tmp_path):
    greek = "日\x1b é◊αβγδεζηθικλμνξπρστυφχψωΓΔΘΛΞΠΣΥΦΨΩ ≠ √ ∞ · ½ ‖ ² ³ µ ₀₉ ± ↑ ↓ × → − ≤ ≥ — – Å | < > & % $ # _ { } ~ ^ \\"
    table = Table(
        "t", greek, greek, (Column(greek, greek),), ((greek, (Entry(greek, marks=tuple(render.MARKS)),)),), (greek,)
    )
    start = r"\documentclass{article}\usepackage{booktabs}\begin{document}"
    (tmp_path / "page.tex").write_text(start + latex(table) + r"\end{document}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="1 entries for 2 columns"):
        Table("t", "", "", (Column("a"), Column("b")), (("x", (Entry(),)),))


def test_what_a_reader_warned_of_stands_under_the_table():
    plain = make_record(method="mona")["data"]
    assert not [text for text in tables.warnings(one_panel([make_record(method="mona")])) if "data of" in text]
    said = {
        "notes": {"warnings": ["x runs over (-1, 1)"], "target_nearly_constant": 1.0},
        "verification": {"1D/a.hdf5": "differs: 3 bytes, published are 4", "1D/b.hdf5": "not verified"},
    }
    found = tables.warnings(one_panel([make_record(method=m, data=plain | said) for m in ("mona", "vanilla")]))
    assert found == [
        "Attention: data of advection: x runs over (-1, 1).",
        "Attention: 1D/a.hdf5 is not the published file (differs: 3 bytes, published are 4).",
        "Attention: 100% of the test targets of advection are nearly constant fields; a score says little more than how "
        "well a mean is predicted, so read it beside the trivial predictor's.",
    ]
