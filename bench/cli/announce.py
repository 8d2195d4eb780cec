"""What `run` and `plan` say of their cells before anything else: which data they take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.plan import EMBEDDED, Cell


def embedded_default(args: argparse.Namespace, chosen: Sequence[Cell]) -> bool:
    """Whether nothing was named, and the suite of stand-ins runs since no official data are here."""
    return not (args.tasks or args.suite or args.study) and all(cell.origin == "generated" for cell in chosen)


def data_taken(args: argparse.Namespace, chosen: Sequence[Cell]) -> list[str]:
    """Sentences on the origin of the data, and on the recipe where no option chose it."""
    tasks = list(dict.fromkeys(cell.task for cell in chosen if cell.origin == "generated"))
    if not tasks:
        return []
    quick = args.profile is None and args.study is None and any(cell.profile == "quick" for cell in chosen)
    recipe = ", with the quick recipe (--profile published: the published one, far longer)" if quick else ""
    said = f"no official data here for {', '.join(tasks)}: stand-ins are generated{recipe}, and every table says so"
    if embedded_default(args, chosen):
        where = f"nothing was named and no official data are in {args.data_dir}: the embedded default, suite {EMBEDDED}"
        return [f"{where} (`python -m bench data status` lists what official data would go where)", said]
    return [said]
