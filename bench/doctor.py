"""What `bench doctor` looks at: each finding is good, missing or broken, with the cure."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench import registry
from bench import standins as data
from bench.backbones import BACKBONES
from bench.errors import SetupError
from bench.launch.slurm import manifest, queue
from bench.leftovers import READ, Leftovers, find
from bench.records.complete import damaged_sidecars
from bench.records.store import Store
from bench.words import counted

REQUIRED = (
    "torch", "torchvision", "timm", "transformers", "h5py", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib",
    "submitit", "requests", "rich", "safetensors", "soundfile",
)  # fmt: skip
CONFIGURATIONS = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf", "/run/slurm/conf/slurm.conf")
LOW_DISK = 2 << 30
SHOWN = 5
"""Unreadable files named one by one."""


@dataclass(frozen=True)
class Finding:
    """One line of the screen."""

    what: str
    state: Literal["good", "missing", "broken"]
    detail: str
    cure: str = ""


def examine(data_dir: Path, results_dir: Path) -> list[Finding]:
    """Every finding, from the interpreter to the last record."""
    store = Store(results_dir)
    return [
        _python(),
        _packages(),
        _torch(),
        *_devices(),
        _slurm(),
        *_weights(),
        *_plugins(),
        _data(data_dir),
        _disk(results_dir),
        *_store(store, data_dir),
    ]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    where = f"{version} ({sys.executable})"
    return Finding("python", "good" if good else "broken", where, "" if good else "needs Python 3.11 or newer")


def _packages() -> Finding:
    lacking = []
    for name in REQUIRED:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            lacking.append(name)
    if lacking:
        return Finding("packages", "broken", f"not installed: {', '.join(lacking)}", "make install")
    return Finding("packages", "good", f"all {len(REQUIRED)} that are needed are installed")


def _torch() -> Finding:
    """Import torch with torchvision in a process of their own: a mismatched pair may end it."""
    if importlib.util.find_spec("torch") is None:
        return Finding("torch", "broken", "not installed", "make install")
    script = "import torch, torchvision; print(torch.__version__, torchvision.__version__, torch.version.cuda or 'cpu')"
    try:
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        return Finding("torch", "broken", "importing it takes more than three minutes", "look at the disk it lies on")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Finding(
            "torch", "broken", reason, "install torch and torchvision together, from one index: make install"
        )
    torch, vision, build = done.stdout.split()
    return Finding("torch", "good", f"{torch}, torchvision {vision}, built for {build}")


def _devices() -> Iterator[Finding]:
    from bench.machine import cpu_name

    yield Finding("cpu", "good", cpu_name())
    if shutil.which("nvidia-smi") is None:
        yield Finding("gpu", "missing", "none here", "the quick suite runs on a CPU; published recipes want a GPU")
        return
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=60, check=False)
        cards = [] if done.returncode else done.stdout.strip().splitlines()
        reason = (done.stderr or done.stdout).strip() or "nvidia-smi says nothing"
    except subprocess.TimeoutExpired:
        cards, reason = [], "nvidia-smi does not answer"
    if not cards:
        cure = "a driver that answers: ask whoever runs this machine"
        yield Finding("gpu", "broken", reason.splitlines()[0], cure)
    for number, line in enumerate(cards):
        yield Finding(f"gpu {number}", "good", line)


def _slurm() -> Finding:
    if shutil.which("sbatch") is None:
        return Finding("slurm", "missing", "no sbatch here", "--executor local -j N, or go to a login node")
    configured = "SLURM_CONF" in os.environ or any(Path(p).exists() for p in CONFIGURATIONS)
    if not configured and queue.squeue() is None:
        cure = "--executor local -j N, or export SLURM_CONF where a cluster has its file elsewhere"
        return Finding("slurm", "missing", "its commands are installed, no cluster is configured", cure)
    if queue.squeue() is None:
        cure = "look at SLURM_CONF, and whether the controller runs (scontrol ping)"
        return Finding("slurm", "broken", "squeue does not answer", cure)
    return Finding("slurm", "good", f"squeue answers, arrays of up to {queue.max_array_size()} elements")


def _weights() -> Iterator[Finding]:
    for backbone in BACKBONES.values():
        reason = backbone.unusable()
        if reason is None:
            yield Finding(f"weights {backbone.name}", "good", str(backbone.files()))
        else:
            detail, _, cure = reason.partition("; ")
            # The embedded ones come with the installation, and whatever is offline stands on them.
            absent = backbone.hub and backbone.missing() is not None
            state: Literal["missing", "broken"] = "missing" if absent else "broken"
            yield Finding(f"weights {backbone.name}", state, detail.partition(": ")[2] or detail, cure)


def _plugins() -> Iterator[Finding]:
    tasks, methods = registry.tasks(), registry.methods()
    yield Finding("plug-ins", "good", f"{len(tasks.items)} tasks, {len(methods.items)} methods")
    for broken in (*tasks.broken, *methods.broken):
        yield Finding(
            f"plug-in {broken.name}", "broken", f"{broken.where}: {broken.reason}", "correct or remove the file"
        )


def _data(data_dir: Path) -> Finding:
    tasks = registry.tasks().items
    official = [name for name, task in tasks.items() if data.official_here(task, data_dir)]
    made = [
        name
        for name, task in tasks.items()
        if name not in official and any(data.standin_here(task, data_dir, p) for p in task.sizes)
    ]
    detail = f"{data_dir}: official files of {len(official)} tasks, stand-ins of {len(made)} more, of {len(tasks)}"
    if official or made:
        return Finding("data", "good", detail)
    return Finding("data", "missing", detail, "bench data fetch; or name a task, and its stand-in is generated")


def _disk(results_dir: Path) -> Finding:
    existing = next(p for p in (results_dir.absolute(), *results_dir.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{free / (1 << 30):.1f} GiB free at {existing}"
    if free < LOW_DISK:
        return Finding("disk", "broken", detail, "free some space, or choose another folder with --results-dir")
    return Finding("disk", "good", detail)


def _store(store: Store, data_dir: Path) -> Iterator[Finding]:
    """Whether records can be written, and every file in the store that is not what it should be."""
    if not store.folder.is_dir():
        yield Finding("results", "missing", f"{store.folder} is not there yet", "the first run makes it")
        yield from _leftovers(find(store, [], data_dir))
        return
    try:
        store.ensure_writable()
    except SetupError as error:
        yield Finding("results", "broken", str(error), "choose another folder with --results-dir")
    records, problems = store.scan((*READ, "sidecars"))
    manifests, bad = manifest.scan(store)
    detail = f"{store.folder}: {len(records)} readable records, {len(manifests)} submissions"
    yield Finding("records", "good", detail)
    damaged = (
        [(p.path, p.reason) for p in problems]
        + bad
        + [(path, why) for _, path, why in damaged_sidecars(store, records)]
    )
    for path, reason in damaged[:SHOWN]:
        cure = (
            "update this project" if "newer" in reason else f"look at it, then remove it: the cell runs again ({path})"
        )
        yield Finding("unreadable", "broken", f"{path.name}: {reason}", cure)
    if len(damaged) > SHOWN:
        yield Finding(
            "unreadable", "broken", f"{len(damaged) - SHOWN} more files", "remove those named, and look again"
        )
    yield from _leftovers(find(store, records, data_dir))


def _leftovers(found: Leftovers) -> Iterator[Finding]:
    """Work folders that nobody works in, and what killed processes have left: harmless, and worth a word."""
    if found.begun:
        detail = f"{counted(len(found.begun), 'cell')} begun and not ended; the next run resumes them"
        yield Finding("interrupted", "good", detail)
    if found.failed:
        detail = (
            f"{counted(len(found.failed), 'failed cell')}; --retry failed goes on from the checkpoint, if there is one"
        )
        yield Finding("failed", "good", detail)
    if found.superfluous:
        names = ", ".join(str(path) for path in found.superfluous[:SHOWN])
        detail = f"{counted(len(found.superfluous), 'leftover')} of finished cells and killed processes: {names}"
        yield Finding("leftovers", "missing", detail, "`bench doctor --clean` removes them")
