"""CoNLL-2003 (Tjong Kim Sang and De Meulder): words of English news with their names tagged; text of the published 1D cells.

What is known: published 1D cells take text of CoNLL-2003's validation split in RoBERTa's tokens, with 7 of the 9 tags present.
Not known: what a sample and its label are. **This project's choice**: a sample is a window of running text around a word, its
label the word's tag in IOB2, whichever of IOB1 and IOB2 the file has. Words without a name are thinned to as many as the
most frequent other tag has (five of six words have none), and a tag that occurs less than twice in training is left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.backbones import Backbone
from bench.sources import invented_news
from bench.sources.arrays import SourceArrays, SourceSet
from bench.sources.tokens import WINDOW, framed, tokenizer_of
from tasks.contract import DataError
from tasks.files.regular import read_linked

if TYPE_CHECKING:
    import numpy as np

    Sentence = list[tuple[str, str]]

FOLDER = "conll2003"
FILES = ("valid.txt", "eng.testa")
"""Names of the validation split in copies that go around, and in the original."""
MOST = 16 << 20
"""Bytes at most; the official file has 0.8 MB."""
TAGS = ("O", *(f"{place}-{kind}" for kind in ("PER", "ORG", "LOC", "MISC") for place in "BI"))
TEST_PART = 0.2
"""The last part of the sentences, which is for testing."""
CURE = (
    f"Put {' or '.join(FILES)} into the folder {FOLDER} below the data folder. The shared task's annotation is free, its text is "
    "part of the Reuters Corpus RCV1: ask NIST for it (trec.nist.gov/data/reuters/reuters.html, an agreement is signed)"
)


def missing(data_dir: Path) -> str | None:
    """Where to get the validation split and where to put it, unless it is here."""
    return None if _file(data_dir) else f"source data conll2003 is not in {data_dir / FOLDER}. {CURE}"


def _file(data_dir: Path) -> Path | None:
    places = (data_dir / FOLDER / name for name in FILES)
    return next((path for path in places if path.exists()), None)


def read(data_dir: Path, backbone: Backbone) -> SourceArrays:
    """Windows of 32 token ids around a word, labelled by its tag; DataError for a file that is not as published."""
    path = _file(data_dir)
    assert path is not None, "ask missing() first"
    try:
        text = read_linked(path, MOST).decode()
    except (OSError, ValueError) as error:
        raise DataError(path, f"a file that cannot be read ({error})", "UTF-8 text of at most 16 MiB", CURE) from error
    return samples(sentences(text, path), path, backbone)


def standin(backbone: Backbone) -> SourceArrays:
    """The same of sentences about invented names, written and read in the official format."""
    found = sentences(invented_news.news(), "stand-in")
    return replace(samples(found, "stand-in", backbone), origin="generated")


def sentences(text: str, path: Path | str) -> list[Sentence]:
    """(word, tag in IOB2) of each sentence: lines of word, part of speech, chunk and tag; an empty line ends a sentence.

    Raises DataError, with the number of the line, for another layout or tag, and for a file without any word.
    """
    found: list[Sentence] = [[]]
    for number, line in enumerate(text.splitlines(), 1):
        columns = line.split()
        if not columns or columns[0] == "-DOCSTART-":
            found.append([])
        elif len(columns) != 4 or columns[3] not in TAGS:
            expected = f"four columns (word, part of speech, chunk, tag), the tag one of {', '.join(TAGS)}"
            raise DataError(path, f"{line.strip()!r} in line {number}", expected, CURE)
        else:
            found[-1].append((columns[0], columns[3]))
    found = [list(_iob2(sentence)) for sentence in found if sentence]
    if not found:
        raise DataError(path, "no word", "sentences, one word a line", CURE)
    return found


def _iob2(sentence: Sentence) -> Iterator[tuple[str, str]]:
    """IOB1 begins a name with I- unless one of its kind ends just before; IOB2 always with B-, and is left as it is."""
    before = "O"
    for word, tag in sentence:
        begins = tag.startswith("I-") and tag[1:] != before[1:]
        yield word, f"B{tag[1:]}" if begins else tag
        before = tag


def samples(found: list[Sentence], path: Path | str, backbone: Backbone) -> SourceArrays:
    """The windows of these sentences; the last fifth of the sentences is for testing, and no window reaches over the border."""
    import numpy as np

    tokenizer = tokenizer_of(backbone, "conll2003")
    first, *_, last = tokenizer.encode("").ids
    # RoBERTa's tokens of a word inside a text begin with the space before it.
    words = {word for sentence in found for word, _ in sentence}
    pieces = {word: tokenizer.encode(f" {word}", add_special_tokens=False).ids for word in words}
    cut = len(found) - round(TEST_PART * len(found))
    parts = []
    for part in (found[:cut], found[cut:]):
        body, labels = windows(itertools.chain.from_iterable(part), pieces, path)
        parts.append((framed(body, first, last), labels))
    known = np.flatnonzero(np.bincount(parts[0][1], minlength=len(TAGS)) >= 2)
    parts = [(x[np.isin(y, known)], np.searchsorted(known, y[np.isin(y, known)])) for x, y in parts]
    x, y = (np.concatenate(both) for both in zip(*parts, strict=True))
    return SourceArrays("conll2003", x, y.astype(np.int64), tuple(TAGS[k] for k in known), len(parts[0][0]))


def windows(
    text: Iterable[tuple[str, str]], pieces: dict[str, list[int]], path: Path | str
) -> tuple[np.ndarray, np.ndarray]:
    """(n, WINDOW - 2) ids around the first token of each chosen word, moved inside at the ends of the text; (n,) places in TAGS."""
    import numpy as np

    ids: list[int] = []
    centres, tags = [], []
    for word, tag in text:
        centres.append(len(ids))
        tags.append(TAGS.index(tag))
        ids += pieces[word]
    inner, labels = WINDOW - 2, np.array(tags, np.int64)
    if len(ids) < inner:
        raise DataError(path, f"{len(ids)} tokens in a part", f"at least {inner} for training and for testing", CURE)
    chosen = thinned(labels)
    starts = np.clip(np.array(centres)[chosen] - inner // 2, 0, len(ids) - inner)
    return np.array(ids, np.int64)[starts[:, None] + np.arange(inner)], labels[chosen]


def thinned(labels: np.ndarray) -> np.ndarray:
    """Sorted places of all labels but O, and evenly spaced of as many O as the most frequent other label has."""
    import numpy as np

    names, others = np.flatnonzero(labels), np.flatnonzero(labels == 0)
    most = min(len(others), int(np.bincount(labels, minlength=2)[1:].max()))
    return np.sort(np.concatenate([names, others[np.arange(most) * len(others) // max(most, 1)]]))


SOURCE = SourceSet(
    name="conll2003",
    title="CoNLL-2003, English news around words, labelled by their part of a name",
    modality="text",
    licence="Reuters Corpus agreement of NIST, research use",
    citation="Tjong Kim Sang and De Meulder, Introduction to the CoNLL-2003 Shared Task, CoNLL 2003",
    missing=missing,
    read=read,
    standin=standin,
)
