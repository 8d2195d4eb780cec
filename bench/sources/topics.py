"""Labelled text: the largest topics of Python's own reference manual, cut into windows of equal length."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from bench.backbones import Backbone
from bench.sources.arrays import SourceArrays, SourceSet
from bench.sources.tokens import WINDOW, framed, tokenizer_of

if TYPE_CHECKING:
    import numpy as np

TOPICS, TEST_PART = 10, 0.2
"""Number of classes; the last part of each topic that is for testing."""


def largest_topics(texts: dict[str, str], count: int) -> list[str]:
    """Names of the `count` longest texts, longest first, leaving out any that repeats lines of a longer chosen one.

    Some topics are sections of others (`customization` of `specialnames`): one text under two labels would teach
    nothing and leak from training to test.
    """
    chosen: list[str] = []
    seen: set[str] = set()
    for name in sorted(texts, key=lambda n: (-len(texts[n]), n)):
        lines = {line.strip() for line in texts[name].splitlines() if len(line.strip()) > 30}
        if len(lines & seen) <= 0.1 * len(lines):
            chosen.append(name)
            seen |= lines
        if len(chosen) == count:
            break
    return chosen


def without_rules(text: str) -> str:
    """`text` without its lines that have no letter, such as the rules of tables."""
    return "\n".join(line for line in text.splitlines() if any(map(str.isalpha, line)))


def windows(ids: list[int], first: int, last: int, length: int) -> np.ndarray:
    """(n, length) disjoint windows of `ids`, each between the tokens `first` and `last`; the rest is dropped."""
    import numpy as np

    inner = length - 2
    n = len(ids) // inner
    return framed(np.asarray(ids[: n * inner], np.int64).reshape(n, inner), first, last)


def missing(data_dir: Path) -> str | None:
    """What to do where Python came without its manual."""
    if importlib.util.find_spec("pydoc_data") is not None:
        return None
    return "source data topics comes with Python: install the full standard library (pydoc_data.topics)"


def read(data_dir: Path, backbone: Backbone) -> SourceArrays:
    """Windows of 32 token ids in the backbone's own vocabulary, labelled by topic; each topic's end is for testing."""
    from pydoc_data.topics import topics

    import numpy as np

    tokenizer = tokenizer_of(backbone, "topics")
    start, *_, end = tokenizer.encode("").ids
    names = largest_topics(topics, TOPICS)
    train, test = [], []
    for name in names:
        text = without_rules(topics[name])
        ids = windows(tokenizer.encode(text, add_special_tokens=False).ids, start, end, WINDOW)
        cut = len(ids) - round(TEST_PART * len(ids))
        train.append(ids[:cut])
        test.append(ids[cut:])
    known = {tuple(row) for part in train for row in part}
    test = [part[[tuple(row) not in known for row in part]] for part in test]
    parts = [*train, *test]
    labels = np.concatenate([np.full(len(part), i % len(names), np.int64) for i, part in enumerate(parts)])
    return SourceArrays("topics", np.concatenate(parts), labels, tuple(names), sum(map(len, train)))


SOURCE = SourceSet(
    name="topics",
    title="English text of the Python reference, labelled by topic",
    modality="text",
    licence="PSF-2.0",
    citation="Python Software Foundation, The Python Language Reference, as in pydoc_data.topics",
    missing=missing,
    read=read,
)
