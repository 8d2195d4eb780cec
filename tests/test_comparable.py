"""The rule of comparability where people meet it: what is averaged, what shares a table, and what the page says else."""

from __future__ import annotations

import pytest

from bench.records import comparable
from bench.report.document.markdown import markdown
from bench.report.evidence import Evidence
from bench.report.frame import Catalogue, panels, to_frame
from bench.report.pages import build
from bench.report.pages.compare import compare
from bench.report.tables import scores as tables
from tests.record_factory import make_record

CATALOGUE = Catalogue()
OTHERS = {
    "data": {"data": {**make_record()["data"], "fingerprint": "0123456789"}},
    "code of the task": {"code": {"task": "01234567", "method": "ef" * 32}},
    "precision": {"precision": "bf16"},
    "weights of the backbone": {"body": {"sha256": "01234567", "parameters": 800}},
}


def parts(*records):
    return panels(to_frame(records), CATALOGUE)


@pytest.mark.parametrize("aspect", OTHERS)
def test_seeds_that_are_not_comparable_are_neither_averaged_nor_in_one_table(aspect):
    same = [make_record(seed=s, score=0.2) for s in (0, 1)]
    other = make_record(seed=2, score=0.8, **OTHERS[aspect])
    main, apart = parts(*same, other)
    assert tables.score_table(main, CATALOGUE).entry("vanilla", "advection").value == 0.2
    assert tables.score_table(apart, CATALOGUE).entry("vanilla", "advection").value == 0.8
    assert main.name != apart.name and "set apart 1" in build.heading(apart)
    for panel in (main, apart):
        said = [note for note in tables.score_table(panel, CATALOGUE).attention if "Attention: advection" in note]
        assert len(said) == 1 and aspect in said[0], said


def test_methods_that_are_not_comparable_are_ranked_apart():
    main, apart = parts(make_record(), make_record(method="mona"), make_record(method="orca", **OTHERS["precision"]))
    assert (main.rows, apart.rows) == (("vanilla", "mona"), ("orca",))
    page = markdown(build.build(Evidence([r for p in (main, apart) for r in p.cells["record"]])))
    assert "precision bf16 instead of fp32" in page and "set apart 1" in page


def test_a_task_that_is_comparable_stays_in_the_main_table():
    other = make_record(seed=1, **OTHERS["data"])
    main, apart = parts(make_record(), other, make_record(task="ecg"), make_record(task="ecg", seed=1))
    assert (main.tasks, apart.tasks) == (("advection", "ecg"), ("advection",))


def test_a_row_holds_one_version_of_its_method():
    code = {**make_record()["code"], "method": "0123456789"}
    (panel,) = parts(make_record(), make_record(seed=1, code=code))
    assert panel.rows == ("vanilla[code=01234567]", "vanilla[code=efefefef]")


def test_seeds_aligned_to_other_source_data_are_not_averaged_and_none_is_no_difference():
    def source(seed, name):
        return make_record(method="orca", seed=seed, source={"name": name, "fingerprint": name} if name else {})

    (panel,) = parts(source(0, "digits"), source(1, "cifar10"))
    assert set(panel.rows) == {"orca[source=cifar10]", "orca[source=digits]"}
    (panel,) = parts(source(0, "digits"), source(1, None))
    assert panel.rows == ("orca",)


def test_random_weights_fit_any_body_and_a_failure_fits_any_data():
    random = make_record(method="scratch", weights="random, seed 0")
    failed = make_record(method="mona", status="failed", score=None, data={}, weights=None, precision=None)
    (panel,) = parts(make_record(), random, failed)
    assert set(panel.rows) == {"vanilla", "scratch", "mona"}


def test_another_body_of_the_same_name_is_told_by_its_size_even_without_pretrained_weights():
    small = {"sha256": None, "parameters": 800}
    big = {"sha256": None, "parameters": 1600}
    some = [make_record(seed=s, weights=f"random, seed {s}", body=b) for s, b in enumerate((small, small, big))]
    main, apart = parts(*some)
    assert (len(main.cells), len(apart.cells)) == (2, 1)
    assert "1,600 parameters" in " ".join(tables.warnings(main))


def test_what_a_record_of_old_does_not_say_is_not_taken_for_the_same():
    old = make_record(seed=1, precision=None)
    main, _ = parts(make_record(), make_record(seed=2), old)
    assert f"precision {comparable.NOT_RECORDED} instead of fp32" in " ".join(tables.warnings(main))


def test_records_of_schema_1_say_their_weights_in_words():
    said = "pretrained: all-MiniLM-L6-v2, sha256 51fd230027f2"
    old = make_record(weights=said, schema=1)
    size = old["parameters"]["encoder"]
    new = make_record(seed=1, weights=said, body={"sha256": "51fd230027f2" + "0" * 52, "parameters": size})
    assert len(parts(old, new)) == 1


def test_threads_are_said():
    (panel,) = parts(make_record(threads=1), make_record(seed=1, threads=2))
    assert "run with 2 numbers of CPU threads: 1 (1), 2 (1)" in " ".join(tables.warnings(panel))


def test_two_stores_say_what_else_differs():
    page = markdown(compare([make_record()], [make_record(**OTHERS["precision"])], ("a", "b")))
    assert "precision (fp32 / bf16)" in page
    assert "fp32 /" not in markdown(compare([make_record()], [make_record()], ("a", "b")))
