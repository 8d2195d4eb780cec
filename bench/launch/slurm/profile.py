"""A site's defaults for Slurm: a TOML file with the names of the options, and what only a site needs to say.

partition = "gpu"
account = "my-lab"
array_parallelism = 32
setup = ["module load cuda"]          # lines of the job script, before Python
[cpu]                                 # on top, for cells that need no GPU
partition = "batch"
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.errors import UsageError, unknown
from bench.launch.options import LaunchOptions

_SAFE = re.compile(r"[A-Za-z0-9_.,:;%@+=/&|*!()\[\]-]+")
"""What a partition, account, qos, constraint or mail address may hold. No white space: they enter a script."""


@dataclass(frozen=True)
class SlurmOptions:
    """Everything that the Slurm executor wants to know, for one kind of cells."""

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    wckey: str | None = None
    mail_user: str | None = None
    mail_type: str | None = None
    time: int | None = None
    gpus: int | None = None
    cpus: int | None = None
    memory_gb: int | None = None
    array_parallelism: int = 256
    pack_minutes: int = 60
    requeues: int = 3
    signal_delay_s: int = 120
    setup: tuple[str, ...] = ()
    """Lines put into the job script before Python starts; only a profile can give them."""
    srun_args: tuple[str, ...] = ()
    """Further arguments of srun, e.g. ["--cpu-bind=none"]."""
    sbatch: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Further sbatch parameters by their long name, e.g. {licenses = "x"}."""


_NAMES = {f.name: f for f in dataclasses.fields(SlurmOptions)}
_NUMBERS = {"time", "gpus", "cpus", "memory_gb", "array_parallelism", "pack_minutes", "requeues", "signal_delay_s"}
_LISTS = {"setup", "srun_args"}
_OURS = {"array", "dependency", "error", "job-name", "open-mode", "output", "signal", "wrap"}
"""Parameters of sbatch on which manifests, logs and requeues stand."""


def default_path() -> Path:
    """`~/.config/bench/slurm.toml`, or where XDG_CONFIG_HOME says."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or machine.home() / ".config") / "bench" / "slurm.toml"


def read(given: str | None) -> dict[str, dict[str, Any]]:
    """Checked tables `all`, `gpu` and `cpu` of a profile; empty ones if none was named and there is no default file."""
    path = Path(given).expanduser() if given else default_path()
    if not given and not path.exists():
        return {"all": {}, "gpu": {}, "cpu": {}}
    try:
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"Slurm profile {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"Slurm profile {path}: {error}") from None
    tables = {kind: plain.pop(kind, {}) for kind in ("gpu", "cpu")}
    for kind, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"Slurm profile {path}: {kind} = {table!r}: [{kind}] is a table; the number is `{kind}s`")
    return {kind: _checked(table, str(path)) for kind, table in {"all": plain, **tables}.items()}


def options_for(gpu: bool, tables: Mapping[str, Mapping[str, Any]], options: LaunchOptions) -> SlurmOptions:
    """The command line over the profile's table for this kind of cells, over its general part, over the defaults."""
    given = {name: getattr(options, name) for name in _NAMES if getattr(options, name, None) is not None}
    merged = {**tables["all"], **tables["gpu" if gpu else "cpu"], **_checked(given, "the command line")}
    return SlurmOptions(**merged)


def _checked(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The table with every name known and every value of its type and harmless in a script."""
    out = {}
    for name, value in table.items():
        if name not in _NAMES:
            raise unknown(f"name in {where}:", name, _NAMES)
        if name in _NUMBERS:
            least = int(name in ("array_parallelism", "time"))
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(f"{where}: {name} = {value!r} is not a whole number from {least}")
        elif name in _LISTS:
            if not isinstance(value, (list, tuple)) or not all(isinstance(v, str) and "\n" not in v for v in value):
                raise UsageError(f"{where}: {name} = {value!r} is not a list of lines")
            value = tuple(value)
        elif name == "sbatch":
            _check_sbatch(value, where)
        elif not isinstance(value, str) or not _SAFE.fullmatch(value):
            raise UsageError(f"{where}: {name} = {value!r} is not a name (letters, digits and {'_.,:%@+=/&|*!()[]-'})")
        out[name] = value
    return out


def _check_sbatch(value: Any, where: str) -> None:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: sbatch is a table of parameter = value")
    for key, text in value.items():
        if key in _OURS:
            raise UsageError(f"{where}: sbatch.{key}: the launcher sets that itself, to find its jobs again")
        plain = isinstance(text, (str, int)) and text is not False
        if not re.fullmatch(r"[a-z][a-z-]*", key) or not (text is True or (plain and _SAFE.fullmatch(str(text)))):
            raise UsageError(f"{where}: sbatch.{key} = {text!r} is not a parameter with a plain value")
