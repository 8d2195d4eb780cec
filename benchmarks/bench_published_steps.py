"""A micro-batch of stage 2 at every published setting, measured on a GPU beside what `bench.reckoned` says of it.

Naive fine-tuning in bf16 and deterministic, as a cell runs it: forward pass, backward pass, optimiser step; weights and inputs
are random, the loss is the mean square of the output. `--compile TASK ...` measures these compiled as well.
    python benchmarks/bench_published_steps.py --out steps.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from bench import machine, plan, reckoned, registry
from bench.backbones import BACKBONES
from bench.cell.determinism import determinism
from bench.cell.phase import optimizer_for
from bench.models.source import load_source_model
from bench.models.target import build_target, compiled
from bench.plan import Cell

ROUNDS, STEPS = 3, 10


def step_seconds(cell: Cell, device: torch.device, compile: bool) -> float:
    """Median over rounds of the seconds of one step, after two that warm up."""
    task, config = registry.tasks()[cell.task], plan.resolve(cell)
    body = load_source_model(BACKBONES[cell.backbone], random_weights=True)
    model = build_target(body, task.kind, task.input_shape, task.output_shape, config.model, 0).to(device)
    optimizer = optimizer_for(config.trainer, list(model.parameters()), 1e-6)
    forward = compiled(model, device) if compile else model
    x = torch.randn(config.trainer.batch_size, *task.input_shape, device=device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16):
            out = forward(x)
        out.float().square().mean().backward()
        optimizer.step()

    def seconds(steps: int) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        start = time.perf_counter()
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return (time.perf_counter() - start) / steps

    seconds(2 if not compile else 4)
    return statistics.median(seconds(STEPS) for _ in range(ROUNDS))


def main() -> int:
    """Measure, print, write; exit code 2 where there is no GPU and `--cpu` was not given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--tasks", nargs="+", default=list(dict.fromkeys(t for t, m, _ in reckoned.table() if m == "vanilla"))
    )
    parser.add_argument("--compile", nargs="*", default=[], metavar="TASK", help="measure these compiled, too")
    parser.add_argument(
        "--cpu", action="store_true", help="on the CPU: to see that it runs, the numbers say nothing of a GPU"
    )
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if not args.cpu and not torch.cuda.is_available():
        print("no CUDA device here")
        return 2
    device = torch.device("cpu" if args.cpu else "cuda")
    rows: list[dict[str, Any]] = []
    with determinism(0, {"trainer.device": device.type}):
        for name in args.tasks:
            backbone = registry.tasks()[name].backbone
            cell = Cell(name, "vanilla", backbone, 0, "published", "strict", "official")
            counted = reckoned.table()[name, "vanilla", backbone]
            for compile in (False, True) if name in args.compile else (False,):
                measured = step_seconds(cell, device, compile)
                said = reckoned.H200.seconds(counted.step_flop, counted.step_launches, compile)
                rows.append({
                    "task": name, "backbone": backbone, "batch": counted.batch, "compiled": compile, "ms": 1e3 * measured,
                    "reckoned_ms": 1e3 * said, "us_per_kernel": 1e6 * measured / counted.step_launches,
                    "tflops": counted.step_flop / measured / 1e12,
                })  # fmt: skip
                print({k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    about = {"device": machine.device_name(device), "driver": machine.driver(device), "packages": machine.packages()}
    if args.out:
        args.out.write_text(json.dumps({**about, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
