"""The targets for one GPU, printed by one command: python benchmarks/bench_gpu.py (about five minutes on an H100).

Swin-B fine-tuning at 224² in bf16 against the measured bf16 matrix rate and against a bare timm loop; RoBERTa-base at
4 × 256 tokens, compiled, against the eager fp32 step; MoNA's exact meta step against vanilla; scores in bf16 against
fp32 over seeds. Weights and inputs are random and fresh. `--micro` runs the same code in small on the CPU; its numbers
say nothing about a GPU. Writes benchmarks/results/gpu.json (`--out`).
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import machine, plan
from bench.backbones import BACKBONES
from bench.cell import story as cell
from bench.cell.batches import Loader
from bench.cell.checkpoint import Checkpoints
from bench.cell.phase import Phase, optimizer_for
from bench.cell.trainer import Trainer
from bench.models.source import load_source_model
from bench.models.target import TargetModel, build_target, compiled
from bench.plan import Places, Selection
from bench.records.store import Store
from bench.settings import ModelSettings, TrainerSettings
from tasks.contract import ArraySplit


@dataclass(frozen=True)
class Size:
    """How large everything is."""

    matrix: int
    vision: str
    images: int
    text: str
    tokens: int
    steps: int
    profile: str
    seeds: int


FULL = Size(8192, "swin_base", 64, "roberta_base", 256, 50, "quick", 5)
MICRO = Size(512, "swin_micro", 4, "minilm", 16, 2, "tiny", 2)


def wait(device: torch.device) -> None:
    """Until the device has done everything so far."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(run: Callable[[], Any], device: torch.device) -> float:
    """Wall time of `run`, the device's work included."""
    wait(device)
    start = time.perf_counter()
    run()
    wait(device)
    return time.perf_counter() - start


def matrix_rate(size: Size, device: torch.device) -> float:
    """Operations per second of a bf16 product of fresh random square matrices."""
    a, b = (torch.randn(size.matrix, size.matrix, device=device, dtype=torch.bfloat16) for _ in range(2))
    rounds = [seconds(lambda: a @ b, device) for _ in range(12)][2:]
    return 2 * size.matrix**3 / statistics.median(rounds)


def seconds_per_kernel(device: torch.device, count: int = 10_000) -> float:
    """From one kernel to the next, however little it does: what `bench.reckoned` assumes of launches."""
    x = torch.zeros(1, device=device)

    def many() -> None:
        for _ in range(count):
            x.add_(1)

    return statistics.median([seconds(many, device) for _ in range(4)][1:]) / count


class Step:
    """The harness' own step on random data: a model, its loader and its trainer."""

    def __init__(
        self, model: TargetModel, x: np.ndarray, y: np.ndarray, batch: int, device: torch.device, folder: Path
    ):
        self.model, self.device, self.folder = model.to(device), device, folder
        self.loader = Loader(ArraySplit(x, y), device)
        self.settings = TrainerSettings(batch_size=batch, checkpoint_seconds=1e9)

    def epoch(self, precision: str, compile: bool = False) -> Callable[[], None]:
        """One epoch in a precision, eager or compiled."""
        forward = compiled(self.model, self.device) if compile else self.model

        def gradient(b: Any) -> dict[str, torch.Tensor]:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=precision == "bf16"):
                output = forward(b.x)
            loss = torch.nn.functional.cross_entropy(output.float(), b.y)
            loss.backward()
            return {"loss": loss.detach()}

        def run() -> None:
            machine.set_matrix_precision(precision)
            work = Checkpoints(self.folder / str(time.monotonic_ns()))
            trainer = Trainer(self.model, self.loader, self.settings, 0, work, lambda word: None)
            moving = list(self.model.parameters())
            trainer.fit(Phase("stage2", "stage2", moving, gradient, 1, lambda epoch: 1e-5))

        return run


def bare_loop(model: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, batch: int) -> Callable[[], None]:
    """An epoch of a timm classifier in bf16 with the same optimiser, on images that lie on the device."""
    optimizer = optimizer_for(TrainerSettings(), list(model.parameters()), 1e-5)

    def run() -> None:
        for i in range(0, len(x), batch):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(x.device.type, torch.bfloat16):
                output = model(x[i : i + batch])
            torch.nn.functional.cross_entropy(output.float(), y[i : i + batch]).backward()
            optimizer.step()

    return run


def per_step(run: Callable[[], None], steps: int, device: torch.device, rounds: int = 3) -> float:
    """Median seconds per step over rounds of an epoch, after one that warms up."""
    run()
    return statistics.median(seconds(run, device) for _ in range(rounds)) / steps


def swin(size: Size, device: torch.device, folder: Path) -> dict[str, float]:
    """Swin-B in bf16: share of the matrix rate, and speed against the bare timm loop."""
    from bench.models.vision import build_swin

    spec = BACKBONES[size.vision]
    n, pixels = size.images * size.steps, spec.image_size
    assert pixels
    x = np.random.default_rng().normal(size=(n, 3, pixels, pixels)).astype(np.float32)
    y = np.random.default_rng().integers(0, 10, n)
    body = load_source_model(spec, random_weights=True)
    step = Step(
        build_target(body, "classes", x.shape[1:], (10,), ModelSettings(), 0), x, y, size.images, device, folder
    )
    with FlopCounterMode(display=False) as counter:
        step.model(torch.from_numpy(x[:1]).to(device)).sum().backward()
    flops = counter.get_total_flops() * size.images
    ours = per_step(step.epoch("bf16"), size.steps, device)
    peak = machine.take_peaks(device).get("device")
    bare = build_swin(size.vision, None).to(device).train()
    theirs = per_step(bare_loop(bare, step.loader._x, step.loader._y, size.images), size.steps, device)  # type: ignore[arg-type]
    rate = matrix_rate(size, device)
    return {
        "images_per_second": size.images / ours, "flops_per_second": flops / ours, "matrix_flops_per_second": rate,
        "share_of_matrix_rate": flops / ours / rate, "of_bare_timm_loop": theirs / ours, "peak_device_bytes": peak or 0,
    }  # fmt: skip


def roberta(size: Size, device: torch.device, folder: Path) -> dict[str, float]:
    """Batch 4: how many times faster than the eager fp32 step are bf16, compiled fp32 and both."""
    spec, batch = BACKBONES[size.text], 4
    x = np.random.default_rng().normal(size=(batch * size.steps, 1, size.tokens)).astype(np.float32)
    y = np.random.default_rng().integers(0, 10, len(x))
    model = build_target(
        load_source_model(spec, random_weights=True),
        "classes",
        x.shape[1:],
        (10,),
        ModelSettings(target_seq_len=size.tokens),
        0,
    )
    step = Step(model, x, y, batch, device, folder)
    arms = [("fp32", False), ("bf16", False), ("fp32", True), ("bf16", True)]
    taken = [per_step(step.epoch(*arm), size.steps, device) for arm in arms]
    names = [f"{precision}{' compiled' if fast else ''}" for precision, fast in arms]
    return {
        "eager_fp32_ms": 1e3 * taken[0],
        "seconds_per_kernel": seconds_per_kernel(device),
        **{f"{n}, times faster": taken[0] / t for n, t in zip(names[1:], taken[1:])},
    }


def run_cell(
    size: Size, places: Places, device: torch.device, method: str, seed: int, precision: str
) -> dict[str, Any]:
    """The record of a quick Darcy cell."""
    selection = Selection(
        tasks=("darcy_pdebench",), methods=(method,), seeds=(seed,), profile=size.profile,
        set=(("trainer.precision", precision),),
    )  # fmt: skip
    (chosen,) = plan.cells(selection, places.data_dir)
    record = cell.run(chosen, places, {"trainer.device": str(device)})
    if record["status"] != "done":
        raise SystemExit(f"{chosen}: {record['error']}")
    return record


def seconds_per_step(rows: list[dict[str, Any]]) -> float:
    """Median over the epochs of a phase, the first left out, in which libraries choose their kernels; its steps add up."""
    ends = [0, *(row["steps"] for row in rows)]
    each = [row["seconds"] / (end - start) for row, start, end in zip(rows, ends, ends[1:])]
    return statistics.median(each[1:] or each)


def mona(size: Size, device: torch.device, folder: Path) -> dict[str, float]:
    """The exact meta step against vanilla's step, both in fp32, from the curves of two cells; the warm-up is left out."""
    places = Places(folder / "data", folder / "mona")
    plain, meta = (run_cell(size, places, device, method, 0, "fp32") for method in ("vanilla", "mona"))
    store = Store(places.results_dir)
    vanilla = seconds_per_step(store.curves(plain)["stage2"])
    exact = seconds_per_step([row for row in store.curves(meta)["stage1"] if row["phase"] == "mona"])
    return {"vanilla_ms": 1e3 * vanilla, "exact_ms": 1e3 * exact, "times_vanilla": exact / vanilla}


def accuracy(size: Size, device: torch.device, folder: Path) -> dict[str, float]:
    """Mean score in bf16 less that in fp32, and the standard deviation over seeds in fp32."""
    places = Places(folder / "data", folder / "accuracy")
    scores = {
        p: [run_cell(size, places, device, "vanilla", seed, p)["score"] for seed in range(size.seeds)]
        for p in ("fp32", "bf16")
    }
    noise = statistics.stdev(scores["fp32"])
    difference = statistics.mean(scores["bf16"]) - statistics.mean(scores["fp32"])
    return {"fp32": statistics.mean(scores["fp32"]), "difference": difference, "seed_deviation": noise}


def verdicts(found: dict[str, dict[str, float]], size: Size) -> list[tuple[str, str, str]]:
    """(target, measured, met?) of every target of the issue."""
    s, r, m, a = (found[k] for k in ("swin", "roberta", "mona", "accuracy"))
    swin_text = f"{s['share_of_matrix_rate']:.0%} of {s['matrix_flops_per_second'] / 1e12:.3g} TFLOP/s; {s['of_bare_timm_loop']:.2f} × bare"
    best = max(v for k, v in r.items() if k.endswith("faster"))
    limit = 2 * a["seed_deviation"] / math.sqrt(size.seeds)
    rows = [
        ("Swin-B bf16 ≥ 45 % of the matrix rate and ≥ 0.95 × a bare timm loop", swin_text,
         s["share_of_matrix_rate"] >= 0.45 and s["of_bare_timm_loop"] >= 0.95),
        ("RoBERTa-base 4 × 256 tokens ≥ 3 × the eager fp32 step", f"{best:.2f} ×", best >= 3),
        ("MoNA exact ≤ 3.5 × vanilla", f"{m['times_vanilla']:.2f} ×", m["times_vanilla"] <= 3.5),
        ("bf16 within the seed noise of fp32", f"{a['difference']:+.4f}, limit ± {limit:.4f}", abs(a["difference"]) <= limit),
    ]  # fmt: skip
    return [(target, value, "yes" if met else "no") for target, value, met in rows]


def main() -> int:
    """Measure, print, write; exit code 2 where there is no GPU and `--micro` was not given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--micro", action="store_true", help="the same code in small, on the CPU")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu.json")
    args = parser.parse_args()
    if not args.micro and not torch.cuda.is_available():
        print("no CUDA device here: --micro runs the same code in small on the CPU")
        return 2
    size, device = (MICRO, torch.device("cpu")) if args.micro else (FULL, torch.device("cuda"))
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for measure in (swin, roberta, mona, accuracy):
            machine.reset_peaks(device)
            found[measure.__name__] = measure(size, device, Path(folder))
            print(measure.__name__, {k: float(f"{v:.4g}") for k, v in found[measure.__name__].items()}, flush=True)
    print(f"\n{machine.device_name(device)}{' — micro sizes: no statement about a GPU' if args.micro else ''}")
    for target, value, met in verdicts(found, size):
        print(f"  {target}: {value}" + ("" if args.micro else f" — met: {met}"))
    about = {"device": machine.device_name(device), "driver": machine.driver(device), "packages": machine.packages()}
    args.out.write_text(json.dumps({**about, "git": machine.git(), "size": asdict(size), "found": found}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
