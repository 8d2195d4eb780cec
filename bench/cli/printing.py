"""How verbs print rows (aligned text, text fitted to a width, markdown) and the files of a store that are set aside.

Rows not by rich: its import would make `list` and `status` half as slow again (0.055 s of 0.18 s), for what twenty lines do.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from bench.words import say

if TYPE_CHECKING:
    from bench.records.store import Problem

LEAST = 24
"""Letters that the last column has at least."""
SHOWN = 20
"""Files that are set aside by name."""


def set_aside(problems: Sequence[Problem], what: str, file: TextIO | None = None) -> None:
    """Say of each file what it was left out of, and why; `doctor` says what to do about them."""
    for problem in problems[:SHOWN]:
        say(f"{what}: {problem.path}: {problem.reason}", file)
    if len(problems) > SHOWN:
        say(f"{what}: {len(problems) - SHOWN} more files (`python -m bench doctor` names what is wrong)", file)


def fitted(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], width: int) -> str:
    """Those of the columns that fit into `width` letters as aligned text, the last one wrapped below itself."""
    *others, last = columns
    shown: list[str] = []
    start = 0
    for name in others:
        wide = max([len(name), *(len(_text(row[name])) for row in rows)]) + 2
        if start + wide + LEAST > width:
            break
        shown.append(name)
        start += wide
    lines: list[dict[str, Any]] = []
    for row in rows:
        first, *more = textwrap.wrap(_text(row[last]), width - start, break_long_words=False) or [""]
        lines.append({name: row[name] for name in shown} | {last: first})
        lines += [dict.fromkeys(shown, "") | {last: line} for line in more]
    return table(lines)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as aligned text."""
    if not rows:
        return "(none)"
    lines = [list(rows[0]), *([_text(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(text.ljust(w) for text, w in zip(line, widths)).rstrip() for line in lines)


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of the same keys as a markdown table."""
    if not rows:
        return "(none)"
    lines = [f"| {' | '.join(_text(value).replace('|', '¦') for value in row.values())} |" for row in rows]
    return "\n".join([f"| {' | '.join(rows[0])} |", f"|{'---|' * len(rows[0])}", *lines])


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
