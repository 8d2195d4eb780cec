"""`bench export` to trackers and to the shared format: what a store holds is read back from what each of them wrote."""

from __future__ import annotations

import json
import re
import struct
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.errors import Exit
from bench.records.trackers import TRACKERS
from tests.record_factory import make_curves, make_record, make_store

MODULES = {"tensorboard": "tensorboard.summary", "mlflow": "mlflow", "wandb": "wandb"}
STAGE1 = {"phase": "mona warm-up", "epoch": 1, "seconds": 2.0, "loss": 0.7}
"""A phase whose name has a space, which not every tracker takes."""


@pytest.fixture
def store(tmp_path):
    """A finished cell of three epochs with a stage 1, and one that diverged."""
    curves = make_curves(3) | {"stage1": [STAGE1, {**STAGE1, "loss": None}]}
    return make_store(tmp_path / "results", make_record(), make_record(seed=1, status="diverged"), curves=curves)


def export(store, form, out, *options):
    return cli.main(["export", "--results-dir", str(store.folder), "--format", form, "--out", str(out), *options])


def names(store):
    return {store.stem(record) for record in store.scan()[0]}


def test_tensorboard_has_the_curves_the_scores_and_when_they_were_made(store, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.util.tensor_util import make_ndarray

    assert export(store, "tensorboard", tmp_path / "tb") == Exit.OK
    assert {path.name for path in (tmp_path / "tb").iterdir()} == names(store)
    done = next(record for record in store.scan()[0] if record["status"] == "done")
    events = reader.EventAccumulator(str(tmp_path / "tb" / store.stem(done)))
    events.Reload()
    losses = [(e.step, make_ndarray(e.tensor_proto).item()) for e in events.Tensors("stage2/loss")]
    assert losses == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert [e.step for e in events.Tensors("stage1/mona_warm-up/loss")] == [1], "what was not finite has no point"
    assert make_ndarray(events.Tensors("test/nrmse")[0].tensor_proto).item() == 0.25
    times = [e.wall_time for e in events.Tensors("stage2/loss")]
    assert times == [pytest.approx(1767225600 + 4 + 0.5 * k) for k in (1, 2, 3)], "after both epochs of stage 1"


@pytest.mark.slow
def test_mlflow_has_runs_with_settings_curves_and_how_they_ended(store, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    assert export(store, "mlflow", tmp_path / "ml") == Exit.OK
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'ml' / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'cross-modality-bench'")
    runs = {run.info.status: run for run in client.search_runs([experiment.experiment_id])}
    assert {run.info.run_name for run in runs.values()} == names(store) and set(runs) == {"FINISHED", "FAILED"}
    run = runs["FINISHED"]
    assert run.data.params["trainer.lr"] == "0.0001" and run.data.tags["task"] == "advection"
    assert run.data.metrics["test/nrmse"] == 0.25
    history = client.get_metric_history(run.info.run_id, "stage2/val")
    assert [(m.step, m.value) for m in history] == [(1, 0.9), (2, 0.45), (3, pytest.approx(0.3))]


@pytest.mark.slow
def test_wandb_has_offline_runs_with_settings_curves_and_scores(store, tmp_path):
    pytest.importorskip("wandb")
    assert export(store, "wandb", tmp_path / "wb") == Exit.OK
    files = {path.stem.removeprefix("run-"): path for path in (tmp_path / "wb").rglob("run-*.wandb")}
    assert set(files) == {record["id"] for record in store.scan()[0]}
    done = next(record for record in store.scan()[0] if record["status"] == "done")
    said = wandb_records(files[done["id"]])
    history = [{"/".join(i.nested_key) or i.key: i.value_json for i in r.history.item} for r in said if r.history.item]
    losses = [(row["stage2/epoch"], float(row["stage2/loss"])) for row in history if "stage2/loss" in row]
    assert losses == [("1", 1.0), ("2", 0.5), ("3", pytest.approx(1 / 3))]
    config = {item.key: item.value_json for r in said for item in r.run.config.update}
    assert config["trainer.lr"] == "0.0001" and config["task"] == '"advection"'
    summary = {"/".join(i.nested_key) or i.key: i.value_json for r in said for i in r.summary.update}
    assert summary["test/nrmse"] == "0.25"


def wandb_records(path: Path) -> list[Any]:
    """What an offline run holds: a file head, then records in the log format of LevelDB, here of one block."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, out, at = path.read_bytes(), [], 7
    assert len(data) < 1 << 15, "longer ones are split into blocks"
    while at < len(data):
        _, length, whole = struct.unpack_from("<IHB", data, at)
        assert whole == 1
        out.append(Record.FromString(data[at + 7 : at + 7 + length]))
        at += 7 + length
    return out


@pytest.mark.parametrize("form", ["tensorboard", pytest.param("mlflow", marks=pytest.mark.slow), "wandb"])
def test_names_and_numbers_that_only_a_record_may_hold_end_no_export(tmp_path, form):
    pytest.importorskip(form)
    odd = ["../x", "é!", "..", "a//b", "x" * 300, ""]
    metrics = {name: {"value": 1e100, "unit": "1", "higher_is_better": False} for name in odd}
    record = make_record(metrics=metrics, settings=dict.fromkeys(odd, "y" * 9000), start="0001-01-01T00:00:00+00:00")
    rows = [{"phase": name, "loss": 1.0, "seconds": 1e100, **dict.fromkeys(odd, -1e100)} for name in odd]
    store = make_store(tmp_path / "results", record, curves={"stage1": rows, "stage2": []})
    assert export(store, form, tmp_path / "out") == Exit.OK


@pytest.mark.parametrize("form", TRACKERS)
def test_a_tracker_that_is_not_installed_is_asked_for_by_its_extra(store, tmp_path, capsys, monkeypatch, form):
    monkeypatch.setitem(sys.modules, MODULES[form], None)
    assert export(store, form, tmp_path / "out") == Exit.SOME_FAILED
    assert f"pip install 'cross-modality-bench[{form}]'" in capsys.readouterr().err


def test_the_extras_are_those_that_the_messages_name():
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    assert all(re.search(rf"^{form} = \[", text, re.MULTILINE) for form in TRACKERS)


@pytest.mark.parametrize("form", [*TRACKERS, "every-eval-ever"])
def test_what_an_earlier_export_left_is_not_added_to(store, tmp_path, capsys, form):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    who = ["--organisation", "us"] if form == "every-eval-ever" else []
    assert export(store, form, tmp_path / "out", *who) == Exit.USAGE
    assert "new or empty" in capsys.readouterr().err and len(list((tmp_path / "out").iterdir())) == 1


def test_nothing_but_the_export_knows_of_trackers():
    """A tracker in the trainer would slow the start of every cell down, and could end one."""
    root = Path(__file__).parent.parent
    word = re.compile(r"\b(trackers|tensorboard|mlflow|wandb)\b")
    files = {path for room in ("bench", "methods", "tasks") for path in (root / room).rglob("*.py")}
    knowing = {str(path.relative_to(root)) for path in files if word.search(path.read_text())}
    assert knowing == {"bench/cli/export.py", "bench/records/trackers.py"}


def test_the_shared_format_has_what_its_schema_demands(store, tmp_path, capsys):
    """The demands of version 0.3.0 of the schema and of its datastore, as far as they concern these files."""
    assert export(store, "every-eval-ever", tmp_path / "eee", "--organisation", "A group (of ours)") == Exit.OK
    assert "1 without a score" in capsys.readouterr().out
    (path,) = (tmp_path / "eee").rglob("*.json")
    shared = json.loads(path.read_text())
    data, collection, developer, model = path.relative_to(tmp_path / "eee").parts[:-1]
    assert (data, collection) == ("data", "cross-modality-bench") and uuid.UUID(path.stem).version == 4
    assert shared["model_info"]["id"] == f"{developer}/{model}" == "A-group-of-ours/minilm-vanilla"
    required = {"schema_version", "evaluation_id", "retrieved_timestamp", "source_metadata", "model_info"}
    required |= {"eval_library", "evaluation_results"}
    assert set(shared) == required | {"evaluation_timestamp"} and shared["schema_version"] == "0.3.0"
    assert shared["retrieved_timestamp"] == "1767225650"
    source = {"source_type": "evaluation_run", "source_organization_name": "A group (of ours)"}
    assert shared["source_metadata"].items() >= (source | {"evaluator_relationship": "first_party"}).items()
    details = shared["model_info"]["additional_details"]
    assert details["deployment_type"] == "self_deployed" and details["model_availability"] == "unknown"
    (result,) = shared["evaluation_results"]
    assert result["evaluation_name"] == "advection" and result["score_details"]["score"] == 0.25
    metric = result["metric_config"]
    assert (metric["lower_is_better"], metric["score_type"]) == (True, "continuous")
    assert (metric["min_score"], metric["max_score"]) == (0.0, "Infinity"), "a bound that is none is a word"
    origin = result["source_data"]["additional_details"]["origin"]
    assert (result["source_data"]["source_type"], origin) == ("other", "generated")
    texts = [details, result["score_details"]["details"], result["source_data"]["additional_details"]]
    assert all(isinstance(value, str) for text in texts for value in text.values())


def test_the_shared_format_asks_who_ran_the_cells_and_others_do_not(store, tmp_path, capsys):
    for who in ([], ["--organisation", "--"], ["--organisation", ""]):
        assert export(store, "every-eval-ever", tmp_path / "eee", *who) == Exit.USAGE
    assert export(store, "csv", tmp_path / "x.csv", "--organisation", "us") == Exit.USAGE
    assert "--organisation" in capsys.readouterr().err and not (tmp_path / "eee").exists()


@pytest.mark.parametrize("form", [*TRACKERS, "every-eval-ever"])
def test_a_folder_must_be_named(store, capsys, form):
    assert cli.main(["export", "--results-dir", str(store.folder), "--format", form]) == Exit.USAGE
    assert "--out" in capsys.readouterr().err
