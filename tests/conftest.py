"""Fixtures that every test may use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may need a network
# On a busy machine a single draw may take a second, which says nothing of the code.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def shared_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder whose stand-ins are generated once per test process."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def weird_path(tmp_path: Path) -> Path:
    """A folder whose name has spaces, quotes and a non-ASCII letter."""
    folder = tmp_path / 'it\'s a "wéird" place'
    folder.mkdir()
    return folder


@pytest.fixture
def fake_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells are those of `tests.fake_runner`, in this process and in all that it starts."""
    from tests import fake_runner

    monkeypatch.setitem(sys.modules, "bench.cell.story", fake_runner)
    monkeypatch.setattr("bench.cell.story", fake_runner, raising=False)
    monkeypatch.syspath_prepend(fake_runner.HERE / "fake_cells")
    monkeypatch.setenv("PYTHONPATH", fake_runner.PATH)


@pytest.fixture
def small_disk(request, tmp_path) -> Iterator[Path]:
    """A file system of 1 MiB, or as the test's parameter says."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = getattr(request, "param", "size=1m")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=False, capture_output=True
    )
    if made.returncode:
        pytest.skip(f"mounting a tmpfs is not permitted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
