"""What every published cell takes on an H200: a calculation from measured steps. `python benchmarks/calculate_cost.py`

Work is counted (bench/counted.csv, by benchmarks/count_work.py); the card's speeds were measured on single steps and are arguments. A
stage takes its arithmetic or the launches of its kernels, whichever is longer; forward passes on validation are counted as
a third of a step. Data, scores and analyses are left out. Prints markdown.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import plan, reckoned, registry
from bench.plan import Cell
from bench.report.frame import METHOD_ORDER, ordered

SEEDS = 3
MAIN = ("vanilla", "embedder_warmup", "orca", "mona")


def line(cells: Iterable[object]) -> str:
    """A row of a markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def hours(seconds: float) -> str:
    """Two digits, without a power of ten."""
    return f"{float(f'{seconds / 3600:.2g}'):g}"


def meta_step(task: str, backbone: str) -> str:
    """MoNA's meta step in plain steps: in operations, and in kernels."""
    table, config = reckoned.table(), plan.resolve(Cell(task, "mona", backbone))
    plain, whole, warm = (table[task, method, backbone] for method in ("vanilla", "mona", "embedder_warmup"))
    share = config.method.warmup_epochs / config.stage1.epochs  # of embedder_warmup's epochs
    epochs = min(config.stage1.epochs, 10)
    steps = epochs * math.ceil(registry.tasks()[task].splits["train"] / plain.batch)
    flop = (whole.stage1_flop - share * warm.stage1_flop) / steps / plain.step_flop
    launches = (whole.stage1_launches - share * warm.stage1_launches) / steps / plain.step_launches
    return f"{flop:.1f}, {launches:.1f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=reckoned.H200.rate, help="operations per second")
    parser.add_argument("--launch", type=float, default=reckoned.H200.launch, help="seconds from kernel to kernel")
    parser.add_argument("--replay", type=float, default=reckoned.H200.replay, help="the same in a compiled stage 2")
    args = parser.parse_args()
    device = replace(reckoned.H200, rate=args.rate, launch=args.launch, replay=args.replay)
    tasks = dict.fromkeys(t for suite in ("nas_bench_360", "pdebench") for t in registry.suites()[suite])
    methods = ordered(registry.methods().items, METHOD_ORDER)
    print(
        f"Hours per cell of {device.name}, at {device.rate:.3g} operations/s and {device.launch:.2g} s a kernel, {device.replay:.2g} s in a compiled stage 2\n"
    )
    print(line(["task", "GFLOP, kernels a step", "meta step", *(f"`{m}`" for m in methods)]))
    print(line(["---"] * (len(methods) + 3)))
    totals, arithmetic = dict.fromkeys(methods, 0.0), dict.fromkeys(methods, 0.0)
    for name in tasks:
        task = registry.tasks()[name]
        row = reckoned.table()[name, "vanilla", task.backbone]
        shown = []
        for method in methods:
            cell, fits = Cell(name, method, task.backbone), task.kind in registry.methods()[method].kinds
            seconds = reckoned.seconds(cell, device) if fits else 0.0
            totals[method] += seconds
            arithmetic[method] += reckoned.seconds(cell, replace(device, launch=0.0, replay=0.0)) if fits else 0.0
            shown.append(hours(seconds) if fits else "–")
        step = f"{row.step_flop / 1e9:,.0f}, {row.step_launches:,.0f}"
        print(line([f"`{name}`", step, meta_step(name, task.backbone), *shown]))
    print(line(["all", "", "", *map(hours, totals.values())]))
    print(
        f"\n{len(tasks)} tasks × {SEEDS} seeds, in GPU-hours; in parentheses the arithmetic alone, were launches free:"
    )
    for chosen in (methods, MAIN):
        whole, least = (SEEDS * sum(of[m] for m in chosen) / 3600 for of in (totals, arithmetic))
        print(
            f"- {f'all {len(methods)} methods' if chosen is methods else ', '.join(chosen)}: {whole:.0f} ({least:.0f})"
        )


if __name__ == "__main__":
    main()
