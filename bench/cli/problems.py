"""Files of a store that are not what they should be, as every verb names them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from bench.records.store import Problem
from bench.words import say

SHOWN = 20


def set_aside(problems: Sequence[Problem], what: str, file: TextIO | None = None) -> None:
    """Say of each file what it was left out of, and why; `doctor` says what to do about them."""
    for problem in problems[:SHOWN]:
        say(f"{what}: {problem.path}: {problem.reason}", file)
    if len(problems) > SHOWN:
        say(f"{what}: {len(problems) - SHOWN} more files (`python -m bench doctor` names what is wrong)", file)
