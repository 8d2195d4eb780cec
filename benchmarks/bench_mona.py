"""One meta step of MoNA in its variants against one vanilla step and one fully unrolled step: time, memory, agreement.

A BERT body of the size of MiniLM (6 layers of 384, 12 heads, random weights), target and source batches of 16 × 64
tokens, AdamW in every variant. Time is CPU time on one thread, variants taking turns. Memory is the growth of the peak
resident size over two steps, each variant in a process of its own: as the C library's allocator has it, and "live",
with every freed tensor handed back at once, which leaves out what that allocator keeps in pieces. Names in parentheses
are variants that are not shipped. Run as a script with a variant's name, this file prints that growth in MiB.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call, jvp, vjp
from torch.nn.attention import SDPBackend, sdpa_kernel

BATCH, TOKENS, WIDTH = 16, 64, 384
INNER_LR, LAMBDA = 0.01, 0.5
LIMITS = {
    "finite_difference": {"time / vanilla": 3.0, "memory / vanilla": 1.6},
    "exact": {"time / vanilla": 3.5, "memory / unrolled": 0.7},
}
"""A ratio above them is printed, not an error: they are targets, and machines differ."""
HANDED_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Makes glibc map every tensor on its own, so that freeing one returns its memory."""

Found = tuple[Sequence[torch.Tensor], Sequence[torch.Tensor]]
"""The embedder's whole gradient, and the part of it that comes through the simulated step."""


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


class Steps:
    """The variants of one training step, all on the same three modules and batches."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.embedder, self.encoder, self.predictor = Embedder(), Encoder(), Predictor()
        self.x, self.y = torch.randn(BATCH, TOKENS, 16), torch.arange(BATCH) % 10
        self.tokens, self.labels = torch.randn(BATCH, TOKENS, WIDTH), torch.arange(BATCH) // 2
        self.phi, self.psi = list(self.embedder.parameters()), list(self.predictor.parameters())
        self.outside = torch.optim.AdamW([*self.phi, *self.psi], lr=1e-5)
        self.everything = torch.optim.AdamW([*self.phi, *self.encoder.parameters(), *self.psi], lr=1e-5)

    def inner(self, encode) -> torch.Tensor:
        return F.cross_entropy(self.predictor(encode(self.embedder(self.x))), self.y)

    def outer(self, encode) -> dict[str, torch.Tensor]:
        from methods.outer_loss import align_and_uniform, pooled

        align, uniform = align_and_uniform(pooled(encode(self.tokens)), self.labels)
        return {"outer": align + uniform}

    def vanilla(self) -> None:
        self.everything.zero_grad(set_to_none=True)
        self.inner(self.encoder).backward()
        self.everything.step()

    def unrolled(self) -> Found:
        weights = {name: p.detach().requires_grad_() for name, p in self.encoder.named_parameters()}
        with sdpa_kernel(SDPBackend.MATH):
            loss = self.inner(lambda t: functional_call(self.encoder, weights, (t,)))
            slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            moved = {name: w - INNER_LR * slope for (name, w), slope in zip(weights.items(), slopes)}
            total = loss + LAMBDA * self.outer(lambda t: functional_call(self.encoder, moved, (t,)))["outer"]
            whole = torch.autograd.grad(total, [*self.phi, *self.psi])
        self.step(whole[: len(self.phi)], whole[len(self.phi) :])
        return whole[: len(self.phi)], ()

    def meta(self, gradient) -> Found:
        """A step on the `MetaGradient` that `gradient(problem)` finds."""
        from methods.meta_gradient import BiLevel

        found = gradient(BiLevel(self.encoder, self.inner, self.outer, self.phi, self.psi, INNER_LR))
        whole = [a + LAMBDA * b for a, b in zip(found.phi_inner, found.phi_outer)]
        self.step(whole, found.psi_inner)
        return whole, found.phi_outer

    def step(self, phi, psi) -> None:
        for p, gradient in zip([*self.phi, *self.psi], [*phi, *psi]):
            p.grad = gradient
        self.outside.step()

    def one_sided(self, problem):
        """The difference of one pass more and the one at hand. Its error is of first order, so its step is smaller."""
        return self.second_pass(problem, self.difference_to)

    def difference_to(self, problem, weights, v, phi, replay):
        from methods import meta_gradient as m

        epsilon = 1e-4 * m._norm(weights.values()) / m._norm(v.values())
        ahead = m._phi_slope_at(problem, weights, v, epsilon, replay)
        return [(a - b) / epsilon for a, b in zip(ahead, phi)]

    def forward_over_reverse(self, problem):
        """The exact product by forward-mode derivatives of one pass more, which needs no graph of the first."""
        return self.second_pass(problem, self.derivative_along)

    def derivative_along(self, problem, weights, v, phi, replay):
        embedded = self.embedder(self.x)
        at = {name: w.detach() for name, w in weights.items()}

        def slope(weights):
            """∇ L_inner by the embedded tokens."""
            loss, pull = vjp(
                lambda tokens: self.inner(lambda _: functional_call(self.encoder, weights, (tokens,))),
                embedded.detach(),
            )
            with torch.no_grad():  # without a graph of the pull itself
                return pull(torch.ones_like(loss))[0]

        with sdpa_kernel(SDPBackend.MATH):
            _, turned = jvp(slope, (at,), (v,))
        return torch.autograd.grad(embedded, self.phi, turned)

    def second_pass(self, problem, product):
        from methods import meta_gradient as m

        weights, replay = m._copies(problem.encoder), m._replay(torch.device("cpu"))
        loss = problem.inner(m._with(problem.encoder, weights))
        slopes, phi, psi = m._inner_slopes(loss, weights, problem)
        alpha = m._alpha(problem, slopes)
        logs, v = m._outer_slopes(problem, m._adapted(weights, slopes, alpha))
        del slopes
        mixed = [-alpha * g for g in product(problem, weights, v, phi, replay)]
        return m.MetaGradient(loss.detach(), logs, phi, mixed, psi, alpha)

    def all(self) -> dict[str, Callable[[], Found | None]]:
        """Name -> step."""
        from methods.meta_gradient import meta_gradient

        kinds = ("exact", "finite_difference", "first_order")
        shipped = {kind: lambda kind=kind: self.meta(lambda p: meta_gradient(kind, p)) for kind in kinds}
        left = {
            name: lambda name=name: self.meta(getattr(self, name)) for name in ("one_sided", "forward_over_reverse")
        }
        return {
            "vanilla": self.vanilla,
            "unrolled": self.unrolled,
            **shipped,
            **{f"({name})": step for name, step in left.items()},
        }


def peak_growth(name: str) -> float:
    """MiB by which two steps raise the peak resident size of this process. Linux only."""
    run = Steps().all()[name]
    before = peak_mib()
    run()
    run()
    return peak_mib() - before


def peak_mib() -> float:
    """Peak resident size of this process in MiB."""
    # getrusage would count the process that started this one: its peak survives fork and exec.
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def off(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """‖found − expected‖ / ‖expected‖."""
    a, b = (torch.cat([g.flatten().double() for g in part]) for part in (found, expected))
    return float((a - b).norm() / b.norm())


def agreement() -> dict[str, dict[str, float]]:
    """How far each variant's gradient is from the unrolled one, and its part through the simulated step from `exact`."""
    # A fresh start for each, since every step moves the embedder.
    found = {name: Steps().all()[name]() for name in Steps().all() if name != "vanilla"}
    whole, part = found.pop("unrolled")[0], found["exact"][1]
    return {name: {"whole - unrolled": off(g[0], whole), "part - exact": off(g[1], part)} for name, g in found.items()}


def test_a_meta_step_against_a_vanilla_and_an_unrolled_one(benchmark):
    """Time, memory and agreement of every variant."""
    from benchmarks.interleaved import cpu_seconds, table

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps = Steps().all()
        seconds = cpu_seconds(steps, rounds=3)
        memory = {name: measured_apart(name, {}) for name in steps}
        live = {name: measured_apart(name, HANDED_BACK) for name in steps}
        rows = {
            name: {
                "CPU s": seconds[name],
                "time / vanilla": seconds[name] / seconds["vanilla"],
                "MiB": memory[name],
                "memory / vanilla": memory[name] / memory["vanilla"],
                "memory / unrolled": memory[name] / memory["unrolled"],
                "live MiB": live[name],
                "live / unrolled": live[name] / live["unrolled"],
            }
            for name in steps
        }
        apart = agreement()
        print(table(rows), table(apart))
        for name, limits in LIMITS.items():
            for column, limit in limits.items():
                print(f"{name}: {column} {'met' if rows[name][column] <= limit else 'missed'}, target {limit}")
        benchmark.extra_info |= {"steps": rows, "agreement": apart, "threads": 1}
        benchmark.pedantic(steps["exact"], rounds=1, iterations=1)
    finally:
        torch.set_num_threads(threads)
    assert rows["finite_difference"]["memory / unrolled"] < rows["exact"]["memory / unrolled"] <= 1.05
    assert apart["exact"]["whole - unrolled"] <= 1e-5 and apart["finite_difference"]["part - exact"] <= 1e-3


def measured_apart(name: str, environment: dict[str, str]) -> float:
    """`peak_growth` in a process of its own, on one thread."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), name],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | environment,
    )
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    torch.set_num_threads(1)
    print(peak_growth(sys.argv[1]))
