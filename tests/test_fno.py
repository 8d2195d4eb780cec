"""The Fourier neural operator as an arm: its sizes, its grid, what it computes, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from bench import plan, registry, settings
from bench.cell.story import run
from bench.errors import UsageError
from bench.plan import Places, Selection
from methods.contract import MethodError
from methods.fno import Fno
from methods.small_networks import SpectralConv


def test_a_spectral_layer_in_two_dimensions_is_a_circular_convolution():
    """Channel by channel: the layer's answer to an impulse, convolved directly with the input, is its output."""
    torch.manual_seed(0)
    layer, side = SpectralConv(width=2, modes=3, axes=2), 9
    impulse, x = torch.zeros(2, 2, side, side), torch.randn(1, 2, side, side)
    impulse[0, 0, 0, 0] = impulse[1, 1, 0, 0] = 1
    with torch.no_grad():
        kernels, found = layer(impulse).numpy(), layer(x)[0].numpy()
    expected = np.zeros_like(found)
    for channel in range(2):
        for i in range(side):
            for j in range(side):
                expected += float(x[0, channel, i, j]) * np.roll(kernels[channel], (i, j), (1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found).max() > 1e-2


@pytest.mark.parametrize("axes", [1, 2])
def test_a_function_on_a_finer_grid_has_the_same_image(axes):
    """Resolution invariance, of band-limited input: each output sample is that of the same point on the finer grid.

    Lifting appends coordinates, which are not periodic, so the layers are compared without them.
    """
    torch.manual_seed(0)
    layer = SpectralConv(width=1, modes=5, axes=axes)

    def sampled(points):
        t = torch.arange(points) * 2 * math.pi / points
        wave = 1 + torch.sin(2 * t) + 0.5 * torch.cos(3 * t)
        return (wave if axes == 1 else wave[:, None] * torch.cos(t)[None, :])[None, None]

    with torch.no_grad():
        coarse, fine = layer(sampled(16)), layer(sampled(64))
    at = fine[(..., *(slice(None, None, 4),) * axes)]
    torch.testing.assert_close(coarse, at, rtol=1e-4, atol=1e-6)
    assert coarse.std() > 1e-2


@pytest.mark.parametrize(
    ("shape", "modes", "width"), [((1, 1024), (16,), 64), ((2, 64, 64), (12, 12), 32)], ids=["1D", "2D"]
)
def test_the_default_has_the_sizes_of_li_et_al(shape, modes, width):
    model = Fno().build("dense", shape, (1, *shape[1:]))
    assert len(model.spectral) == 4
    assert all(layer.weight.shape == (len(modes), width, width, *modes, 2) for layer in model.spectral)
    assert model(torch.randn(2, *shape)).shape == (2, 1, *shape[1:])


def test_its_presets_bring_the_published_optimiser_and_are_documented():
    chosen = settings.resolve(Fno, {"method.preset": "pdebench"})
    assert (chosen.method.modes, chosen.method.width) == (12, 20)
    assert (chosen.trainer.optimizer, chosen.trainer.lr, chosen.trainer.weight_decay) == ("adam", 1e-3, 1e-4)
    assert all(f"`{name}`" in (Fno.__doc__ or "") for name in Fno.presets)


@pytest.mark.parametrize("case", [("classes", (1, 64), (5,)), ("dense", (1, 4, 4, 4), (1, 4, 4, 4))], ids=str)
def test_what_is_no_field_is_refused_with_the_reason(case):
    with pytest.raises(MethodError, match="it maps fields to fields"):
        Fno().build(*case)
    with pytest.raises(MethodError, match="modes=0"):
        Fno(modes=0).check()


def test_a_selection_has_no_cell_of_it_where_targets_are_no_fields(shared_data):
    def methods_of(tasks, methods):
        chosen = Selection(tasks=tasks, methods=methods, profile="tiny")
        return {(cell.task, cell.method) for cell in plan.cells(chosen, shared_data)}

    assert methods_of(("ecg", "advection"), ("fno",)) == {("advection", "fno")}
    assert ("ecg", "fno") not in methods_of(("ecg",), ("*",))
    with pytest.raises(UsageError, match=r"fno is for tasks of kind dense, and none of ecg is; choose among .*burgers"):
        methods_of(("ecg",), ("fno", "vanilla"))
    assert all(
        registry.tasks()[task].kind == "dense" for task, _ in methods_of(tuple(registry.tasks().items), ("fno",))
    )


@pytest.mark.parametrize("task", ["advection", "darcy_pdebench"])
def test_a_tiny_cell_of_it_has_a_score_and_no_stage_1(shared_data, tmp_path, task):
    cell = plan.cells(Selection(tasks=(task,), methods=("fno",), profile="tiny"), shared_data)[0]
    record = run(cell, Places(shared_data, tmp_path), {})
    assert record["status"] == "done", record["error"]
    assert record["steps_stage1"] == 0 and record["steps_stage2"] > 0
