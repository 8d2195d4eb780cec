"""Figures by their data, not by pixels: what is drawn, what is left out, and what the SVG says."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG

from bench.report.document import table as render
from bench.report.figures import drawing
from bench.report.figures.analyses import PER_CLASS, analysis_figures
from bench.report.figures.curves import learning_curves
from bench.report.figures.ranking import cliques, ranking_figures, ticks
from bench.report.frame import METHOD_ORDER, Catalogue
from bench.report.tables import analyses
from tests.record_factory import make_analysis, make_arrays, make_curves, make_record
from tests.report_helpers import one_panel

TASKS = ["advection", "burgers", "cfd_1d", "ecg", "deepsea", "satellite"]
CATALOGUE = Catalogue(suites={"all": TASKS})


def panel_of(*records):
    return one_panel(records, CATALOGUE)


def analysed(methods=("vanilla", "mona"), tasks=("advection", "ecg"), seeds=(0, 1)):
    out = []
    for i, task in enumerate(tasks):
        for j, method in enumerate(methods):
            for seed in seeds:
                found = make_analysis(start=10.0 + i, step=2.0 + j + seed, d=0.2 + 0.3 * i + 0.05 * seed)
                out.append(make_record(task=task, method=method, seed=seed, score=0.2 + 0.1 * j, analysis=found))
    return out


def figures(panel, arrays_of=lambda record: make_arrays(seed=record["seed"])):
    return {d.name.split("_")[0]: d for d in analysis_figures(panel, arrays_of)}


def test_learning_curves_hold_every_point_of_every_cell():
    records = [make_record(seed=s) for s in (0, 1)]
    made = learning_curves(panel_of(*records), lambda record: make_curves(4))
    expected = [[s, e, 0.9 / e] for s in (0, 1) for e in (1, 2, 3, 4)]
    assert made.data[["seed", "epoch", "score"]].to_numpy().tolist() == expected
    assert set(made.data["record"]) == {r["id"] for r in records} and set(made.data["split"]) == {"val"}


def test_learning_curves_under_the_paper_protocol_show_the_test_set_and_say_so():
    made = learning_curves(panel_of(make_record(protocol="paper")), lambda record: make_curves(3, val=False, test=True))
    assert set(made.data["split"]) == {"test"} and "Score on the test split" in made.caption
    assert "on test" in made.svg()


def test_no_curves_no_figure():
    assert learning_curves(panel_of(make_record()), lambda record: {}) is None


def test_axes_carry_metric_unit_and_direction():
    record = make_record(task="ecg", metric="f1", unit="%", higher_is_better=True, score=60.0)
    svg = learning_curves(panel_of(record), lambda r: make_curves()).svg()
    assert "f1 [%] ↑" in svg and "on validation" in svg and "epoch of stage 2" in svg and "trivial predictor" in svg


def test_probe_figure_has_the_pretrained_reference_and_every_epoch():
    made = figures(panel_of(*analysed()))["probe"]
    mona = made.data.query("task == 'ecg' and row == 'mona' and seed == 1")
    assert mona["epoch"].tolist() == [0, 1, 5] and mona["error"].tolist() == [11.0, 15.0, 19.0]
    assert (mona["pretrained_error"] == 11.0).all() and mona["low"].tolist() == [9.0, 13.0, 17.0]
    svg = made.svg()
    assert "pretrained body" in svg and "probe error [%] ↓" in svg and "on digits" in svg


def test_probe_drop_and_score_figures_use_the_last_epoch():
    made = figures(panel_of(*analysed()))
    drop = made["drop"].data.set_index(["task", "row", "seed"])
    assert drop.loc[("ecg", "mona", 1), "drop"] == pytest.approx(8.0)
    assert drop.loc[("ecg", "mona", 1), "unnormalised"] == pytest.approx(0.55)
    assert "Spearman" in made["drop"].caption and "over 8 points" in made["drop"].caption
    score = made["score"].data.set_index(["task", "row", "seed"])
    assert score.loc[("ecg", "mona", 1), ["error", "score"]].tolist() == [19.0, pytest.approx(0.3)]


def test_few_points_get_no_correlation():
    made = figures(panel_of(*analysed(methods=("mona",), seeds=(0,))))
    assert "2 points are too few" in made["drop"].caption


def test_tsne_shows_the_lowest_seed_with_at_most_so_many_points_per_class():
    panel = panel_of(*analysed())
    made = figures(panel, lambda record: make_arrays(n=300, seed=record["seed"]))["tsne"]
    assert set(made.data["seed"]) == {0}
    sizes = made.data.groupby(["record", "body", "class"]).size()
    assert (sizes == PER_CLASS).all() and len(sizes) == 4 * 2 * 3
    arrays = make_arrays(n=300, seed=0)
    first = made.data[(made.data["body"] == "last") & (made.data["class"] == "one")].iloc[0]
    assert [first["x"], first["y"]] == pytest.approx(arrays["tsne_last"][1].tolist())


def test_tsne_of_cells_without_arrays_is_left_out():
    assert "tsne" not in figures(panel_of(*analysed()), lambda record: {})


def test_discrepancy_bars_and_tables():
    panel = panel_of(*analysed())
    made = figures(panel)["discrepancy"]
    assert made.data.query("task == 'ecg' and seed == 0")["unnormalised"].tolist() == pytest.approx([0.5, 0.5])
    table = analyses.discrepancy_table(panel)
    assert table.entry("ecg: mona", "D").value == pytest.approx(0.525) and table.entry("ecg: mona", "D").n == 2
    pairing = analyses.pairing_table(panel)
    assert (
        pairing.entry("advection: low", "mona").text == "zero" and pairing.entry("ecg: high", "vanilla").text == "two"
    )
    similarity = analyses.similarity_table(panel)
    assert similarity.entry("ecg: mona", "CKA").value == pytest.approx(0.8)
    assert all(line for t in (table, pairing, similarity) for line in render.to_csv(t).splitlines())


def test_probe_table_has_the_interval_of_one_seed_and_the_spread_of_several():
    one = analyses.probe_table(panel_of(*analysed(seeds=(0,))))
    cell = one.entry("ecg: mona", "epoch 5")
    assert cell.text == "17.0 [15.0, 19.0]" and (cell.low, cell.high, cell.n) == (15.0, 19.0, 1)
    assert one.entry("ecg: mona", "pretrained").text == "11.0" and len(cell.records) == 1
    two = analyses.probe_table(panel_of(*analysed())).entry("ecg: mona", "epoch 5")
    assert two.text == "18.0 ± 1.4 (2)" and len(two.records) == 2


def test_probe_table_leaves_epochs_empty_that_a_cell_did_not_keep():
    kept = [make_record(method=m, analysis=make_analysis(epochs=e)) for m, e in (("mona", (0, 2)), ("orca", (0, 5)))]
    table = analyses.probe_table(panel_of(*kept))
    assert [c.title for c in table.columns] == ["pretrained", "epoch 0", "epoch 2", "epoch 5"]
    assert (
        table.entry("advection: mona", "epoch 5").text == "—" and table.entry("advection: orca", "epoch 5").value == 14
    )


def test_movement_by_block_keeps_the_order_of_the_body():
    moved = {"layers.0.blocks.0": 0.1, "layers.1.downsample": 0.3, "norm": 0.0, "all": 0.2}
    found = make_analysis()
    found["similarity"]["movement"] = moved
    made = figures(panel_of(*(make_record(seed=s, analysis=found) for s in (0, 1))))["movement"]
    assert made.data.groupby("seed")["block"].agg(list).tolist() == [list(moved)] * 2
    assert made.data["movement"].tolist() == [*moved.values()] * 2 and made.data["record"].nunique() == 2
    svg = made.svg()
    assert all(text in svg for text in ("0.0", "1.down", "norm", "all", "weight movement", "(no unit)"))


def test_names_of_tasks_that_lie_together_do_not_cover_each_other():
    near = [make_record(task=t, analysis=make_analysis(d=0.5)) for t in TASKS]
    svg = figures(panel_of(*near))["drop"].svg()
    places = [float(re.search(rf'y="([0-9.]+)"[^>]*>{task}<', svg)[1]) for task in TASKS]
    assert min(b - a for a, b in itertools.pairwise(sorted(places))) > 8  # points: the height of the text


@pytest.mark.slow
def test_long_names_leave_the_axes_their_room():
    import warnings

    methods = [f"a_method_with_a_name_{i}-trainer.lr-0.0001-trainer.epochs-60" for i in range(18)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where a legend leaves an axis no room
        for made in figures(panel_of(*analysed(methods=methods, seeds=(0,)))).values():
            made.svg()


def test_ticks_of_a_profile_are_round_and_apart():
    assert ticks(1.6) == [1, 1.1, 1.2, 1.5] and ticks(4) == [1, 1.2, 1.5, 2, 3] and ticks(1.05) == [1]


def test_skipped_and_missing_analyses_make_no_figures_and_no_tables():
    skipped = {name: {"skipped": "no encoder"} for name in ("probe", "tsne", "discrepancy", "similarity")}
    panel = panel_of(make_record(analysis=skipped), make_record(seed=1), make_record(seed=2, status="lost"))
    assert figures(panel) == {}
    for make in (analyses.probe_table, analyses.discrepancy_table, analyses.pairing_table, analyses.similarity_table):
        assert make(panel) is None


# -- comparisons over tasks ------------------------------------------------------------------------------------------


def compared(tasks, methods=("linear", "vanilla", "mona")):
    return panel_of(*(make_record(task=t, method=m, score=0.5 - 0.1 * i) for t in tasks for i, m in enumerate(methods)))


def test_ranking_figures_only_where_n_allows():
    assert ranking_figures(compared(TASKS[:2])) == []
    assert [d.name.split("_")[0] for d in ranking_figures(compared(TASKS[:3]))] == ["profile"]
    assert [d.name.split("_")[0] for d in ranking_figures(compared(TASKS))] == ["critical", "profile"]
    assert ranking_figures(compared(TASKS, methods=("mona",))) == []


def test_critical_difference_data():
    made = ranking_figures(compared(TASKS))[0]
    assert made.data["average_rank"].tolist() == [3.0, 2.0, 1.0]
    assert made.data["critical_difference"].iloc[0] == pytest.approx(2.343 * np.sqrt(12 / 36), rel=1e-3)
    assert "linear (3.00)" in made.svg()


def test_profile_data():
    data = ranking_figures(compared(TASKS))[1].data
    best = data[data["row"] == "mona"]
    assert best["share"].tolist() == [1.0] * len(best)
    worst = data[data["row"] == "linear"]
    assert worst["tau"].tolist()[:2] == [1.0, pytest.approx(5 / 3)] and worst["share"].tolist()[:2] == [0.0, 1.0]
    assert all(records for records in data["records"])


def test_cliques_are_the_maximal_runs():
    assert cliques(np.array([1.0, 1.5, 2.0, 3.5]), 0.8) == [(0, 1), (1, 2)]
    assert cliques(np.array([3.0, 1.0, 2.0]), 5.0) == [(0, 2)]
    assert cliques(np.array([1.0, 2.0, 3.0]), 0.5) == []


# -- how they look ---------------------------------------------------------------------------------------------------


def arms_of(*arms):
    """A panel with one row for each (method, overrides)."""
    return panel_of(*(make_record(method=m, overrides=o) for m, o in arms))


def test_arms_differ_in_colour_and_also_in_marker_or_line():
    variants = [("mona", {"method.lambda_": float(i)}) for i in range(20)]
    looks = list(drawing.looks(arms_of(*((m, {}) for m in [*METHOD_ORDER, "plugin"]), *variants)).values())
    assert len({look.colour for look in looks}) == len(looks) == len(METHOD_ORDER) + 21
    assert len({(look.marker, str(look.line)) for look in looks}) == len(looks)
    plain = looks[: len(METHOD_ORDER)]
    assert len({look.marker for look in plain}) == len(plain)


def test_an_arm_has_one_colour_on_every_page():
    variant, other = ("mona", {"method.lambda_": 0.0}), ("mona", {"method.lambda_": 2.0})
    one, two = drawing.looks(arms_of(("mona", {}), variant)), drawing.looks(arms_of(("vanilla", {}), other, variant))
    assert one["mona[lambda_=0.0]"].colour == two["mona[lambda_=0.0]"].colour != two["mona[lambda_=2.0]"].colour
    alone = drawing.looks(arms_of(("mona", {})))["mona"]
    assert alone == one["mona"] and alone.colour == drawing.COLOURS["mona"]


def test_the_axis_of_epochs_is_to_scale():
    axis = figures(panel_of(*analysed()))["probe"].draw().axes[0]
    for bars in axis.containers:
        assert np.diff(bars.lines[0].get_xdata()) == pytest.approx([1, 4])  # epochs 0, 1, 5


def labels_apart(axis):
    """Whether no label of the vertical axis covers another, as drawn."""
    FigureCanvasSVG(axis.figure).draw()
    boxes = [label.get_window_extent() for label in axis.get_yticklabels() if label.get_text()]
    boxes = [box for box in boxes if axis.bbox.y0 - 1 <= (box.y0 + box.y1) / 2 <= axis.bbox.y1 + 1]
    return len(boxes) > 1 and all(a.y1 <= b.y0 or b.y1 <= a.y0 for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize("low", [0.02, 1e-8])
def test_a_logarithmic_axis_has_several_labels_that_stand_apart(low):
    curves = {"stage2": [{"epoch": e, "val": v} for e, v in enumerate((0.8, 0.1, low), 1)]}
    made = learning_curves(panel_of(make_record()), lambda record: curves)
    assert labels_apart(made.draw().axes[0])


@pytest.mark.slow
def test_every_figure_is_drawn_and_saved_with_its_data(tmp_path):
    panel = panel_of(*analysed(tasks=TASKS[:5], methods=("linear", "vanilla", "mona")))
    made = [*figures(panel).values(), *ranking_figures(panel), learning_curves(panel, lambda record: make_curves())]
    assert len(made) == 9
    for figure in made:
        figure.save(tmp_path)
        saved = pd.read_csv(tmp_path / f"{figure.name}.csv")
        assert len(saved) == len(figure.data) and list(saved.columns) == list(figure.data.columns)
        assert {"record", "records"} & set(saved.columns)
        svg = (tmp_path / f"{figure.name}.svg").read_text()
        assert svg.startswith("<?xml") and svg == figure.svg() and len(svg) < 3e6


def test_inline_svg_has_unique_ids_and_follows_the_theme():
    made = learning_curves(panel_of(make_record()), lambda record: make_curves())
    text = drawing.inline(made.svg(), "one", "A title")
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert ids and all(i.startswith("one-") for i in ids)
    used = re.findall(r'xlink:href="#([^"]+)"|url\(#([^)]+)\)', text)
    assert used and {a or b for a, b in used} <= set(ids)
    assert "var(--ink)" in text and drawing.INK not in text and 'aria-label="A title"' in text
