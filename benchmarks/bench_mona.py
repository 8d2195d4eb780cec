"""One meta step of MoNA in its variants against one vanilla step and one fully unrolled step: time and peak memory.

A BERT body of the size of MiniLM (6 layers of 384, 12 heads, random weights), target and source batches of 16 × 64
tokens, AdamW in every variant. Time is CPU time on one thread, variants taking turns; memory is the growth of the peak
resident size over two steps, each variant in a process of its own. Run as a script with a variant's name, this file
prints that growth in MiB.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

BATCH, TOKENS, WIDTH = 16, 64, 384
INNER_LR, LAMBDA = 0.01, 0.5
LIMITS = {"finite_difference": (3.0, 1.6), "exact": (3.5, None)}
"""Of vanilla: time, memory. A ratio above them is printed, not an error: they are targets, and machines differ."""


class Encoder(nn.Module):
    """The transformer layers of a BERT without its embeddings."""

    def __init__(self) -> None:
        super().__init__()
        from transformers import BertConfig, BertModel

        config = BertConfig(
            hidden_size=WIDTH, num_hidden_layers=6, num_attention_heads=12, intermediate_size=4 * WIDTH, vocab_size=2,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )  # fmt: skip
        self.layers = BertModel(config, add_pooling_layer=False).encoder

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.layers(tokens)[0]


class Embedder(nn.Module):
    """Patches of 16 values to tokens: linear, LayerNorm, positions."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.norm = nn.Linear(16, WIDTH), nn.LayerNorm(WIDTH)
        self.positions = nn.Parameter(0.02 * torch.randn(TOKENS, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.project(x)) + self.positions


class Predictor(nn.Module):
    """Mean over tokens, then linear."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, 10)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.linear(features.mean(1))


def variants() -> dict[str, Callable[[], None]]:
    """Name -> one training step, all on the same three modules and batches."""
    from methods.meta_gradient import BiLevel, Kind, meta_gradient
    from methods.outer_loss import align_and_uniform, pooled

    torch.manual_seed(0)
    embedder, encoder, predictor = Embedder(), Encoder(), Predictor()
    x, y = torch.randn(BATCH, TOKENS, 16), torch.arange(BATCH) % 10
    tokens, labels = torch.randn(BATCH, TOKENS, WIDTH), torch.arange(BATCH) // 2
    phi, psi = list(embedder.parameters()), list(predictor.parameters())
    outside = torch.optim.AdamW([*phi, *psi], lr=1e-5)
    everything = torch.optim.AdamW([*phi, *encoder.parameters(), *psi], lr=1e-5)

    def inner(encode):
        return F.cross_entropy(predictor(encode(embedder(x))), y)

    def outer(encode):
        align, uniform = align_and_uniform(pooled(encode(tokens)), labels)
        return {"outer": align + uniform}

    def vanilla() -> None:
        everything.zero_grad(set_to_none=True)
        inner(encoder).backward()
        everything.step()

    def unrolled() -> None:
        weights = {name: p.detach().requires_grad_() for name, p in encoder.named_parameters()}
        with sdpa_kernel(SDPBackend.MATH):
            loss = inner(lambda t: functional_call(encoder, weights, (t,)))
            slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            moved = {name: w - INNER_LR * slope for (name, w), slope in zip(weights.items(), slopes)}
            total = loss + LAMBDA * outer(lambda t: functional_call(encoder, moved, (t,)))["outer"]
            step([*phi, *psi], torch.autograd.grad(total, [*phi, *psi]))

    def meta(kind: Kind) -> Callable[[], None]:
        def run() -> None:
            found = meta_gradient(kind, BiLevel(encoder, inner, outer, phi, psi, INNER_LR))
            mixed = [a + LAMBDA * b for a, b in zip(found.phi_inner, found.phi_outer)]
            step([*phi, *psi], [*mixed, *found.psi_inner])

        return run

    def step(parameters, gradients) -> None:
        for p, gradient in zip(parameters, gradients):
            p.grad = gradient
        outside.step()

    kinds: tuple[Kind, ...] = ("exact", "finite_difference", "first_order")
    return {"vanilla": vanilla, "unrolled": unrolled, **{kind: meta(kind) for kind in kinds}}


def peak_growth(name: str) -> float:
    """MiB by which two steps raise the peak resident size of this process. Linux only."""
    run = variants()[name]
    before = peak_mib()
    run()
    run()
    return peak_mib() - before


def peak_mib() -> float:
    """Peak resident size of this process in MiB."""
    # getrusage would count the process that started this one: its peak survives fork and exec.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def test_a_meta_step_against_a_vanilla_and_an_unrolled_one(benchmark):
    from benchmarks.interleaved import cpu_seconds, table

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps = variants()
        seconds = cpu_seconds(steps, rounds=2)
        memory = {name: measured_apart(name) for name in steps}
        rows = {
            name: {
                "CPU s": seconds[name],
                "time / vanilla": seconds[name] / seconds["vanilla"],
                "MiB": memory[name],
                "memory / vanilla": memory[name] / memory["vanilla"],
                "memory / unrolled": memory[name] / memory["unrolled"],
            }
            for name in steps
        }
        print(table(rows))
        for name, (time_limit, memory_limit) in LIMITS.items():
            row = rows[name]
            missed = row["time / vanilla"] > time_limit or row["memory / vanilla"] > (memory_limit or float("inf"))
            print(f"{name}: target of {time_limit}x time, {memory_limit}x memory {'missed' if missed else 'met'}")
        benchmark.extra_info |= {"steps": rows, "threads": 1}
        benchmark.pedantic(steps["exact"], rounds=1, iterations=1)
    finally:
        torch.set_num_threads(threads)
    assert rows["finite_difference"]["memory / unrolled"] < rows["exact"]["memory / unrolled"] <= 1.05


def measured_apart(name: str) -> float:
    """`peak_growth` in a process of its own, on one thread."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), name],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    torch.set_num_threads(1)
    print(peak_growth(sys.argv[1]))
