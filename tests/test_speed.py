"""What keeps a device busy: precision, compiled steps, recomputation, and a host that never waits within an epoch."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench import machine
from bench.cell import phase, trainer
from bench.cell import story as cells
from bench.cell.batches import Loader
from bench.cell.context import compiles
from bench.cell.determinism import determinism
from bench.cell.phase import optimizer_for
from bench.errors import SetupError
from bench.models.target import compiled
from bench.plan import Places
from bench.settings import TrainerSettings
from tasks.contract import ArraySplit, Batch
from tests.cell_helpers import one

CPU, GPU = torch.device("cpu"), types.SimpleNamespace(type="cuda")

WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select", "aten::_unique2"}
"""Operations whose result the host needs: on a GPU each of them waits until the device has done everything so far."""


class Watch(TorchDispatchMode):
    """Notes every operation that would make the host wait for a device, reading an index by a mask among them."""

    def __init__(self):
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().split(".")[0]
        masked = name in ("aten::index", "aten::index_put_") and any(
            i is not None and i.dtype == torch.bool for i in args[1]
        )
        if name in WAITS or masked:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def places(shared_data, tmp_path):
    return Places(shared_data, tmp_path / "results")


@pytest.mark.parametrize("wait", [lambda x: float(x.sum()), lambda x: bool((x > 0).all()), lambda x: x[x > 0]])
def test_the_watch_sees_what_makes_the_host_wait(wait):
    with Watch() as watch:
        wait(torch.ones(3))
    assert watch.seen


@pytest.mark.slow
@pytest.mark.parametrize(
    "task, method",
    [("deepsea", "embedder_warmup"), ("cosmic", "vanilla"), ("fsd50k", "vanilla"), ("psicov", "vanilla"),
     ("darcy_pdebench", "mona")],
)  # fmt: skip
def test_within_an_epoch_the_host_never_waits_for_the_device(places, monkeypatch, task, method):
    accumulate, seen, steps = trainer.accumulate, [], []

    def watched(*arguments):
        with Watch() as watch:
            logged = accumulate(*arguments)
        seen.extend(watch.seen)
        steps.append(1)
        return logged

    monkeypatch.setattr(trainer, "accumulate", watched)
    record = cells.run(one(places.data_dir, task, method), places, {"trainer.deterministic": False})
    assert record["status"] == "done", record["error"]
    assert len(steps) == record["steps_stage1"] + record["steps_stage2"] > 0
    assert seen == []


def test_batches_clipping_and_fused_optimisers_do_not_wait_either(monkeypatch):
    monkeypatch.setattr(phase, "FUSED", ("cpu",))
    noise = lambda x, g: x + 0.1 * torch.randn(x.shape, generator=g)  # noqa: E731
    x = np.zeros((8, 3), np.float32)
    loader = Loader(ArraySplit(x, x[:, :1], scale=(x[0], x[0] + 1), augment=noise), CPU)
    model = nn.Linear(3, 1)
    optimizer = optimizer_for(TrainerSettings(), list(model.parameters()), 1e-3)
    with Watch() as watch:
        for batch in loader.batches([np.arange(4), np.arange(4, 8)], [1, 2]):
            model(batch.x).square().mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    assert watch.seen == []


def test_what_does_not_fit_on_the_device_is_read_and_staged_by_a_thread_beside_training(monkeypatch):
    class Lazy:
        def __len__(self):
            return 8

        def batch(self, index, rng):
            return Batch(index[:, None].astype(np.float32), index, {"clip": -index})

    staged, threads = machine.staged, []
    monkeypatch.setattr(machine, "staged", lambda *a: threads.append(threading.get_ident()) or staged(*a))
    batches = list(Loader(Lazy(), CPU).batches(np.split(np.arange(8), 4), [None] * 4))
    assert len(threads) == 4 * 3 and threading.get_ident() not in threads
    assert [b.y.tolist() for b in batches] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert all(torch.equal(b.x[:, 0], b.y.float()) and torch.equal(b.extra["clip"], -b.y) for b in batches)


@pytest.mark.parametrize("room, reads", [(2 << 30, 2), (8 * 4, 3), (0, 4)], ids=["all", "the first", "none"])
def test_what_evaluations_read_is_kept_while_there_is_room_and_training_reads_anew(room, reads):
    class Lazy:
        seen = 0

        def __len__(self):
            return 4

        def batch(self, index, rng):
            self.seen += 1
            x = index[:, None].astype(np.float32)
            return Batch(x if rng is None else x + rng.random(), index)

    split, indices = Lazy(), np.split(np.arange(4), 2)
    loader = Loader(split, CPU, room)
    first, second = (list(loader.batches(indices, [None, None])) for _ in range(2))
    assert split.seen == reads
    assert all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(first, second, strict=True))
    one, two = (list(loader.batches(indices, seeds)) for seeds in ([1, 2], [3, 4]))
    assert split.seen == reads + 4 and not torch.equal(one[0].x, two[0].x)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_a_fused_optimiser_takes_the_step_of_the_plain_one(monkeypatch, name):
    def after_three_steps(fused):
        monkeypatch.setattr(phase, "FUSED", ("cpu",) if fused else ())
        weight = nn.Parameter(torch.linspace(-1, 1, 7))
        optimizer = optimizer_for(TrainerSettings(optimizer=name, weight_decay=0.1), [weight], 1e-2)
        assert bool(optimizer.defaults.get("fused")) == fused
        for _ in range(3):
            optimizer.zero_grad()
            weight.pow(3).sum().backward()
            optimizer.step()
        return weight.detach()

    torch.testing.assert_close(after_three_steps(True), after_three_steps(False))


def test_auto_is_bf16_only_where_the_device_has_it_itself(monkeypatch):
    asked = []

    def supported(including_emulation=True):
        asked.append(including_emulation)
        return native or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    native = True
    assert machine.choose_precision("auto", GPU) == "bf16"
    native = False
    assert machine.choose_precision("auto", GPU) == "fp32"  # emulated bf16 is slower than fp32
    assert machine.choose_precision("auto", CPU) == "fp32"
    assert [machine.choose_precision(p, GPU) for p in ("fp32", "tf32", "bf16")] == ["fp32", "tf32", "bf16"]
    with pytest.raises(SetupError, match="tf32 is a mode of CUDA devices"):
        machine.choose_precision("tf32", CPU)


def test_a_card_is_found_by_its_number_and_is_torchs_own_while_a_cell_runs(monkeypatch):
    entered = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "device", lambda device: entered.append(device) or contextlib.nullcontext())
    monkeypatch.setattr(torch.random, "fork_rng", lambda devices: contextlib.nullcontext())
    with determinism(0, {"trainer.device": "cuda:1"}):
        assert entered == [torch.device("cuda:1")]
    with pytest.raises(SetupError, match="cuda:2, but torch sees 2 CUDA devices here, numbered from 0"):
        machine.choose_device("cuda:2")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "tf32"])
def test_tf32_is_on_for_tf32_alone_convolutions_included(precision):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        machine.set_matrix_precision(precision)
        on = torch.get_float32_matmul_precision() == "high", torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]
    assert on == (precision == "tf32",) * 2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["vanilla", "mona"])
def test_a_cell_in_bf16_scores_near_the_one_in_fp32_and_leaves_the_switches_alone(places, method):
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    scores = {}
    for precision in ("fp32", "bf16"):
        record = cells.run(one(places.data_dir, method=method, **{"trainer.precision": precision}), places, {})
        assert record["status"] == "done" and record["precision"] == precision
        scores[precision] = record["score"]
    assert scores["bf16"] == pytest.approx(scores["fp32"], rel=0.1)
    assert scores["bf16"] != scores["fp32"]  # it really computed in another precision
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_compiled_step_has_the_loss_and_gradient_of_the_eager_one_for_every_batch_size(precision):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 3))
    fast = compiled(model, CPU)
    x, y = torch.randn(4, 6), torch.tensor([0, 1, 2, 0])

    def gradient(forward, n):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            loss = nn.functional.cross_entropy(forward(x[:n]).float(), y[:n])
        loss.backward()
        return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters()])

    for n in (4, 2, 4):  # the last batch of an epoch is smaller
        (loss, eager), (fast_loss, slope) = gradient(model, n), gradient(fast, n)
        assert float(fast_loss) == pytest.approx(float(loss), rel=1e-5 if precision == "fp32" else 1e-2)
        assert float(torch.cosine_similarity(slope, eager, 0)) > (1 - 1e-6 if precision == "fp32" else 0.99)


@pytest.mark.parametrize(
    "wanted, device, steps, expected",
    [("auto", GPU, 2000, True), ("auto", GPU, 1999, False), ("auto", CPU, 2000, False), ("on", CPU, 1, True),
     ("off", GPU, 2000, False)],
)  # fmt: skip
def test_auto_compiles_on_a_gpu_where_the_planned_steps_repay_it(wanted, device, steps, expected):
    assert compiles(TrainerSettings(compile=wanted), device, steps) is expected


@pytest.mark.slow
@pytest.mark.parametrize("method, phases", [("vanilla", 1), ("lp_ft", 2)])
def test_a_cell_may_compile_its_step(places, monkeypatch, method, phases):
    programs, compile_ = [], torch.compile

    def traced(model, dynamic, mode):
        assert dynamic is False and mode == "default"
        programs.append(own := [])

        def backend(graph, inputs):
            own.append(len(inputs))
            return graph.forward

        return compile_(model, dynamic=dynamic, backend=backend)  # the tracing is real, the C++ compiler left out

    cell = one(places.data_dir, method=method)
    plain = cells.run(cell, places, {})
    monkeypatch.setattr(torch, "compile", traced)
    record = cells.run(cell, Places(places.data_dir, places.results_dir / "compiled"), {"trainer.compile": "on"})
    assert record["status"] == "done", record["error"]
    assert len(programs) == phases and all(programs) and record["id"] == plain["id"]
    assert record["score"] == pytest.approx(plain["score"], rel=1e-4)


class NVMLError(Exception):
    """As NVML's own, which is an exception of no other kind."""


def answers(monkeypatch, utilisation):
    """A driver that answers so, asked through a library that is here whether or not it is installed."""
    monkeypatch.setitem(sys.modules, "pynvml", types.SimpleNamespace(NVMLError=NVMLError))
    monkeypatch.setattr(torch.cuda, "utilization", utilisation)
    meter = machine.Meter(GPU)
    meter.look()
    return meter.load()


def refuses(error):
    def utilisation(device):
        raise error

    return utilisation


def test_the_load_of_a_gpu_is_what_its_driver_says(monkeypatch):
    assert answers(monkeypatch, lambda device: 40) == pytest.approx(0.4)


@pytest.mark.parametrize(
    "error", [NVMLError("Not Supported"), RuntimeError("device 0 is not visible"), IndexError("list index")], ids=repr
)
def test_a_driver_that_tells_no_load_ends_nothing(monkeypatch, error):
    assert answers(monkeypatch, refuses(error)) is None


def test_without_nvml_no_load_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(torch.cuda, "utilization", refuses(ModuleNotFoundError()))
    meter = machine.Meter(GPU)
    meter.look()
    assert meter.load() is None


def test_a_record_says_how_busy_its_device_was_and_how_much_memory_it_took(places):
    record = cells.run(one(places.data_dir), places, {})
    assert 0 < record["utilisation"] <= 1
    assert record["peak_memory_host"] > 0 and record["peak_memory_device"] is None


def test_a_cell_imports_nothing_heavy_that_it_may_not_need():
    heavy = ("scipy.stats", "sklearn", "pandas", "matplotlib", "timm", "transformers")
    code = f"import sys, bench.cell.story; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
