"""Lost readers, lost terminals, closed streams and letters that a terminal lacks: every cell is still run and recorded."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import cli
from bench.records.store import Store
from tests.cell_helpers import job_in
from tests.fake_runner import PATH, make_cell

pytestmark = pytest.mark.usefixtures("fake_cells")

RUN = """
import sys
from bench.__main__ import main
sys.exit(main())
"""
LOCAL = """
import sys
from pathlib import Path
from bench import streams
streams.secure()
from bench.launch import local
from bench.launch.work import works
from bench.launch.display import display
from bench.launch.remaining import Remaining
from tests.fake_runner import make_cell
from tests.cell_helpers import job_in
job, cells = job_in(Path(sys.argv[1])), [make_cell(i) for i in range(2)]
show = display(Remaining(cells, {}))
local.run(works(cells, job.store), job, show)
show.close()
"""
SELECTION = ["run", "--tasks", "advection", "--profile", "tiny", "--seeds", "0", "1"]


def in_shell(folder: Path, redirection: str, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """The command line in a shell, with two cells of milliseconds unless other arguments are given."""
    words = arguments or (*SELECTION, "--data-dir", "data", "--results-dir", "results")
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "-", sys.executable, "-c", RUN, *words],
        cwd=folder, env={**os.environ, "PYTHONPATH": PATH, **env}, capture_output=True, text=True, errors="replace",
        timeout=60, check=False,
    )  # fmt: skip


def statuses(folder: Path) -> list[str]:
    return [record["status"] for record in Store(folder / "results").scan()[0]]


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["2>&1 | head -1", "| true", "2>&-", ">&- 2>&- <&-"])
def test_a_run_that_nobody_reads_goes_on(tmp_path, redirection):
    done = in_shell(tmp_path, redirection)
    assert (done.returncode, statuses(tmp_path)) == (0, ["done", "done"])
    assert "Traceback" not in done.stderr


def test_output_that_was_to_be_kept_and_is_not_is_said_and_stops_no_cell(tmp_path):
    done = in_shell(tmp_path, "> /dev/full")
    assert (done.returncode, statuses(tmp_path)) == (1, ["done", "done"])
    assert "cannot write standard output: No space left on device" in done.stderr
    assert in_shell(tmp_path, "> /dev/full", "list", "tasks").returncode == 1


@pytest.mark.parametrize("program", [[RUN, *SELECTION, "--results-dir", "results"], [LOCAL, "."]])
def test_a_run_whose_terminal_is_closed_goes_on(tmp_path, program):
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", *program], cwd=tmp_path, env={**os.environ, "PYTHONPATH": PATH},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as under nohup
    )  # fmt: skip
    os.close(theirs)
    while b"0/2" not in os.read(ours, 4096):  # the bar of the run is there
        pass
    os.close(ours)
    assert (child.wait(60), statuses(tmp_path)) == (0, ["done", "done"])


@pytest.mark.parametrize(
    "encoding, verb",
    [("ascii", "--help"), ("ascii", "list studies"), ("latin-1", "describe mona"), ("ascii", "describe mona"),
     ("ascii", "plan --suite quick"), ("ascii", " ".join(SELECTION))],
)  # fmt: skip
def test_a_terminal_that_lacks_letters_shows_escapes(tmp_path, encoding, verb):
    done = in_shell(tmp_path, "", *verb.split(), PYTHONIOENCODING=encoding)
    assert done.returncode == 0 and "Error" not in done.stderr
    assert verb != "describe mona" or "\\u03bb" in done.stdout


def test_a_folder_whose_name_is_no_text(tmp_path):
    """Under a locale without the letter, or made under another one: the bytes come back as they were."""
    words = [*SELECTION, "--results-dir", os.fsdecode(b"r\xe9sults")]
    done = in_shell(tmp_path, "", *words)
    assert done.returncode == 0, done.stderr
    records = Store(tmp_path / words[-1]).scan()[0]
    assert [words[-1] in record["command"] for record in records] == [True, True]
    places = ["--results-dir", str(tmp_path / words[-1]), "--out", str(tmp_path / "page")]
    assert cli.main(["report", "--html", *places]) == 0
    assert "r\\udce9sults" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")


def test_a_watch_ends_with_its_reader(tmp_path):
    """Another process holds a cell: without a reader the watch would look at it for ever."""
    from bench.launch.claim import acquire
    from bench.launch.one import run_one
    from bench.launch.work import Work

    job, cell = job_in(tmp_path), make_cell(0)
    run_one(Work(cell), job)
    with acquire(job.store.work(cell.id)):
        done = in_shell(tmp_path, "| true", "status", "--watch", "0.2", "--results-dir", "results")
    assert done.returncode == 0
