"""A private one-node Slurm with two fake GPUs, from Debian's packages slurm-wlm and munge. Needs root.

python tests/slurm_one_node/cluster.py up /tmp/one-node      # prints the SLURM_CONF to export
python tests/slurm_one_node/cluster.py down /tmp/one-node
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent


def why_not() -> str | None:
    """Why a Slurm cannot be started here, or None."""
    lacking = [
        name for name in ("slurmctld", "slurmd", "munged", "runuser") if shutil.which(name, path=_path()) is None
    ]
    if lacking:
        return f"not installed: {', '.join(lacking)} (Debian packages slurm-wlm and munge)"
    return None if os.geteuid() == 0 else "starting a Slurm needs root"


@contextlib.contextmanager
def running(required: str) -> Iterator[Path]:
    """The configuration file of a Slurm that runs meanwhile; skips where there can be none and `required` is not set."""
    import pytest

    reason = why_not()
    if reason and not os.environ.get(required):
        pytest.skip(reason)
    assert reason is None, f"{reason}, and {required} is set"
    root = Path(tempfile.mkdtemp(prefix="bench-slurm-"))
    try:
        yield up(root)
    finally:
        down(root)


def up(root: Path) -> Path:
    """Start munge, controller and node below `root`, on ports of their own; returns the configuration file."""
    for name in ("state", "spool", "log", "run", "munge"):
        (root / name).mkdir(parents=True, exist_ok=True)
    key = root / "munge" / "munge.key"
    key.write_bytes(secrets.token_bytes(1024))
    shutil.chown(root / "munge", "munge", "munge")
    shutil.chown(key, "munge", "munge")
    key.chmod(0o400)
    root.chmod(0o755)
    (root / "munge").chmod(0o755)  # clients must reach the socket
    first, second = _free_ports(2)
    host = socket.gethostname().partition(".")[0]
    text = (HERE / "slurm.conf.in").read_text()
    config = root / "slurm.conf"
    config.write_text(text.format(host=host, root=root, controller_port=first, node_port=second))
    shutil.copy(HERE / "gres.conf", root / "gres.conf")
    munge = [f"--{name}={root / 'munge' / file}" for name, file in MUNGE_FILES.items()]
    _start(["runuser", "-u", "munge", "--", "munged", *munge])
    _start(["slurmctld", "-f", str(config)])
    _start(["slurmd", "-f", str(config), "-N", host])
    _wait_for_idle(config, root)
    return config


MUNGE_FILES = {
    "key-file": "munge.key",
    "socket": "munge.socket",
    "pid-file": "munged.pid",
    "log-file": "munged.log",
    "seed-file": "munged.seed",
}


def down(root: Path) -> None:
    """Stop what `up` started under `root`, by its own pid files; nothing of it is left running or on disk."""
    pids = []
    for file in ("run/slurmd.pid", "run/slurmctld.pid", "munge/munged.pid"):
        with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
            pid = int((root / file).read_text())
            os.kill(pid, signal.SIGTERM)
            pids.append(pid)
    deadline = time.monotonic() + 10
    while pids and time.monotonic() < deadline:
        pids = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
        time.sleep(0.05)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(root, ignore_errors=True)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _start(command: list[str]) -> None:
    done = subprocess.run(command, env={**os.environ, "PATH": _path()}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr or done.stdout}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_for_idle(config: Path, root: Path) -> None:
    env = {**os.environ, "SLURM_CONF": str(config)}
    said = ""
    for _ in range(60):
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], env=env, capture_output=True, text=True, check=False)
        said = done.stdout.strip() or done.stderr.strip()
        if said == "idle":
            return
        time.sleep(0.25)
    logs = "\n".join(path.read_text()[-1500:] for path in sorted((root / "log").glob("*.log")))
    down(root)
    raise RuntimeError(f"the node did not become idle: {said}\n{logs}")


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in ("up", "down"):
        sys.exit(__doc__)
    if sys.argv[1] == "up":
        print(f"export SLURM_CONF={up(Path(sys.argv[2]))}")
    else:
        down(Path(sys.argv[2]))
