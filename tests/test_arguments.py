"""How many arguments a function of the harness takes: what has more is missing an idea that holds them together."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

MOST = 6
"""Keyword-only ones count too; `self` and `cls` do not."""
STILL: dict[str, int] = {}
"""Functions of other rooms that take more, until they are mended."""
BENCH = Path(__file__).parent.parent / "bench"


def too_many(source: str) -> Iterator[str]:
    """The functions of a module that take more than `MOST` arguments."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            taken = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            if sum(argument.arg not in ("self", "cls") for argument in taken) > MOST:
                yield node.name


def test_no_function_of_bench_takes_more_than_six_arguments():
    found = {
        f"{path.relative_to(BENCH)}: {name}" for path in BENCH.rglob("*.py") for name in too_many(path.read_text())
    }
    rooms = Counter(Path(place).parts[0].partition(":")[0].removesuffix(".py") for place in found)
    assert all(count <= STILL.get(room, 0) for room, count in rooms.items()), sorted(found)


def test_keyword_only_arguments_count_and_self_does_not():
    assert list(too_many("def f(a, b, c, *, d, e, f, g): ...")) == ["f"]
    assert list(too_many("class A:\n    def f(self, a, b, c, *, d, e, f): ...")) == []
