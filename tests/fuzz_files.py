"""Random damage to every task's stand-in, read by its task: `python -m tests.fuzz_files COUNT [FIRST_SEED]` (also `make fuzz`).

One file has some of its bytes changed, or is cut short. Each is read in a process of its own with limited time and
memory, samples and all. It may give data or end in a DataError. Anything else fails: another exception, a crash, a
reader that takes long or fills the memory.
"""

from __future__ import annotations

import functools
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench import registry
from tasks.contract import Data, DataError, Request, Task
from tasks.own import arrays, stored

SECONDS = 20
"""For one file, whose reading takes milliseconds; some of them are read on a busy machine."""
MEMORY = 4 * 2**30
"""Bytes of address space above what the process has before it reads."""
HEAD = 4096
"""Bytes at the beginning, where formats say what is in a file: half of the changes are there."""
GOOD, REFUSED = 0, 3


def whole(task: Task, root: Path) -> Path:
    """The folder below `root` with the tiny stand-in of a task, made at the first call."""
    folder = root / task.name
    if not folder.exists():
        assert task.generate is not None
        task.generate(folder, **task.sizes["tiny"])
        read(task, folder)  # what this imports, the processes that read damaged files need not
    return folder


def own(root: Path) -> Task:
    """A user's own data, which have no stand-in, already below `root`."""
    path, rng = root / "mine.npz", np.random.default_rng(0)
    np.savez(path, x=rng.normal(size=(40, 2, 16)).astype(np.float32), y=np.arange(40) % 3)
    stored.store(path, root / "mine", "mine", "classes", arrays.read(path, "classes"))
    return stored.load_task(stored.tasks_in(root / "mine")["mine"])


def damage(folder: Path, rng: random.Random) -> str:
    """Change a file below `folder`; returns what was done."""
    path = rng.choice(sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".generated.json")))
    data = bytearray(path.read_bytes())
    if rng.random() < 0.1:
        del data[rng.randrange(len(data)) :]
    for _ in range(rng.choice((1, 2, 4, 16)) if data else 0):
        data[rng.randrange(min(len(data), rng.choice((HEAD, len(data)))))] = rng.randrange(256)
    path.write_bytes(data)
    return str(path.relative_to(folder))


def read(task: Task, folder: Path) -> int:
    """`GOOD` or `REFUSED`; any other exception is the reader's fault."""
    try:
        data = task.read(Request(folder))
        for split in (data.train, data.val, data.test):
            if split is not None:
                split.batch(np.arange(len(split)), None)
    except DataError as error:
        assert str(error)
        return REFUSED
    assert isinstance(data, Data)
    return GOOD


def in_a_child(do: Callable[[], int]) -> int:
    """The exit code of a process that does what is given; negative for the signal that ended it (SIGALRM: it took too long)."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # reaches C code that never returns, too
        signal.alarm(SECONDS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        os._exit(do())
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def main(count: int, first: int = 0, *names: str) -> int:
    """Damage `count` files of all tasks in turn, or of those named; 1 if one of them did more than end in a DataError."""
    good, bad = 0, 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        tasks = [task for task in registry.tasks().items.values() if task.generate is not None]
        tasks = [task for task in (*tasks, own(root)) if not names or task.name in names]
        for seed in range(first, first + count):
            task, folder = tasks[seed % len(tasks)], root / "damaged"
            shutil.copytree(whole(task, root), folder)
            what = damage(folder, random.Random(seed))
            code = in_a_child(functools.partial(read, task, folder))
            shutil.rmtree(folder)
            good += code == GOOD
            if code not in (GOOD, REFUSED):
                bad += 1
                print(f"seed {seed}: {task.name}, {what}: exit code {code}", flush=True)
    print(f"{count:,} damaged files: {good:,} could be read, {count - good - bad:,} were refused, {bad:,} did worse")
    return 1 if bad else 0


if __name__ == "__main__":
    given = sys.argv[1:]
    numbers = [int(word) for word in given if word.isdecimal()]
    sys.exit(main(*numbers, *given[len(numbers) :]))
