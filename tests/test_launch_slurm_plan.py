"""What the Slurm executor does before it calls Slurm: needs, packing, cutting, throttle, profile, job files."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import cli, cost
from bench.errors import SetupError, UsageError
from bench.launch import slurm
from bench.launch.options import LaunchOptions, SlurmOptions
from bench.launch.slurm import element, needs, profile, sbatch
from bench.launch.slurm.array import Array, arrays, share
from bench.launch.slurm.element import CellJob
from bench.launch.slurm.needs import Needs
from bench.launch.work import Job, Work
from bench.plan import Cell
from bench.records.store import Store
from tests.cell_helpers import job_in
from tests.fake_runner import make_cell, some
from tests.record_factory import make_record

pytestmark = pytest.mark.usefixtures("fake_cells")
SMALL, LARGE = Needs(0, 2, 4, 15), Needs(1, 8, 32, 240)


def both(**options) -> dict[bool, SlurmOptions]:
    """The same options for cells with and without a GPU."""
    return dict.fromkeys((True, False), SlurmOptions(**options))


@given(st.lists(st.integers(1, 2000), min_size=1, max_size=30), st.integers(1, 300))
def test_shares_of_a_throttle(sizes, total):
    shares = share(sizes, total)
    assert all(1 <= part <= size for part, size in zip(shares, sizes, strict=True))
    assert sum(shares) <= max(total, len(sizes))
    assert sum(shares) == min(sum(sizes), max(total, len(sizes)))  # nothing of it is wasted


@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 12), st.integers(1, 20))
def test_arrays_hold_every_cell_once_and_keep_all_limits(small, large, size, parallelism):
    todo = {SMALL: some(small), LARGE: some(large, small)}
    plan = arrays(todo, size, both(array_parallelism=parallelism))
    packed = [work for array in plan for element in array.elements for work in element]
    assert sorted(w.cell.seed for w in packed) == list(range(small + large))
    for array in plan:
        assert 1 <= len(array.elements) <= size
        assert all(len(e) * array.needs.minutes < array.minutes for e in array.elements)
    assert sum(a.parallelism for a in plan) <= max(parallelism, len(plan))


@pytest.mark.parametrize("count, sizes", [(0, []), (1, [1]), (10, [10]), (11, [11]), (12, [11, 1]), (23, [11, 11, 1])])
def test_cut_at_the_largest_array(count, sizes):
    plan = arrays({LARGE: some(count)}, 11, both())
    assert [len(a.elements) for a in plan] == sizes


def test_short_cells_are_packed_and_long_ones_are_not():
    small, large = arrays({SMALL: some(9), LARGE: some(2)}, 1001, both())
    assert ([len(e) for e in small.elements], small.minutes) == ([4, 4, 1], 65)
    assert ([len(e) for e in large.elements], large.minutes) == ([1, 1], 245)


@pytest.mark.parametrize("profile_", ["quick", "published"])
def test_what_a_cell_is_given(tmp_path, profile_):
    cell = Cell("cifar100", "vanilla", "swin_base", profile=profile_)
    need = needs.needs_of(cell, cost.measured(Store(tmp_path), [cell]))
    assert need.minutes in needs.LADDER
    assert need.minutes > 10  # or submitit takes every signal for a timeout
    assert need.gpus == (profile_ == "published")


def test_a_limit_has_a_floor_per_step_and_knows_what_the_method_costs():
    """psicov has batches of one: its time is that of launches, and of MoNA's source batches of sixteen."""
    minutes = {
        m: needs.needs_of(Cell("psicov", m, "swin_base"), []).minutes for m in ("vanilla", "orca", "mona", "pare")
    }
    assert minutes["vanilla"] < minutes["mona"] and minutes["vanilla"] < minutes["pare"]
    assert minutes["mona"] > 1.3 * 60
    steps = 10 * 3356  # epochs and training samples: at least 20 ms each, with safety
    assert minutes["vanilla"] >= steps * 0.02 * needs.SAFETY / 60


def test_a_measured_time_replaces_the_estimate(tmp_path):
    cell = Cell("advection", "vanilla", "roberta_base")
    record = make_record(task="advection", method="vanilla", backbone="roberta_base", profile="published")
    record |= {"device": "gpu", "driver": "580", "data": {"sizes": {"train": 9000}}}
    record |= {"seconds_stage1": 0.0, "seconds_stage2": 3000.0, "seconds_total": 3000.0}
    record["settings"]["trainer.epochs"] = 100
    Store(tmp_path).write(record)
    known = cost.measured(Store(tmp_path), [cell])
    assert needs.needs_of(cell, known).minutes == 120  # twice 50 minutes, rounded up to a step


def test_a_profile_and_the_command_line_over_it(tmp_path):
    path = tmp_path / "slurm.toml"
    path.write_text('partition = "gpu"\ntime = 90\nsetup = ["module load x"]\n[cpu]\npartition = "batch"\n')
    tables = profile.read(str(path))
    gpu = profile.options_for(True, tables, LaunchOptions(slurm={"qos": "high"}))
    cpu = profile.options_for(False, tables, LaunchOptions(slurm={"time": 30}))
    assert (gpu.partition, gpu.time, gpu.qos, gpu.setup) == ("gpu", 90, "high", ("module load x",))
    assert (cpu.partition, cpu.time) == ("batch", 30)


@pytest.mark.parametrize(
    "text, said",
    [
        ('partitoin = "x"', "did you mean partition"),
        ('time = "1:00:00"', "whole number"),
        ("time = 0", "from 1"),
        ('partition = "a b"', "not a name"),
        ('sbatch = {licenses = "x\\n"}', "plain value"),
        ("setup = 3", "list of lines"),
        ("gpu = 1", "the number is `gpus`"),
        ("array_parallelism = 0", "from 1"),
        ('sbatch = {job-name = "x"}', "launcher sets that itself"),
        ("sbatch = {x = [1]}", "plain value"),
        ("= 3", "slurm.toml"),
    ],
)
def test_a_wrong_profile_is_named(tmp_path, text, said):
    path = tmp_path / "slurm.toml"
    path.write_text(text + "\n")
    with pytest.raises(UsageError, match=said):
        profile.read(str(path))
    with pytest.raises(UsageError, match=r"nowhere\.toml"):
        profile.read("nowhere.toml")


def test_a_profile_that_is_no_text(tmp_path):
    path = tmp_path / "slurm.toml"
    path.write_bytes(b'partition = "\xff"')
    with pytest.raises(UsageError, match=r"slurm\.toml.*utf-8"):
        profile.read(str(path))


def test_plan_says_what_would_be_submitted_and_submits_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")  # no Slurm command can be called
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    places = ["--results-dir", str(tmp_path / "r"), "--data-dir", str(tmp_path / "d")]
    chosen = ["--tasks", "ecg", "advection", "--profile", "tiny", "--seeds", "0", "1", "2"]
    flags = ["--partition", "p", "--account", "a", "--qos", "q", "--constraint", "c", "--time", "30", "--gpus", "1"]
    more = ["--array-parallelism", "2", "--pack-minutes", "60"]
    assert cli.main(["plan", *chosen, "--executor", "slurm", *flags, *more, *places]) == 0
    said = capsys.readouterr().out
    assert "slurm: 6 cells in 3 array elements, 1 sbatch call" in said
    assert "elements of up to 2 cells, 2 at once, limit 65 min (1 GPU, 2 CPU, 4 GB, 30 min per cell)" in said
    assert "partition=p account=a qos=q constraint=c" in said
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("evil", ["x\ntouch /tmp/y", "a;b c", "$(id)", "`id`", "--wrap=x y", ""])
def test_names_that_could_become_script_lines_are_refused(evil):
    with pytest.raises(UsageError):
        profile.options_for(True, {"all": {}, "gpu": {}, "cpu": {}}, LaunchOptions(slurm={"partition": evil}))


def test_a_thousand_cells_are_planned_in_no_time(tmp_path):
    todo = some(1000)
    begun = time.monotonic()
    plan = slurm.submission(todo, job_in(tmp_path), LaunchOptions(slurm_profile=None), max_array_size=1001)
    assert [(a.cells, len(a.elements)) for a in plan] == [(1000, 250)]
    assert time.monotonic() - begun < 5
    assert "1000 cells in 250 array elements, 1 sbatch call" in slurm.describe(plan)


def test_the_job_that_is_pickled_is_text_and_comes_back_the_same():
    job = CellJob((json.dumps(Work(make_cell(0)).to_dict()),), json.dumps({}), "", 0o22, 0.0)
    assert job.checkpoint().function == job
    assert all(isinstance(v, (str, int, float, tuple)) for v in vars(job).values())


def test_parameters_are_those_that_submitit_knows():
    from submitit.slurm.slurm import _get_default_parameters

    own = SlurmOptions(partition="p", account="a", wckey="w")
    chosen = sbatch.parameters(Array(LARGE, ((Work(make_cell(0)),),), 245, 1, own), "n")
    assert set(chosen) <= set(_get_default_parameters())
    assert isinstance(chosen["time"], int)


def test_cells_on_the_cpu_ask_slurm_for_no_gpu(tmp_path):
    cell = Cell("ecg", "vanilla", "roberta_base", 0, "published")
    for device, gpus in (("auto", 1), ("cpu", 0)):
        job = replace(job_in(tmp_path), runtime={"trainer.device": device})
        (array,) = slurm.submission([Work(cell)], job, LaunchOptions(), 11)
        assert array.needs.gpus == gpus


def test_a_cell_that_takes_the_gpu_down_sends_the_others_of_its_job_to_a_fresh_process(tmp_path, monkeypatch):
    paths = SimpleNamespace(folder=tmp_path)
    monkeypatch.setattr(
        "submitit.JobEnvironment", lambda: SimpleNamespace(name=lambda: "slurm", job_id="7_0", paths=paths)
    )
    job, todo = job_in(tmp_path), [Work(make_cell(0, do="poison")), Work(make_cell(1))]
    said = element.run_element(
        CellJob(tuple(json.dumps(w.to_dict()) for w in todo), json.dumps(asdict(job)), "", 0o22, 0.0)
    )
    assert [line.split(": ")[1].split()[0] for line in said] == ["failed", "done"]
    failed, done = [job.store.get(work.cell.key()) for work in todo]
    assert (failed["status"], done["status"]) == ("failed", "done")
    assert failed["host"] != done["host"]  # the stand-in writes its process id there


def test_what_a_site_says_of_memory_and_gpus_replaces_ours():
    array = Array(LARGE, ((Work(make_cell(0)),),), 245, 1, SlurmOptions())
    own = SlurmOptions(sbatch={"mem-per-cpu": "4G", "gres": "gpu:a100:1"})
    chosen = sbatch.parameters(replace(array, own=own), "n")
    assert not {"mem", "gpus_per_node"} & chosen.keys()
    assert {"mem", "gpus_per_node"} <= sbatch.parameters(array, "n").keys()


def test_folders_that_sbatch_cannot_take(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm.shutil, "which", lambda name: "/usr/bin/" + name)
    with pytest.raises(UsageError, match="cannot take a path"):
        slurm.ready(Job("/d", f"{tmp_path}/100%j", {}))


def test_job_files_in_a_folder_that_others_can_change_are_refused(tmp_path):
    folder = tmp_path / "jobs"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(SetupError, match="chmod go-w"), sbatch.private_folder(folder / "a" / "0"):
        pass
