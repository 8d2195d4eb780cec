"""CoNLL-2003 as source data: its files, what a sample is, what is refused, and the stand-in, which is never silent."""

import os

import numpy as np
import pytest
from tokenizers import Tokenizer
from torch import nn

from bench import plan
from bench.cell.draft import Draft
from bench.errors import SetupError
from bench.plan import Cell, Places, Selection
from bench.records.record import check
from bench.selection import Wanted, todo
from bench.sources import conll2003
from bench.sources.conll2003 import sentences, thinned
from bench.sources.data import SourceData
from bench.sources.invented_news import news
from bench.sources.load import load_source, standin_serves
from tasks.contract import DataError
from tests.cell_helpers import one
from tests.record_factory import make_record
from tests.report_helpers import text_of
from tests.test_report_published import AS_PUBLISHED, table_of
from tests.tiny_models import NOWHERE, TEXT, needs_minilm

GENERATED = {"name": "conll2003", "origin": "generated", "fingerprint": "ab", "classes": 9, "count": 10}
SPLIT = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
call NN I-NP O
. . O O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER

Reuters NNP B-NP B-ORG
Brussels NNP B-NP B-LOC
York NNP I-NP I-LOC
Paris NNP B-NP B-LOC
"""
"""Sentences in IOB2; in IOB1 only the last word begins with B-, since a name of its kind ends just before."""
IOB1 = SPLIT.replace("B-", "I-").replace("Paris NNP I-NP I-LOC", "Paris NNP I-NP B-LOC")


def write(folder, text, name="valid.txt"):
    """The split in its place below the data folder `folder`."""
    path = folder / conll2003.FOLDER / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def arrays_of(folder):
    return load_source("conll2003", TEXT, folder, "none", 0)


# What is read


def test_the_tags_are_those_of_iob2_whichever_of_the_two_schemes_the_file_has():
    found = sentences(SPLIT, "here")
    assert found == sentences(IOB1, "here")
    assert found[1] == [("Peter", "B-PER"), ("Blackburn", "I-PER")]
    assert [tag for _, tag in found[2]] == ["B-ORG", "B-LOC", "I-LOC", "B-LOC"]


@needs_minilm
@pytest.mark.parametrize("name", conll2003.FILES)
def test_a_sample_is_a_window_around_a_word_and_its_label_the_words_tag(tmp_path, name):
    write(tmp_path, SPLIT * 20, name)
    arrays = arrays_of(tmp_path)
    assert (arrays.name, arrays.origin, arrays.x.shape[1]) == ("conll2003", "official", 32)
    assert set(arrays.x[:, 0]) == {101} and set(arrays.x[:, -1]) == {102}, "windows are between [CLS] and [SEP]"
    assert arrays.classes == ("O", "B-PER", "I-PER", "B-ORG", "B-LOC", "I-LOC", "B-MISC"), "I-ORG, I-MISC do not occur"
    tokenizer = Tokenizer.from_file(str(TEXT.files() / "tokenizer.json"))
    tag_of = {tokenizer.encode(w, add_special_tokens=False).ids[0]: t for s in sentences(SPLIT, "") for w, t in s}
    middle = slice(30, -30)  # at the ends a window is moved inside
    found = [tag_of[token] for token in arrays.x[: arrays.train, 16][middle]]
    assert found == [arrays.classes[k] for k in arrays.y[: arrays.train][middle]]


@needs_minilm
def test_the_last_fifth_of_the_sentences_is_for_testing(tmp_path):
    write(tmp_path, SPLIT * 40 + SPLIT.replace("Peter", "Zebra") * 10)
    arrays = arrays_of(tmp_path)
    zebra = Tokenizer.from_file(str(TEXT.files() / "tokenizer.json")).encode("zebra", add_special_tokens=False).ids[0]
    has = (arrays.x == zebra).any(1)
    assert has[arrays.train :].mean() > 0.9 and not has[: arrays.train].any()


def test_words_without_a_name_are_thinned_to_the_most_frequent_other_tag_evenly():
    labels = np.zeros(100, np.int64)
    labels[[10, 20, 30]] = 2
    labels[40] = 5
    kept = thinned(labels)
    assert set(np.flatnonzero(labels)) <= set(kept) and (labels[kept] == 0).sum() == 3
    assert np.diff([place for place in kept if labels[place] == 0]).min() > 30


@needs_minilm
def test_a_tag_that_occurs_once_is_left_out(tmp_path):
    write(tmp_path, "Alone NNP I-NP I-MISC\n\n" + SPLIT * 20)
    tags = arrays_of(tmp_path).classes
    assert "I-MISC" not in tags and np.bincount(arrays_of(tmp_path).y).min() >= 2


# What is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("EU B-ORG\n", r"'EU B-ORG' in line 1; expected four columns"),
        (SPLIT + "EU NNP B-NP B-BANK\n", r"in line 16; .*the tag one of O, B-PER"),
        ("-DOCSTART- -X- O O\n\n", "no word"),
        (b"EU NNP B-NP \xff\n", "cannot be read .*expected UTF-8"),
        (SPLIT, r"\d+ tokens in a part; expected at least 30"),
    ],
)
def test_a_file_that_is_not_as_published_is_refused_with_what_was_found_and_where_to_get_it(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(DataError, match=message) as caught:
        arrays_of(tmp_path)
    assert str(path) in str(caught.value) and "ask NIST" in str(caught.value)


@needs_minilm
def test_a_file_without_names_is_refused(tmp_path):
    write(tmp_path, "word NN I-NP O\n\n" * 200)
    with pytest.raises(SetupError, match="needs at least two"):
        arrays_of(tmp_path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_neither_waited_for_nor_read_for_ever(tmp_path, make):
    path = tmp_path / conll2003.FOLDER / "valid.txt"
    path.parent.mkdir()
    make(path)
    with pytest.raises(DataError, match="no regular file"):
        arrays_of(tmp_path)


# The stand-in


@needs_minilm
def test_the_stand_in_is_in_the_official_format_and_is_read_by_the_same_reader(tmp_path):
    made = arrays_of(NOWHERE)
    assert (made.name, made.origin, made.label) == ("conll2003", "generated", "conll2003-generated")
    assert made.classes == conll2003.TAGS and np.bincount(made.y[made.train :]).min() >= 50
    write(tmp_path, news())
    read = arrays_of(tmp_path)
    assert read.origin == "official" and (read.x == made.x).all() and (read.y == made.y).all()


def test_auto_takes_the_real_data_alone(tmp_path):
    assert load_source("auto", TEXT, NOWHERE, "none", 0).name == "topics"
    write(tmp_path, SPLIT * 20)
    assert load_source("auto", TEXT, tmp_path, "none", 0).name == "conll2003"
    assert standin_serves("auto", NOWHERE) is None and "NIST" in str(standin_serves("conll2003", NOWHERE))


@pytest.mark.parametrize(
    ("task", "protocol", "name"),
    [("ecg", "paper", "conll2003"), ("ecg", "strict", "auto"), ("spherical", "paper", "auto")],
)
def test_the_protocol_paper_has_it_in_1d(task, protocol, name):
    assert plan.resolve(Cell(task, "mona", "", protocol=protocol)).source.name == name


def test_other_source_data_may_be_chosen_under_paper(tmp_path):
    cell = one(tmp_path, "ecg", "mona", "paper", **{"source.name": "topics"})
    assert cell.overrides == (("source.name", "topics"),) and plan.resolve(cell).source.name == "topics"


@pytest.mark.parametrize("protocol", ["paper", "strict"])
def test_a_plan_says_that_a_stand_in_serves_and_how_to_get_the_real_data(tmp_path, protocol):
    wanted = Wanted(tasks=["ecg"], methods=["mona"], profile="tiny", protocol=protocol)
    said = " ".join(todo(wanted, Places(tmp_path, tmp_path / "results")).said)
    assert ("conll2003" in said and "ask NIST" in said and "stand-in" in said) == (protocol == "paper")
    write(tmp_path, SPLIT)
    assert "conll2003" not in " ".join(todo(wanted, Places(tmp_path, tmp_path / "results")).said)


def test_official_data_alone_are_not_aligned_to_a_stand_in(tmp_path, monkeypatch):
    cells = plan.cells(
        Selection(tasks=("ecg",), methods=("vanilla", "mona"), profile="tiny", protocol="paper"), tmp_path
    )
    places = Places(tmp_path, tmp_path / "results")
    monkeypatch.setattr("bench.selection.cells_of", lambda wanted, folder: cells)
    with pytest.raises(SetupError, match=r"mona would read a stand-in.*--set source.name=topics"):
        todo(Wanted(tasks=["ecg"], official_only=True), places)
    monkeypatch.setattr("bench.selection.cells_of", lambda wanted, folder: [c for c in cells if c.method == "vanilla"])
    assert todo(Wanted(tasks=["ecg"], official_only=True), places).cells


@needs_minilm
def test_a_record_says_that_its_source_data_are_generated(tmp_path):
    arrays = arrays_of(NOWHERE)
    draft = Draft(Cell("ecg", "mona", "minilm", profile="tiny", protocol="paper"), tmp_path, {})
    draft.source(arrays, arrays.train)
    found = draft.record["source"]
    assert (found["name"], found["origin"], found["count"]) == ("conll2003", "generated", arrays.train)
    assert SourceData(nn.Identity(), arrays).name == "conll2003-generated", "so do figures of the analyses"
    check(make_record(source=found))


def test_a_report_marks_generated_source_data_in_tables_banner_and_provenance():
    record = make_record(method="mona", source=GENERATED)
    text = text_of(record, make_record())
    assert "Generated source data" in text and "conll2003, generated (10 samples)" in text
    assert "° a generated stand-in served as source data" in text
    assert "°" not in text_of(make_record(method="mona", source={**GENERATED, "origin": "official"}))


def test_published_numbers_stand_beside_a_marked_one():
    made = [
        make_record(**AS_PUBLISHED, method="mona", task=task, source=GENERATED) for task in ("advection", "burgers")
    ]
    assert table_of(*made).entry("here: mona, last epoch", "advection").marks == ("source",)
