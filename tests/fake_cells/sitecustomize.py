"""Python imports this at its start where this folder is on PYTHONPATH: its cells are then those of `tests.fake_runner`."""

import importlib.util
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

FAKE = Path(__file__).parent.parent / "fake_runner.py"


class Finder:
    """Finds the fake where the real cell is asked for."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_file_location(name, FAKE) if name == "bench.cell.story" else None


sys.meta_path.insert(0, Finder)
