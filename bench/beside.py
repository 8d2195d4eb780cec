"""Which code runs: `tasks` and `methods` are the packages beside this one, here and in every process that is started.

The three names are plain words. A folder or a file of the user's with one of them comes first where Python looks, and
would be taken for ours.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def take(*names: str) -> None:
    """Import packages from beside this one, so that no import of these names finds another.

    Raises ImportError where another one was imported before, or there is none.
    """
    for name in names:
        loaded = sys.modules.get(name)
        if loaded is not None:
            _refuse_other(name, loaded.__file__)
            continue
        spec = PathFinder.find_spec(name, [str(ROOT)])
        if spec is None or spec.loader is None:
            raise ImportError(
                f"bench needs the package {name!r} beside it in {ROOT}, and it is not there: install it again"
            )
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


def _refuse_other(name: str, file: str | None) -> None:
    if file is None or Path(file).resolve().parent != ROOT / name:
        raise ImportError(
            f"bench needs the package {name!r} of {ROOT}, but {file or 'a folder of that name'} was imported before it; "
            "import bench first, or rename the other one"
        )


def same_code() -> dict[str, str]:
    """Environment variables under which another Python finds every module where this one does, whatever its folder."""
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path))}
