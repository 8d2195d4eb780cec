"""A site's defaults for Slurm: a TOML file with the names of the options, and what only a site needs to say.

partition = "gpu"
account = "my-lab"
array_parallelism = 32
setup = ["module load cuda"]          # lines of the job script, before Python
[cpu]                                 # on top, for cells that need no GPU
partition = "batch"
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import machine
from bench.errors import UsageError, unknown
from bench.launch.options import SLURM, LaunchOptions, SlurmOptions
from tasks.files.regular import NOTE, read_linked

_SAFE = re.compile(r"[A-Za-z0-9_.,:;%@+=/&|*!()\[\]-]+")
"""What a partition, account, qos, constraint or mail address may hold. No white space: they enter a script."""
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
        plain = tomllib.loads(read_linked(path, NOTE).decode())
    except OSError as error:
        raise UsageError(f"Slurm profile {path}: {error.strerror}") from None
    except ValueError as error:  # TOML's and Unicode's errors are ValueErrors
        raise UsageError(f"Slurm profile {path}: {error}") from None
    tables = {kind: plain.pop(kind, {}) for kind in ("gpu", "cpu")}
    for kind, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(f"Slurm profile {path}: {kind} = {table!r}: [{kind}] is a table; the number is `{kind}s`")
    return {kind: _checked(table, str(path)) for kind, table in {"all": plain, **tables}.items()}


def options_for(gpu: bool, tables: Mapping[str, Mapping[str, Any]], options: LaunchOptions) -> SlurmOptions:
    """The command line over the profile's table for this kind of cells, over its general part, over the defaults."""
    given = _checked(options.slurm, "the command line")
    return SlurmOptions(**{**tables["all"], **tables["gpu" if gpu else "cpu"], **given})


def _checked(table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The table with every name known and every value of its type and harmless in a script."""
    out = {}
    for name, value in table.items():
        if name not in SLURM:
            raise unknown(f"name in {where}:", name, SLURM)
        kind = str(SLURM[name].type)
        if kind.startswith("int"):
            least = SLURM[name].metadata["least"]
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UsageError(f"{where}: {name} = {value!r} is not a whole number from {least}")
        elif kind.startswith("tuple"):
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
