"""How cells are launched: the one table of the executors' options, for the command line, a site's profile and sbatch."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bench.errors import UsageError

EXECUTORS = ("inline", "local", "slurm")
USED_BY = {"wait": EXECUTORS, "stage": EXECUTORS, "jobs": ("local",), "watchdog": ("local", "slurm")}
"""Option -> the executors that use it; the others are Slurm's."""


@dataclass(frozen=True)
class LaunchOptions:
    """Options of the executors."""

    jobs: int = 1
    watchdog: float = 1800.0
    wait: bool = False
    stage: str | None = None
    slurm_profile: str | None = None
    slurm: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `SlurmOptions` that were given; what was not says the profile, or it is estimated from the cells."""
    quiet: bool = False


def _said(meaning: str, default: Any = None, least: int = 0) -> Any:
    """A field that has an option on the command line, with its `meaning`; a number of at least `least`."""
    return field(default=default, metadata={"meaning": meaning, "least": least})


@dataclass(frozen=True)
class SlurmOptions:
    """Everything that the Slurm executor wants to know, for one kind of cells; only a profile says what has no meaning here.

    A field that is text has the name that sbatch gives it.
    """

    partition: str | None = _said("partition to submit to")
    account: str | None = _said("account to charge")
    qos: str | None = _said("quality of service")
    constraint: str | None = _said("node features, as sbatch takes them")
    exclude: str | None = None
    wckey: str | None = None
    mail_user: str | None = None
    mail_type: str | None = None
    time: int | None = _said("minutes per cell (default: estimated from task, backbone and recipe)", least=1)
    gpus: int | None = _said("GPUs per cell, 0 or 1 (default: 1, and 0 for cells that a CPU does in minutes)")
    cpus: int | None = _said("CPU cores per job")
    memory_gb: int | None = _said("memory per job, GB")
    array_parallelism: int = _said("array elements that may run at once (at least one of each array)", 256, least=1)
    pack_minutes: int = _said("short cells are packed into one array element of about this many minutes (0: never)", 60)
    requeues: int = _said("times a cell may be requeued after its time limit before it is recorded as timeout", 3)
    signal_delay_s: int = _said("seconds before the time limit at which a job is told to stop", 120)
    setup: tuple[str, ...] = ()
    """Lines put into the job script before Python starts; only a profile can give them."""
    srun_args: tuple[str, ...] = ()
    """Further arguments of srun, e.g. ["--cpu-bind=none"]."""
    sbatch: Mapping[str, Any] = field(default_factory=dict)
    """Further sbatch parameters by their long name, e.g. {licenses = "x"}."""

    def names(self) -> dict[str, str]:
        """The parameters of sbatch among these that are given, by its own names."""
        texts = {f.name: getattr(self, f.name) for f in fields(self) if f.type == "str | None"}
        return {name: text for name, text in texts.items() if text is not None}


SLURM = {f.name: f for f in fields(SlurmOptions)}


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
    for name, option in SLURM.items():
        if "meaning" in option.metadata:
            number = str(option.type).startswith("int")
            slurm.add_argument(
                f"--{name.replace('_', '-')}",
                type=whole if number else str,
                metavar="N" if number else "NAME",
                help=option.metadata["meaning"],
            )


def launch_options(args: argparse.Namespace) -> LaunchOptions:
    """The parsed options of `add_launch_arguments`; UsageError for one that the executor has no use for."""
    named = {name: getattr(args, name, None) for name in (*(f.name for f in fields(LaunchOptions)), *SLURM)}
    given: dict[str, Any] = {name: value for name, value in named.items() if value is not None and value is not False}
    for name in given:
        used_by = USED_BY.get(name, ("slurm",))
        if args.executor not in used_by:
            option = "-j" if name == "jobs" else f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} has no effect with --executor {args.executor}: it is for --executor {' and '.join(used_by)}"
            )
    slurm = {name: given.pop(name) for name in SLURM if name in given}
    return LaunchOptions(quiet=getattr(args, "json", False), slurm=slurm, **given)


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
