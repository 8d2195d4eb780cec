"""How cells are launched: the options of `bench run` and `bench plan` that belong to an executor."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, fields
from typing import Any

from bench.errors import UsageError

EXECUTORS = ("inline", "local", "slurm")
USED_BY = {"wait": EXECUTORS, "stage": EXECUTORS, "jobs": ("local",), "watchdog": ("local", "slurm")}
"""Option -> the executors that use it; the others are Slurm's."""


@dataclass(frozen=True)
class LaunchOptions:
    """Options of the executors. None: the profile says it, else it is estimated from the cells."""

    jobs: int = 1
    watchdog: float = 1800.0
    wait: bool = False
    stage: str | None = None
    slurm_profile: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    time: int | None = None
    gpus: int | None = None
    cpus: int | None = None
    memory_gb: int | None = None
    array_parallelism: int | None = None
    pack_minutes: int | None = None
    requeues: int | None = None
    signal_delay_s: int | None = None
    quiet: bool = False


def add_launch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--executor` and every option of the executors to a command."""
    parser.add_argument(
        "--executor",
        choices=EXECUTORS,
        type=str.lower,
        default="inline",
        help="where cells run (default: in this process)",
    )
    parser.add_argument(
        "--wait", action="store_true", help="stay until cells that other processes or Slurm jobs run have ended, too"
    )
    parser.add_argument(
        "--stage", nargs="?", const="auto", metavar="DIR",
        help="copy each cell's data files to the node's own disk, once per node, and remove them at the end "
        "(default DIR: $SLURM_TMPDIR, else the folder for temporary files)",
    )  # fmt: skip
    local = parser.add_argument_group("executor local")
    local.add_argument(
        "-j",
        "--jobs",
        type=positive,
        default=None,
        metavar="N",
        help="processes at once, one GPU each if there are (default: 1)",
    )
    local.add_argument(
        "--watchdog",
        type=seconds,
        default=None,
        metavar="S",
        help="a cell without any progress for S seconds is ended and recorded as lost (local and slurm; default: 1800; "
        "0: never)",
    )
    slurm = parser.add_argument_group("executor slurm")
    slurm.add_argument(
        "--slurm-profile", metavar="FILE", help="defaults of a site, TOML (default: ~/.config/bench/slurm.toml)"
    )
    for name, meaning in (
        ("partition", "partition to submit to"),
        ("account", "account to charge"),
        ("qos", "quality of service"),
        ("constraint", "node features, as sbatch takes them"),
    ):
        slurm.add_argument(f"--{name}", metavar="NAME", help=meaning)
    for name, meaning in (
        ("time", "minutes per cell (default: estimated from task, backbone and recipe)"),
        ("gpus", "GPUs per cell, 0 or 1 (default: 1, and 0 for cells that a CPU does in minutes)"),
        ("cpus", "CPU cores per job"),
        ("memory-gb", "memory per job, GB"),
        ("array-parallelism", "array elements that may run at once, over all arrays of this run"),
        ("pack-minutes", "short cells are packed into one array element of about this many minutes (0: never)"),
        ("requeues", "times a cell may be requeued after its time limit before it is recorded as timeout"),
        ("signal-delay-s", "seconds before the time limit at which a job is told to stop"),
    ):
        slurm.add_argument(f"--{name}", type=whole, metavar="N", help=meaning)


def launch_options(args: argparse.Namespace) -> LaunchOptions:
    """The parsed options of `add_launch_arguments`; UsageError for one that the executor has no use for."""
    named = {f.name: getattr(args, f.name, None) for f in fields(LaunchOptions)}
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None and value is not False}
    for name in given:
        used_by = USED_BY.get(name, ("slurm",))
        if args.executor not in used_by:
            option = "-j" if name == "jobs" else f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} has no effect with --executor {args.executor}: it is for --executor {' and '.join(used_by)}"
            )
    return LaunchOptions(**{"quiet": getattr(args, "json", False), **given})


def whole(text: str) -> int:
    """A whole number from 0."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def seconds(text: str) -> float:
    """A duration from 0 that ends."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds from 0")
    return value


def positive(text: str) -> int:
    """A whole number from 1."""
    if whole(text) == 0:
        raise argparse.ArgumentTypeError("expected at least 1")
    return int(text)
