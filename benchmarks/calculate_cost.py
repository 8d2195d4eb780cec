"""What 18 tasks × 4 methods × 3 seeds cost on an H100: a calculation, not a measurement. `python benchmarks/calculate_cost.py`

No GPU was at hand, so this counts operations (torch's counter on the real models, one sample forward and backward) and
divides by an assumed rate. Assumptions are arguments: operations per second the card sustains on these models
(`--rate`: 45 % of an H100's 800 TFLOP/s bf16 matrix rate, the project's target), the least time of a step (`--launch`:
launch-bound steps of batch 4), the same for published code (fp32 without TF32, eager), the seconds of one transport
(ours; the published one's 7.9 s on a CPU thread divided by 20). The last line is published code at what was measured of
it on one CPU thread, fp32: 7.3 s for a Swin-B step of 4 samples, 7.9 s for a transport.

Counted as published: epochs, batch sizes, sizes of the training split; evaluation adds a third of a step per
validation sample. ORCA's stage 1 has one transport per class and epoch, MoNA's as many meta steps as published, each
3.5 plain ones; embedder_warmup's stage 1 is counted as plain steps.
"""

from __future__ import annotations

import argparse
import functools
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import plan, registry
from bench.backbones import BACKBONES
from bench.models.source import SourceModel, load_source_model
from bench.models.target import build_target
from bench.plan import Cell

METHODS = ("vanilla", "embedder_warmup", "orca", "mona")
SEEDS = 3
META_STEP = 3.5
"""Cost of a meta step in plain steps: the goal, and 3.4 as measured on a CPU."""


@dataclass(frozen=True)
class Machine:
    """What is assumed of code on a card."""

    rate: float
    """Operations per second."""
    launch: float
    """Least seconds of a step."""
    transport: float
    """Seconds of one transport of a class (ORCA)."""

    def step(self, operations: float) -> float:
        """Seconds of an optimiser step's worth of operations."""
        return max(operations / self.rate, self.launch)


@functools.cache
def body(backbone: str) -> SourceModel:
    """A body with random weights, built once."""
    return load_source_model(BACKBONES[backbone], random_weights=True)


@functools.cache
def operations(task: str) -> float:
    """Operations of forward and backward of one sample through the published model, random weights."""
    spec = registry.tasks()[task]
    config = plan.resolve(Cell(task, "vanilla", spec.backbone, 0, "published"))
    model = build_target(body(spec.backbone), spec.kind, spec.input_shape, spec.output_shape, config.model, 0).to(
        "meta"
    )
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *spec.input_shape, device="meta")).float().square().mean().backward()
    return float(counter.get_total_flops())


def seconds(task: str, per_sample: float, machine: Machine) -> Mapping[str, float]:
    """Method -> seconds of a cell."""
    spec = registry.tasks()[task]
    out = {}
    for method in METHODS:
        config = plan.resolve(Cell(task, method, spec.backbone, 0, "published"))
        trainer, stage1 = config.trainer, config.stage1
        train, val = spec.splits["train"], spec.splits["val"]
        batches = math.ceil(train / trainer.batch_size)
        step = machine.step(per_sample * trainer.batch_size)
        evaluation = val * per_sample / 3 / machine.rate
        total = trainer.epochs * (batches * step + evaluation / trainer.eval_every)
        classes = spec.output_shape[0] if spec.kind == "classes" else 10
        if method == "orca":
            total += stage1.epochs * classes * machine.transport
        elif method == "mona":
            epochs = min(stage1.epochs, 10) if config.method.epochs is None else config.method.epochs
            total += batches * step * (epochs * META_STEP + config.method.warmup_epochs * 2 / 3)
        elif method == "embedder_warmup":
            total += stage1.epochs * batches * step * 2 / 3
        out[method] = total
    return out


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=0.45 * 800e12, help="ours, operations/s (bf16)")
    parser.add_argument("--launch", type=float, default=0.012, help="ours, least seconds of a step (CUDA graphs)")
    parser.add_argument("--transport", type=float, default=0.05, help="ours, seconds of one transport")
    parser.add_argument("--published-rate", type=float, default=0.6 * 60e12, help="published code, operations/s (fp32)")
    parser.add_argument("--published-launch", type=float, default=0.045, help="published code, least seconds of a step")
    parser.add_argument(
        "--published-transport", type=float, default=7.9 / 20, help="published code, seconds of one transport"
    )
    args = parser.parse_args()
    ours = Machine(args.rate, args.launch, args.transport)
    published = Machine(args.published_rate, args.published_launch, args.published_transport)
    tasks = [t for suite in ("nas_bench_360", "pdebench") for t in registry.suites()[suite]]
    print("A CALCULATION from counted operations and assumed rates, not a measurement.")
    print(
        f"{'task':22}{'GFLOP/sample':>14}"
        + "".join(f"{m:>17}" for m in METHODS)
        + f"{'published':>12}   (hours of one H100 per cell; last: all four)"
    )
    thread = Machine(4 * operations("darcy_pdebench") / 7.3, 0.0, 7.9)
    totals = [0.0, 0.0, 0.0]
    for task in tasks:
        per_sample = operations(task)
        cells, theirs, measured = (seconds(task, per_sample, machine) for machine in (ours, published, thread))
        for k, of_one in enumerate((cells, theirs, measured)):
            totals[k] += SEEDS * sum(of_one.values())
        print(f"{task:22}{per_sample / 1e9:14.1f}" + "".join(f"{s / 3600:17.2f}" for s in cells.values()) + f"{sum(theirs.values()) / 3600:12.1f}", flush=True)  # fmt: skip
    for name, total in zip(("this project", "published code"), totals[:2], strict=True):
        print(
            f"{name}: {len(tasks)} × {len(METHODS)} × {SEEDS} cells: {total / 3600:.0f} GPU-hours on one H100, {total / 8 / 3600 / 24:.1f} days on eight"
        )
    print(f"published code at its measured CPU costs: {totals[2] / 3600 / 24 / 365:.0f} years of one thread")


if __name__ == "__main__":
    main()
