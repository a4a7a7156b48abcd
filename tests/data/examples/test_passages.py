"""Documents as sentences: lines, paragraphs, and where a document ends."""

import gzip
import json

import pytest

from transformer.config.run import Config
from transformer.data.examples import passages as module
from transformer.data.examples.passages import open_passages


def opened(path, valid=(), **task):
    data = {"train": [str(path)], "valid": [str(name) for name in valid]}
    return open_passages(Config().override({"task": {"name": "masked-lm", **task}, "data": data}))


def found(corpus, split="train"):
    return [(passage.document, list(passage.sentences)) for passage in corpus.examples(split)]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("one\ntwo\n\n\nthree\n four \nfive\n\nsix\n", encoding="utf-8")
    return path


def test_lines_are_documents(text):
    assert found(opened(text, [text])) == list(enumerate([["one"], ["two"], ["three"], ["four"], ["five"], ["six"]]))


def test_blank_lines_end_documents_and_lines_are_sentences(text):
    corpus = opened(text, [text], documents="blank_line")
    assert found(corpus) == [(0, ["one", "two"]), (1, ["three", "four", "five"]), (2, ["six"])]
    assert found(corpus, "validation") == found(corpus)
    assert corpus.describe()["successors"] == "yes" and not list(corpus.warnings())


def test_paragraphs_are_sentences_of_a_file(text):
    corpus = opened(text, [text], documents="file", sentences="paragraph")
    assert found(corpus) == [(0, ["one two", "three four five", "six"])]


def test_a_document_ends_after_so_many_sentences(text):
    corpus = opened(text, [text], documents="file", document_sentences=2)
    assert found(corpus) == [(0, ["one", "two"]), (1, ["three", "four"]), (2, ["five", "six"])]


@pytest.mark.parametrize(
    ("task", "warned"),
    [
        ({"documents": "line"}, False),  # which nobody takes for documents of sentences
        ({"documents": "file"}, True),  # one document
        ({"documents": "file", "next_sentence": False}, False),
    ],
)
def test_next_sentences_are_off_without_two_documents(text, task, warned):
    corpus = opened(text, [text], **task)
    assert corpus.describe()["successors"] == "no"
    warnings = list(corpus.warnings())
    assert bool(warnings) == warned and all("task.documents = 'blank_line'" in warning for warning in warnings)


def test_long_documents_come_in_passages_of_the_same_number(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LONGEST", 10)
    path = tmp_path / "long.txt.gz"
    lines = ["abcdefgh", "ij", "klmnopqrstuvwxyz", "", "end"]
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    corpus = opened(path, [path], documents="blank_line")
    assert found(corpus) == [(0, ["abcdefgh", "ij"]), (0, ["klmnopqrst"]), (0, ["uvwxyz"]), (1, ["end"])]
    assert [passage.number for passage in corpus.examples("train")] == [0, 1, 2, 3]


def test_json_lines_are_documents_whose_lines_are_sentences(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in ("a\nb", "", "c")), encoding="utf-8")
    corpus = opened(path, [path])
    assert [sentences for _, sentences in found(corpus)] == [["a", "b"], ["c"]]
    assert corpus.describe()["successors"] == "yes"


def test_lines_across_parts_of_a_document_are_whole(tmp_path, monkeypatch):
    monkeypatch.setattr("transformer.data.examples.text_documents.PART", 7)
    path = tmp_path / "parts.jsonl"
    path.write_text(json.dumps({"text": "first line\nsecond line\nthird"}) + "\n", encoding="utf-8")
    assert found(opened(path, [path])) == [(0, ["first line", "second line", "third"])]


def test_the_phrasebook_is_read_without_any_setting():
    corpus = open_passages(Config().override({"task": {"name": "masked-lm"}}))
    first = next(iter(corpus.examples("validation")))
    assert len(first.sentences) == 1 and corpus.describe()["successors"] == "no"
