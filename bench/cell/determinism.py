"""What makes a cell's numbers the same wherever and after whatever it runs: random state, kernels, threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from bench import machine
from bench.cell.batches import torch_seed

NO_KERNEL = "does not have a deterministic implementation"
"""What torch says of an operation without a deterministic kernel."""


@contextlib.contextmanager
def determinism(seed: int, runtime: Mapping[str, Any]) -> Iterator[None]:
    """Torch's global random state, switches and threads as the cell wants them, put back afterwards.

    RuntimeError where deterministic kernels are asked for and an operation has none. No operation of this project is
    one (tests/test_determinism.py); torch's fused attention has a deterministic backward pass only where this is an error.
    """
    deterministic = bool(runtime.get("trainer.deterministic", True))
    before = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    memory: Any = torch.utils.deterministic
    warn_only, fill = torch.is_deterministic_algorithms_warn_only_enabled(), memory.fill_uninitialized_memory
    device, tf32 = machine.choose_device(str(runtime.get("trainer.device", "auto"))), torch.backends.cudnn.allow_tf32
    threads = torch.get_num_threads()
    with machine.current(device), threadpool_limits(machine.threads()), seeded(seed, "global", device):
        torch.set_num_threads(machine.threads())
        torch.use_deterministic_algorithms(deterministic)
        memory.fill_uninitialized_memory = (
            False  # a kernel for every `torch.empty`, and nothing here reads one unwritten
        )
        try:
            yield
        except RuntimeError as error:
            if NO_KERNEL not in str(error):
                raise
            cure = "--set trainer.deterministic=false runs it all the same, and may give another score each time"
            raise RuntimeError(f"{str(error).partition(',')[0]}; {cure}") from error
        finally:
            torch.use_deterministic_algorithms(before[0], warn_only=warn_only)
            memory.fill_uninitialized_memory = fill
            torch.set_float32_matmul_precision(before[1])
            torch.backends.cudnn.allow_tf32 = tf32
            torch.set_num_threads(threads)


@contextlib.contextmanager
def seeded(seed: int, name: str, device: torch.device) -> Iterator[None]:
    """Torch's global generators seeded for `name`, and afterwards as if nothing had been drawn."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(torch_seed(seed, name))
        yield
