"""Which cells share a table, which stand apart, and what is said of those that do."""

from bench.report.frame import panels, to_frame
from bench.report.tables import scores as tables
from tests.record_factory import make_record
from tests.report_helpers import CATALOGUE, one_panel


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


def test_arms_whose_last_epoch_is_the_best_in_most_runs_are_named_as_not_converged():
    def runs(method, *best, **changes):
        return [make_record(method=method, seed=s, epoch_best_val=b, **changes) for s, b in enumerate(best)]

    short = {"settings": {"trainer.epochs": 5, "trainer.budget_steps": 50}}
    cells = [*runs("mona", 5, 5, 2), *runs("vanilla", 4, 5), *runs("ridge", 0, 0), *runs("orca", 5, 5, **short)]
    cells += runs("scratch", 3, 3, epoch_best_val_at=1.0)  # what a record says itself comes first
    panel = one_panel(cells)
    (found,) = [text for text in tables.warnings(panel) if "not converged" in text]
    assert "not converged: scratch, mona. In most" in found
    assert found in tables.score_table(panel, CATALOGUE).attention
    costs = tables.cost_table(panel)
    assert [costs.entry(row, "best epoch at").text for row in ("mona", "vanilla", "scratch")] == ["80", "90", "100"]
    assert costs.entry("ridge", "best epoch at").value is None, "no stage 2"
    (orca,) = (row for row in panel.rows if row.startswith("orca"))
    assert costs.entry(orca, "best epoch at").value is None, "an old record does not say where its budget ended"


def test_arms_that_converged_are_not_warned_of():
    assert "not converged" not in " ".join(tables.warnings(one_panel([make_record(), make_record(seed=1)])))
