"""Which precision each stage computes in, by its matrix products; and that what is deterministic stays so, and is cheap."""

from __future__ import annotations

import collections
import os
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.profiler import profile
from torch.utils import deterministic
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from bench import registry
from bench.cell import story as cells
from bench.cell import trainer
from bench.cell.determinism import determinism
from bench.plan import Places
from methods.contract import Method
from tests.cell_helpers import one

RUNTIME = {"trainer.device": "cpu"}


class Products(TorchDispatchMode):
    """Operations of all matrix products and convolutions, by the type of their operands; the names of all kernels."""

    def __init__(self):
        super().__init__()
        self.by_type: collections.Counter[torch.dtype] = collections.Counter()
        self.names: set[str] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        count = flop_registry.get(function.overloadpacket)
        if count is not None:
            first = next(a for a in args if isinstance(a, torch.Tensor))
            self.by_type[first.dtype] += count(*args, **(kwargs or {}), out_val=out)
        self.names.add(function.overloadpacket.__name__)
        return out


def watched(monkeypatch, folder, shared_data, task, method, **settings):
    """Stage -> what was seen of the steps of a tiny cell."""
    seen, stage, accumulate, step = collections.defaultdict(Products), [], trainer.accumulate, trainer.Trainer._step

    def noted(self, live, group):
        stage[:] = [live.phase.stage]
        step(self, live, group)

    def watching(*arguments):
        with seen[stage[0]]:
            return accumulate(*arguments)

    monkeypatch.setattr(trainer.Trainer, "_step", noted)
    monkeypatch.setattr(trainer, "accumulate", watching)
    short = {"trainer.epochs": 1, "stage1.epochs": 1}
    record = cells.run(one(shared_data, task, method, **short, **settings), Places(shared_data, folder), {})
    assert record["status"] == "done", record["error"]
    return seen


def own_passes(method: type[Method]) -> bool:
    """Whether a method sends anything through the model itself."""
    return method.align is not Method.align or method.loss is not Method.loss


LEAST = {"orca": 0.3}
"""ORCA's transport is float32 in every cell. Of the others a source embedder or a last layer is, 1 % of it all at most."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["vanilla", *(n for n, m in registry.methods().items.items() if own_passes(m) and n != "ridge")]
)
def test_in_bfloat16_both_stages_compute_in_it(monkeypatch, tmp_path, shared_data, method):
    for stage, seen in watched(
        monkeypatch, tmp_path, shared_data, "ecg", method, **{"trainer.precision": "bf16"}
    ).items():
        least = LEAST.get(method, 0.99) if stage == "stage1" else 0.99
        assert seen.by_type[torch.bfloat16] > least * seen.by_type.total() > 0, (stage, seen.by_type)


THROWING = {
    "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward", "_ctc_loss_backward", "_upsample_bicubic2d_aa_backward",
    "_upsample_bilinear2d_aa_backward", "adaptive_max_pool2d_backward", "avg_pool3d_backward", "bincount",
    "grid_sampler_2d_backward", "histc", "max_unpool2d", "median", "nll_loss2d_forward", "put_", "reflection_pad1d_backward",
    "reflection_pad2d_backward", "upsample_bicubic2d_backward", "upsample_linear1d_backward", "upsample_trilinear3d_backward",
}  # fmt: skip
"""Operations that have no deterministic kernel on a GPU, of the list in `torch.use_deterministic_algorithms`; bilinear
interpolation is made of others there."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "task, method",
    [("cosmic", "vanilla"), ("psicov", "vanilla"), ("deepsea", "vanilla"), ("fsd50k", "mona"), ("darcy_pdebench", "fno")],
)  # fmt: skip
def test_no_step_has_an_operation_without_a_deterministic_kernel_on_a_gpu(shared_data, tmp_path, task, method):
    cell = one(shared_data, task, method, **{"trainer.epochs": 1, "stage1.epochs": 1})
    with Products() as seen:
        record = cells.run(cell, Places(shared_data, tmp_path), {})
    assert record["status"] == "done" and seen.by_type.total() > 0
    assert seen.names & THROWING == set()


def test_a_change_of_grid_has_a_deterministic_gradient_in_one_dimension_too():
    from methods.small_networks import FourierOperator

    model, x = FourierOperator(1, (1, 24), 4, 3, 1), torch.randn(2, 1, 16)
    with Products() as seen:
        model(x).square().sum().backward()
    assert "upsample_bilinear2d_backward" in seen.names and seen.names & THROWING == set()


def test_an_operation_without_a_deterministic_kernel_ends_a_cell_with_the_way_out():
    def put():
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))

    with (
        pytest.raises(RuntimeError, match=r"put_ does not have.*trainer\.deterministic=false"),
        determinism(0, RUNTIME),
    ):
        put()
    with determinism(0, {**RUNTIME, "trainer.deterministic": False}):
        put()


def test_torchs_switches_are_as_before_after_a_cell():
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with determinism(0, RUNTIME):
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled() and deterministic.fill_uninitialized_memory
    finally:
        torch.use_deterministic_algorithms(False)


def gradients_and_fills() -> tuple[list[torch.Tensor], int]:
    """The gradients of a small network, and how many kernels filled a tensor on the way."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv1d(2, 8, 3), nn.GELU(), nn.GroupNorm(2, 8), nn.Flatten(), nn.LazyLinear(5))
    x = torch.randn(4, 2, 32)
    model(x)
    with profile() as seen:
        nn.functional.cross_entropy(model(x), torch.arange(4)).backward()
    return [p.grad for p in model.parameters()], sum(e.count for e in seen.key_averages() if e.key == "aten::fill_")


def test_nothing_fills_uninitialised_memory_and_the_gradients_are_the_same():
    with determinism(0, RUNTIME):
        slopes, fills = gradients_and_fills()
        deterministic.fill_uninitialized_memory = True
        filled, more = gradients_and_fills()
    assert fills < more / 3
    assert all(torch.equal(a, b) for a, b in zip(slopes, filled))


@pytest.mark.parametrize("start", ["import bench", "import bench.launch.worker", "import bench.launch.slurm.element"])
def test_every_process_has_a_fixed_cublas_workspace_before_torch_starts(start):
    code = f"{start}; import os, sys; print(os.environ['CUBLAS_WORKSPACE_CONFIG'], 'torch' in sys.modules)"
    env = {k: v for k, v in os.environ.items() if k != "CUBLAS_WORKSPACE_CONFIG"}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert run.stdout == ":4096:8 False\n"
